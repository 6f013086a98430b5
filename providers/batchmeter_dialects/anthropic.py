"""Anthropic's Messages, from its own batches, Vertex AI, Bedrock and gateways."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from batchmeter.metering.dialects import Answer, Dialect, Dialects, Envelope, Part, Usage, failure_code

_BUCKETS = {
    "input": "input_tokens",
    "cached_input": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation_input_tokens - cache_creation.ephemeral_1h_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "web_search": "server_tool_use.web_search_requests",
    "container": "containers",
    "output": "output_tokens",
}


def _parts(usage: Usage) -> Iterable[Part] | None:
    """Requests beside the answer's own: a compaction, and an advisor's at its own model's price.

    The answer's own are its `message` entries, which the top level sums, or a `fallback_message`, whose counters and
    model the top level has; then a `message` before it was declined, and is not billed.
    """
    parts: list[Part] = []
    for entry in cast("list[Any]", usage["iterations"]):
        kind = cast("Usage", entry).get("type") if isinstance(entry, dict) else None
        if kind in {"compaction", "advisor_message"}:
            counters = cast("Usage", entry)
            model = counters.get("model")
            own = {name: value for name, value in counters.items() if name not in {"type", "model"}}
            parts.append(Part(model if isinstance(model, str) else None, own))
        elif kind not in {"message", "fallback_message"}:
            return None
    return parts


_PLAIN = Dialect(
    name="anthropic",
    needs="input_tokens",
    prompt="input_tokens + cache_read_input_tokens + cache_creation_input_tokens",
    buckets=_BUCKETS,
    reasoning="output_tokens_details.thinking_tokens",
    check="cache_creation_input_tokens - cache_creation.ephemeral_5m_input_tokens"
    " - cache_creation.ephemeral_1h_input_tokens",
    harmless=frozenset(
        {
            "cache_creation.ephemeral_5m_input_tokens",
            "server_tool_use.web_fetch_requests",
            "service_tier",
            "inference_geo",
            "speed",
            "fallback_credit.*",
        }
    ),
    marks="message",
    parts=("iterations", _parts),
    places=True,
)
"""The cache counters are beside input_tokens; cache_creation splits cache_creation_input_tokens by lifetime."""

_SPLIT = "cache_creation.ephemeral_5m_input_tokens|cache_creation.ephemeral_1h_input_tokens"
ANTHROPIC = replace(_PLAIN, needs="input_tokens cache_creation_input_tokens")
ANTHROPIC_SPLIT_ONLY = replace(
    _PLAIN,
    name="anthropic_split_only",
    needs=f"input_tokens {_SPLIT}",
    prompt="input_tokens + cache_read_input_tokens + cache_creation.ephemeral_5m_input_tokens"
    " + cache_creation.ephemeral_1h_input_tokens",
    buckets=_BUCKETS | {"cache_write_5m": "cache_creation.ephemeral_5m_input_tokens"},
    check="",
)
"""The same without cache_creation_input_tokens."""


def _shape(body: type) -> Any:
    fields: list[tuple[str, Any, Any]] = [
        ("type", str | None, None),
        ("message", body | None, None),
        ("error", Any, None),
    ]
    return msgspec.defstruct("Result", fields, gc=False) | None


def _open(line: Any) -> object:
    result = line.result
    if result.type not in {None, "succeeded"}:
        return Answer(failure=failure_code(result.error) or result.type)
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
