"""Single request lines of a batch as observations: never with usage or cost in Langfuse's own members, which it sums."""

from typing import Any, cast

from batchmeter.models import plain
from batchmeter_traces import BatchLine

_INPUTS = ("messages", "input", "prompt")
_OUTPUTS = ("choices", "output", "results")
_MESSAGE = 500
"""Characters of an error's message."""


def about(line: BatchLine) -> dict[str, Any]:
    """The observation as the SDK is to send it."""
    facts = plain(line)
    shown: dict[str, Any] = {
        "metadata": {
            "custom_id": line.custom_id,
            "model": line.model,
            "sampled_as": line.reason,
            "error_code": line.error_code,
            "tokens": {name: units for name, units in facts["usage"].items() if units} or None,
            "cost_usd": facts["cost"],
            "unknown_cost": line.unknown_cost or None,
            "left_out": list(line.left_out) or None,
        },
    }
    if line.request is not None:
        shown["input"] = _part(line.request, _INPUTS)
    if line.response is not None:
        shown["output"] = _part(line.response, _OUTPUTS)
    if line.failed:
        message = _members(line.response).get("message")
        text = f"{line.error_code}: {message}" if message else line.error_code or ""
        shown |= {"level": "ERROR", "status_message": text[:_MESSAGE]}
    return shown


def size(line: BatchLine) -> int:
    """Roughly, in bytes."""
    return 1000 + len(str(line.request)) + len(str(line.response))


def _part(body: object, names: tuple[str, ...]) -> object:
    """The part people look for, else the whole."""
    members = _members(body)
    return next((members[name] for name in names if name in members), body)


def _members(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
