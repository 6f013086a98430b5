"""Settings of every account whose input files are spooled."""

from pydantic import Field

from batchmeter.providers import AccountSettings


class SpoolSettings(AccountSettings):
    """Fields for a provider's own settings to add to."""

    spool: str | None = None
    """Folder of the input files; by default `[spool] path`, else `spool` beside the ledger."""
    keep_inputs_days: float = Field(default=30.0, gt=0)
    """Days until an input file expires whose upload says nothing else."""
