"""Settings of reconciliations: `[plugins.reconcile]`, and `[plugins.reconcile.NAME]` for each vendor's bill."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from batchmeter.models import Secret
from batchmeter.plugin_settings import SettingsWithTables

SourceName = Literal["openai", "anthropic", "azure"]


class BillSettings(BaseModel):
    """`[plugins.reconcile.NAME]`: how the vendor of an account is asked; NAME is the account's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: tuple[str, ...] = ()
    """Accounts that the bill is about together; by default the one of its name."""
    source: str | None = None
    """Report to ask: `openai`, `anthropic`, `azure`, or one that a plugin brings; by default as the account's provider."""
    admin_key: Secret | None = None
    """Admin key of the organisation; of Azure a token. It goes to the report's host only. By default `OPENAI_ADMIN_KEY`,
    `ANTHROPIC_ADMIN_KEY`; on Azure what `azure-identity` finds."""
    admin_key_env: str | None = None
    """Variable that holds it; where that is not set, this process asks nothing."""
    admin_key_file: Path | None = None
    """File that holds it."""
    base_url: str | None = None
    """Address of the report, if not the vendor's own; it then needs a key of its own in this table."""
    project_ids: tuple[str, ...] = ()
    """Only these projects of OpenAI, workspaces of Anthropic, or sub-accounts of a bill file."""
    api_key_ids: tuple[str, ...] = ()
    """Only what these keys of OpenAI or Anthropic used."""
    scope: str | None = None
    """Azure: `/subscriptions/…`, or a resource group or account below it."""
    exclusive: bool = False
    """The projects make batches only: costs that tell no batches apart are compared, too."""
    books_at: Literal["use", "end", "create"] = "use"
    """Day on which the vendor books a batch: while it runs, when it ends, or when it was made."""
    settle_hours: Annotated[float, Field(ge=0, le=2400)] | None = None
    """Hours after a day for which the vendor may still add to it; by default 24, of Azure and bill files 48."""

    @model_validator(mode="after")
    def _one_key(self) -> "BillSettings":
        if sum(one is not None for one in (self.admin_key, self.admin_key_env, self.admin_key_file)) > 1:
            raise ValueError("the key is given twice: set one of admin_key, admin_key_env and admin_key_file")
        return self


class ReconcileSettings(SettingsWithTables, frozen=True):
    """`[plugins.reconcile]`: each table in it is a bill."""

    tables = "bills"

    bills: dict[str, BillSettings] = Field(default_factory=dict[str, BillSettings])
    """By name; `[plugins.reconcile.openai]` is short for `[plugins.reconcile.bills.openai]`."""
    daily: bool = True
    """Compare each day once the vendor has settled it, where a process tracks; alerts tell of drift."""
    hour: Annotated[int, Field(ge=0, le=23)] = 6
    """Hour of the day (UTC) from which that is done."""
    days: Annotated[int, Field(ge=1, le=90)] = 7
    """Days that are compared each time, so that later changes are seen."""
    tolerance: Annotated[Decimal, Field(ge=0, le=100)] = Decimal("0.5")
    """Percent by which money may differ; a cent always may, tokens never."""
