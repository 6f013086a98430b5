"""Bedrock's rows: Converse and Nova, Titan, Llama; Claude's and OpenAI-shaped ones are counted by their own tables."""

from dataclasses import replace
from typing import Any

import msgspec

from batchmeter.metering.dialects import Answer, Dialect, Dialects, Envelope

_READ = "cacheReadInputTokens|cacheReadInputTokenCount"
_WRITTEN = "cacheWriteInputTokens|cacheWriteInputTokenCount"
_CONVERSE = Dialect(
    name="converse",
    needs="inputTokens",
    prompt=f"inputTokens + {_READ} + {_WRITTEN}",
    buckets={
        "input": "inputTokens",
        "cached_input": _READ,
        "cache_write_5m": f"{_WRITTEN} - cacheDetails.1h",
        "cache_write_1h": "cacheDetails.1h",
        "output": "outputTokens",
    },
    total="totalTokens",
    harmless=frozenset({"cacheDetails.5m", "serverToolUsage.*"}),
    lists={"cacheDetails": ("ttl", "inputTokens")},
)
CONVERSE = replace(_CONVERSE, readings=(replace(_CONVERSE, total=f"totalTokens + {_READ} + {_WRITTEN}"),))
"""Cache counters are beside inputTokens, and in the total or not."""

TITAN = Dialect(
    name="titan",
    needs="inputTextTokenCount",
    prompt="inputTextTokenCount",
    buckets={"input": "inputTextTokenCount", "input_image": "images", "output": "results.[]"},
    lists={"results": (None, "tokenCount")},
)
"""Amazon Titan text and embeddings; an image is billed apiece."""

LLAMA = Dialect(
    name="llama",
    needs="prompt_token_count generation_token_count",
    prompt="prompt_token_count",
    buckets={"input": "prompt_token_count", "output": "generation_token_count"},
)
"""Meta Llama."""

MANIFEST = Dialect(
    name="manifest",
    needs="totalRecordCount",
    prompt="inputTokenCount",
    buckets={"input": "inputTokenCount", "output": "outputTokenCount"},
)
"""The sums of a job, for models whose rows carry none."""


def _usage_of(body: Any, _: str | None) -> Answer | None:
    counters = {
        "inputTextTokenCount": body.inputTextTokenCount,
        "results": body.results,
        "prompt_token_count": body.prompt_token_count,
        "generation_token_count": body.generation_token_count,
    }
    if any("tokenCount" not in result for result in body.results or ()):
        return None
    there = {name: value for name, value in counters.items() if value is not None}
    return Answer(model=body.model, usage=there) if there else None


def _shape(body: type) -> Any:
    return body | None


def _open(line: Any) -> object:
    body = line.modelOutput
    if body.inputTextTokenCount is not None and b'"inputImage"' in bytes(line.modelInput):
        counters = {"inputTextTokenCount": body.inputTextTokenCount, "images": 1}
        return Answer(model=body.model, usage=counters)
    return body


def _input_shape(_: type) -> Any:
    return msgspec.Raw


DIALECTS = Dialects(
    provider="bedrock",
    speaks=(CONVERSE, TITAN, LLAMA),
    body={
        "inputTextTokenCount": Any,
        "results": list[dict[str, Any]] | None,
        "prompt_token_count": Any,
        "generation_token_count": Any,
    },
    usage_of=_usage_of,
    envelopes=(
        Envelope(key="modelOutput", shape=_shape, open=_open),
        Envelope(key="modelInput", shape=_input_shape, open=None),
    ),
    ids=("recordId",),
    manifest=MANIFEST,
    bills_job_model=True,
)
