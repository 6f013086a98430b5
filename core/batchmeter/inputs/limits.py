"""What a provider accepts in one batch input file."""

from collections.abc import Mapping
from dataclasses import dataclass

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
"""Batch endpoints and what a request body must have there; Azure's classic API leaves out the `/v1`."""


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


OPENAI = InputLimits()


def limits_of(provider: object) -> InputLimits | None:
    """What this provider's `input_limits` says, OpenAI's rules where it has none; None: its files are its own matter."""
    found: InputLimits | None = getattr(provider, "input_limits", OPENAI)
    return found


def is_embeddings(endpoint: str | None) -> bool:
    return endpoint in ("/v1/embeddings", "/embeddings")
