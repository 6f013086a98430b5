"""A sandbox account: `[accounts.sandbox]`, all of it optional."""

import os
from collections.abc import Callable

from pydantic import Field, field_validator

from batchmeter.providers import AccountSettings

from .refusal import Refusal
from .script import Fault, Script


class SandboxSettings(AccountSettings):
    """For a sandbox of this process's own. One that is served is an `openai` account with its `api_base`."""

    seed: int | None = None
    """Fixes ids and answers. Ids repeat in a new sandbox of the same seed: not for a ledger that is kept."""
    speed: float = Field(default=300.0, gt=0)
    """1: a batch takes 22 minutes; 300: 4.5 seconds."""
    folder: str | None = Field(default_factory=lambda: os.environ.get("BATCHMETER_SANDBOX_FOLDER") or None)
    """Keeps files and batches, across processes; by default they go with the process."""
    max_bytes: int = Field(default=1024**3, gt=0)
    """Of all files together; an upload that does not fit is refused."""
    mixed_models: bool = False
    """Take input files that name several models, as some compatible vendors do; OpenAI refuses them."""
    script: str = ""
    """The fate of every batch, `fail=0.05 lag=1`; metadata key `sandbox` of a batch overrides it."""
    faults: tuple[str, ...] = ()
    """Of single requests: `rate_limit*2 POST /v1/batches retry_after=0.1`."""

    @field_validator("script")
    @classmethod
    def _script(cls, text: str) -> str:
        return _checked(Script.parse, text)

    @field_validator("faults")
    @classmethod
    def _faults(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(Fault.parse, text) for text in texts)


def _checked(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except Refusal as refusal:
        raise ValueError(refusal.message) from refusal
    return text
