"""What a provider accepts in one batch input file."""

from collections.abc import Mapping
from dataclasses import dataclass

MB = 1024 * 1024

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/responses": ("model",),
    "/v1/embeddings": ("model", "input"),
    "/v1/completions": ("model", "prompt"),
    "/v1/moderations": ("input",),
    "/v1/images/generations": ("prompt",),
    "/v1/images/edits": ("prompt",),
    "/v1/videos": ("prompt",),
}
"""OpenAI's batch endpoints and what a request body must have there."""


@dataclass(frozen=True, slots=True)
class InputLimits:
    """The rules of one provider; the defaults are OpenAI's."""

    bytes: int = 200 * MB
    lines: int = 50_000
    embedding_inputs: int = 50_000
    """Over all lines of an embeddings file."""
    line_bytes: int = 64 * MB
    """A longer line is reported and never held in memory."""
    endpoints: frozenset[str] | None = frozenset(REQUIRED)
    """None: any url."""
    one_model: bool = True


OPENAI = InputLimits()
