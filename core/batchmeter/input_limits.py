"""The limits of batch input files, which a provider declares and an account's settings may change; and an account's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class InputLimitSettings(BaseModel):
    """`[accounts.<name>.input_limits]`: what its server takes in one input file, where the provider's rules are others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(default=0, gt=0)
    """Of the whole file."""
    lines: int = Field(default=0, gt=0)
    """Requests in one file."""
    line_bytes: int = Field(default=0, gt=0)
    """Bytes of one line."""
    embedding_inputs: int = Field(default=0, gt=0)
    """Over all lines of an embeddings file."""
    endpoints: tuple[str, ...] | None = None
    """Urls that lines may have; none named: any."""
    one_model: bool = False
    """Whether all lines have to name the same model."""


class AccountLimits(BaseModel):
    """`[accounts.<name>.limits]`: limits of the account at its vendor that submissions wait for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enqueued_tokens: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Model, or a pattern such as `gpt-5*` -> input tokens of its open batches, as estimated; budgets hold it."""


MB = 1024 * 1024

_OPENAI: Mapping[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/responses": ("model",),
    "/v1/embeddings": ("model", "input"),
    "/v1/completions": ("model", "prompt"),
    "/v1/moderations": ("input",),
    "/v1/images/generations": ("prompt",),
    "/v1/images/edits": ("prompt",),
    "/v1/videos": ("prompt",),
}
REQUIRED: Mapping[str, tuple[str, ...]] = {
    **_OPENAI,
    **{endpoint.removeprefix("/v1"): names for endpoint, names in _OPENAI.items()},
}
"""Batch endpoints and what a request body must have there; some APIs leave out the `/v1`."""


@dataclass(frozen=True, slots=True)
class InputLimits:
    """The rules of one provider; the defaults are OpenAI's."""

    bytes: int = 200 * MB
    lines: int = 50_000
    embedding_inputs: int = 50_000
    """Over all lines of an embeddings file."""
    line_bytes: int = 64 * MB
    """A longer line is reported and never held in memory."""
    endpoints: frozenset[str] | None = frozenset(_OPENAI)
    """None: any url."""
    one_model: bool = True
    shortest_custom_id: int = 1
    """Characters."""
    refused: frozenset[str] = frozenset()
    """Members of a body that the provider fails a line for; with any, each line is read in full."""


OPENAI = InputLimits()
COMPATIBLE = InputLimits(
    bytes=10_240 * MB, lines=1_000_000, embedding_inputs=1_000_000_000, endpoints=None, one_model=False
)
"""For servers that speak OpenAI's language under rules of their own: what holds everywhere (JSON, custom_ids, POST)."""


def limits_of(provider: object) -> InputLimits | None:
    """Limits by this provider's `input_limits`, OpenAI's rules where it has none; None: its files are not checked."""
    found: InputLimits | None = getattr(provider, "input_limits", OPENAI)
    return found


def limits_for(own: InputLimits | None, changes: InputLimitSettings, *, checked: bool = True) -> InputLimits | None:
    """A provider's own limits with what an account's settings change; None where they switch the check off."""
    if not checked:
        return None
    changed = changes.model_dump(exclude_unset=True)
    if "endpoints" in changed:
        changed["endpoints"] = None if changed["endpoints"] is None else frozenset(changed["endpoints"])
    return replace(own or COMPATIBLE, **changed) if changed else own
