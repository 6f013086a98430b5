"""The settings of the pages: `[plugins.ui]`."""

from pydantic import BaseModel, ConfigDict, Field


class PagesSettings(BaseModel):
    """`[plugins.ui]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    read_only: bool = False
    """No page changes anything: replaying, revoking."""
    live_seconds: float = Field(default=2.0, gt=0)
    """Pages that are open look for news so often."""
    trace_url: str = ""
    """Address of a batch's trace at your tracing vendor; `{trace_id}` is put in."""
