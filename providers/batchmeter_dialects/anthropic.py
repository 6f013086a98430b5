"""Anthropic's Messages, from its own batches, Vertex AI, Bedrock and gateways."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from batchmeter.metering.dialects import Answer, Dialect, Dialects, Envelope, Part, Usage, failure_code

_LIFETIMES = ("cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens")
_BUCKETS = {
    "input": "input_tokens",
    "cached_input": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation_input_tokens - cache_creation.ephemeral_1h_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "web_search": "server_tool_use.web_search_requests",
    "container": "containers",
    "output": "output_tokens",
}


_OWN, _BESIDE = ("message", "fallback_message"), ("compaction", "advisor_message")


def _parts(usage: Usage) -> Iterable[Part] | None:
    """Requests beside the answer's own: a compaction, and an advisor's at its own model's price.

    The answer's own are its `message` entries, which the top level sums, or a `fallback_message`, whose counters and
    model the top level has; then a `message` before it was declined, and is not billed.
    """
    entries: list[Usage] = [entry for entry in usage["iterations"] if isinstance(entry, dict)]
    kinds = [entry.get("type") for entry in entries]
    if len(entries) != len(usage["iterations"]) or not {*_OWN, *_BESIDE}.issuperset(kinds):
        return None
    own = next((kind for kind in reversed(_OWN) if kind in kinds), None)
    if own is not None and not _has_sums(usage, [entry for entry in entries if entry["type"] == own]):
        return None
    parts = [_part(entry) for entry in entries if entry["type"] in _BESIDE]
    return None if None in parts else cast("list[Part]", parts)


def _has_sums(usage: Usage, entries: list[Usage]) -> bool:
    """Whether the top level has the sums of these, as far as both say; a compaction is seen by nothing else."""
    for counter in ("input_tokens", "output_tokens"):
        counts = [entry.get(counter) for entry in entries]
        if all(type(count) is int for count in counts) and sum(cast("list[int]", counts)) != usage.get(counter):
            return False
    return True


def _part(entry: Usage) -> Part | None:
    """None where it has requests of its own, or is another model's that it does not name."""
    model = entry.get("model")
    if entry.get("iterations") or (entry["type"] == "advisor_message" and not isinstance(model, str)):
        return None
    own = {name: value for name, value in entry.items() if name not in {"type", "model"}}
    return Part(model if isinstance(model, str) else None, own)


_PLAIN = Dialect(
    name="anthropic",
    needs="input_tokens output_tokens",
    prompt="input_tokens + cache_read_input_tokens + cache_creation_input_tokens",
    buckets=_BUCKETS,
    reasoning="output_tokens_details.thinking_tokens",
    checks=(f"cache_creation_input_tokens - {' - '.join(_LIFETIMES)}",),
    harmless=frozenset(
        {
            "cache_creation.ephemeral_5m_input_tokens",
            "server_tool_use.web_fetch_requests",
            "inference_geo",
            "fallback_credit.*",
        }
    ),
    words={"service_tier": frozenset({"batch", "standard"}), "speed": frozenset({"standard"})},
    marks="message",
    parts=("iterations", _parts),
    places=True,
)
"""The cache counters are beside input_tokens; cache_creation splits cache_creation_input_tokens by lifetime."""

_SPLIT = "|".join(_LIFETIMES)
ANTHROPIC = replace(_PLAIN, needs="input_tokens output_tokens cache_creation_input_tokens")
ANTHROPIC_SPLIT_ONLY = replace(
    _PLAIN,
    name="anthropic_split_only",
    needs=f"input_tokens output_tokens {_SPLIT}",
    prompt="input_tokens + cache_read_input_tokens + cache_creation.ephemeral_5m_input_tokens"
    " + cache_creation.ephemeral_1h_input_tokens",
    buckets=_BUCKETS | {"cache_write_5m": "cache_creation.ephemeral_5m_input_tokens"},
    checks=(),
)
"""The same without cache_creation_input_tokens."""


def _shape(body: type) -> Any:
    fields: list[tuple[str, Any, Any]] = [
        ("type", str | None, None),
        ("message", body | None, None),
        ("error", Any, None),
    ]
    return msgspec.defstruct("Result", fields, gc=False) | None


_UNBILLED = frozenset({"errored", "canceled", "expired"})
"""Results that cost nothing; one of a type that nobody knows may be an answer."""


def _open(line: Any) -> object:
    result = line.result
    if result.type in _UNBILLED or (result.type not in {None, "succeeded"} and result.error is not None):
        message = result.message
        usage = None if message is None else message.usage
        return Answer(failure=failure_code(result.error) or result.type, usage=usage)
    return result.message if result.message is not None else Answer()


def _container(_: object) -> Mapping[str, int]:
    """Code ran in a container, whose time is billed and is in no counter."""
    return {"containers": 1}


DIALECTS = Dialects(
    provider="anthropic",
    speaks=(ANTHROPIC, ANTHROPIC_SPLIT_ONLY, _PLAIN),
    body={"container": dict[str, Any] | None},
    beside={"container": _container},
    envelopes=(Envelope(key="result", shape=_shape, open=_open),),
)
