"""Gemini's rows, from the Gemini API and from Vertex AI, and Vertex AI's older predictions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct

from batchmeter.metering.dialects import Answer, Dialect, Dialects, Envelope, Usage

_CACHED = "cachedContentTokenCount|cacheTokensDetails.[]"
_INPUT = f"promptTokenCount|tokenCount - {_CACHED} - promptTokensDetails.AUDIO + cacheTokensDetails.AUDIO"
_OUTPUT = "candidatesTokenCount - candidatesTokensDetails.AUDIO - candidatesTokensDetails.IMAGE - candidatesTokensDetails.VIDEO"
_BUCKETS = {
    "input": f"{_INPUT} + toolUsePromptTokenCount",
    "cached_input": f"{_CACHED} - cacheTokensDetails.AUDIO",
    "audio_in": "promptTokensDetails.AUDIO - cacheTokensDetails.AUDIO",
    "cached_audio_in": "cacheTokensDetails.AUDIO",
    "audio_out": "candidatesTokensDetails.AUDIO",
    "image_out": "candidatesTokensDetails.IMAGE",
    "video_out": "candidatesTokensDetails.VIDEO",
    "web_search": "web_searches",
    "file_search": "data_searches",
    "maps_query": "maps_queries",
    "output": f"{_OUTPUT} + thoughtsTokenCount",
}
_DETAILS = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails", "toolUsePromptTokensDetails")
_TEXT = ("TEXT", "DOCUMENT", "MODALITY_UNSPECIFIED", "None")
"""Kinds that are billed as text; JSON leaves an unspecified one out."""

GEMINI = Dialect(
    name="gemini",
    needs="promptTokenCount|tokenCount",
    prompt="promptTokenCount|tokenCount + toolUsePromptTokenCount",
    buckets=_BUCKETS,
    reasoning="thoughtsTokenCount",
    total="totalTokenCount",
    checks=("promptTokenCount|tokenCount - promptTokensDetails.[]",),
    harmless=frozenset(
        {
            *(f"{details}.{kind}" for details in _DETAILS for kind in _TEXT),
            *(f"{details}.{kind}" for details in _DETAILS[:2] for kind in ("IMAGE", "VIDEO")),
            "toolUsePromptTokensDetails.*",
            "toolUsePromptTokenCount",
            "thoughtsTokensDetails.*",
        }
    ),
    words={
        "trafficType": frozenset({"ON_DEMAND", "TRAFFIC_TYPE_UNSPECIFIED"}),
        "serviceTier": frozenset({"batch", "standard", "unspecified", "BATCH", "STANDARD", "SERVICE_TIER_UNSPECIFIED"}),
    },
    lists=dict.fromkeys((*_DETAILS, "thoughtsTokensDetails"), ("modality", "tokenCount")),
)
"""Cached is inside the prompt, thoughts and tool prompts are beside. These models bill images, video and documents in a
prompt as text; what they make is billed by its kind."""

_MEDIA = {
    "input": f"{_BUCKETS['input']} - promptTokensDetails.IMAGE + cacheTokensDetails.IMAGE"
    " - promptTokensDetails.VIDEO + cacheTokensDetails.VIDEO",
    "cached_input": f"{_BUCKETS['cached_input']} - cacheTokensDetails.IMAGE - cacheTokensDetails.VIDEO",
    "image_in": "promptTokensDetails.IMAGE - cacheTokensDetails.IMAGE",
    "cached_image_in": "cacheTokensDetails.IMAGE",
    "video_in": "promptTokensDetails.VIDEO - cacheTokensDetails.VIDEO",
    "cached_video_in": "cacheTokensDetails.VIDEO",
}
_HAS_MEDIA_RATES = re.compile(r"embedding|omni")
"""Models whose prompts' images and video have rates of their own."""


def _output_last(buckets: Mapping[str, str]) -> dict[str, str]:
    return {**{name: formula for name, formula in buckets.items() if name != "output"}, "output": buckets["output"]}


def _with_readings(dialect: Dialect) -> Dialect:
    """Rows whose total says that thoughts are inside the candidates, or that cached tokens are beside the prompt."""
    buckets = dialect.buckets
    thoughts_inside = replace(dialect, buckets={**buckets, "output": _OUTPUT})
    cached = f"- {_CACHED} "
    cached_beside = replace(
        dialect,
        prompt=f"{dialect.prompt} + {_CACHED}",
        buckets={**buckets, "input": buckets["input"].replace(cached, "")},
        checks=(f"promptTokenCount|tokenCount + {_CACHED} - promptTokensDetails.[]", *dialect.checks[1:]),
    )
    return replace(dialect, readings=(thoughts_inside, cached_beside))


def _searched(dialect: Dialect) -> Dialect:
    """Tool prompts of a row that asked Google Search are free, and outside its total; else the total has them."""
    free = replace(
        dialect,
        prompt="promptTokenCount|tokenCount",
        buckets={**dialect.buckets, "input": dialect.buckets["input"].replace(" + toolUsePromptTokenCount", "")},
    )
    searched = _with_readings(free)
    return replace(searched, readings=(*searched.readings, dialect))


MEDIA = replace(
    GEMINI,
    name="gemini_media",
    buckets=_output_last(_BUCKETS | _MEDIA),
    checks=(*GEMINI.checks, "promptTokensDetails.[]|promptTokenCount|tokenCount - promptTokenCount|tokenCount"),
)
"""Details that leave some tokens out would make them text."""
_BY_MEDIA = {False: (_with_readings(GEMINI), _searched(GEMINI)), True: (_with_readings(MEDIA), _searched(MEDIA))}

COMPAT = Dialect(
    name="gemini_compat",
    needs="promptTokens totalTokens",
    prompt="promptTokens",
    buckets={"input": "promptTokens", "output": "totalTokens - promptTokens"},
    reasoning="totalTokens - promptTokens - completionTokens",
)
"""The OpenAI-compatible layer's rows: thoughts are in the total only."""

PREDICTIONS = Dialect(
    name="predictions",
    needs="token_count",
    prompt="token_count",
    buckets={"input": "token_count"},
)
"""Vertex AI's older text embeddings."""


OUTPUTS = frozenset({"candidatesTokenCount", "totalTokenCount", "thoughtsTokenCount"})


class _Candidate(Struct, gc=False):
    grounding: dict[str, Any] | None = msgspec.field(default=None, name="groundingMetadata")


_candidates = msgspec.json.Decoder(list[_Candidate])
_GENERATION = re.compile(r"gemini-([0-9]{1,6})")
_BY_QUERY = 3
"""From this generation on, each search is billed; before, each grounded prompt."""
UNREADABLE = "groundingMetadata"
"""Counts one where it has another shape than is known: nobody knows what it costs."""
_CHUNKS = {"web", "image", "maps", "retrievedContext"}


def grounded(groundings: Sequence[Mapping[str, Any]], model: str | None, *, vertex: bool) -> Usage:
    """Uses of Google's own tools by an answer's `groundingMetadata`s: billed, and in no counter."""
    searches: list[Any] = [found.get("webSearchQueries") or [] for found in groundings]
    shown: list[Any] = [found.get("groundingChunks") or [] for found in groundings]
    if not all(_is_list_of(one, str) for one in searches) or not all(_is_list_of(one, dict) for one in shown):
        return {UNREADABLE: 1}
    queries: set[str] = {query for queries in searches for query in queries if query.strip()}
    kinds: set[str] = {kind for chunks in shown for chunk in chunks for kind in chunk}
    counts: Usage = {
        "web_searches": _searches(queries, kinds, model, vertex=vertex),
        "maps_queries": int("maps" in kinds),
        "data_searches": int(vertex and "retrievedContext" in kinds),
        **{f"groundingChunks.{kind}": 1 for kind in kinds - _CHUNKS},
    }
    return {name: count for name, count in counts.items() if count}


def _is_list_of(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in cast("list[object]", value))


def asked_search(groundings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Google Search was asked, also where it found nothing and so costs nothing."""
    return any(found.get("webSearchQueries") for found in groundings)


def _groundings(candidates: bytes) -> list[Mapping[str, Any]] | None:
    """None where they have another shape than is known.

    Inside a JSON string the quotes of the key would be escaped, so no answer's text can be taken for it.
    """
    if b'"groundingMetadata"' not in candidates:
        return []
    try:
        return [each.grounding for each in _candidates.decode(candidates) if each.grounding]
    except msgspec.DecodeError:
        return None


def _searches(queries: set[str], kinds: set[str], model: str | None, *, vertex: bool) -> int:
    generation = _GENERATION.search(model or "")
    if generation is None or int(generation[1]) >= _BY_QUERY:
        return len(queries)
    return int(bool(queries) and (not vertex or "web" in kinds))


def _usage_of(body: Any, job_model: str | None, *, vertex: bool) -> Answer | None:
    model = body.modelVersion or body.model
    usage = body.usageMetadata
    if usage is None and body.tokenCount is not None:
        usage = {"tokenCount": body.tokenCount}
    candidates = bytes(body.candidates)
    if bytes(body.candidates) and usage and not OUTPUTS & usage.keys():
        return Answer(model=model, kind="gemini")  # it wrote something, and nobody knows how much
    if usage is None:
        answered = body.modelVersion or any(map(bytes, (candidates, body.promptFeedback, body.embedding)))
        return Answer(model=model, kind="gemini") if answered else None
    groundings = _groundings(candidates)
    tools = {UNREADABLE: 1} if groundings is None else grounded(groundings, model or job_model, vertex=vertex)
    plain, searched = _BY_MEDIA[bool(_HAS_MEDIA_RATES.search(model or job_model or ""))]
    dialect = searched if asked_search(groundings or ()) else plain
    return Answer(model=model, usage=usage | tools, dialect=dialect)


def _of_gemini(body: Any, job_model: str | None) -> Answer | None:
    return _usage_of(body, job_model, vertex=False)


def _of_vertex(body: Any, job_model: str | None) -> Answer | None:
    return _usage_of(body, job_model, vertex=True)


class _Statistics(Struct, gc=False):
    token_count: Any = None


class _Embeddings(Struct, gc=False):
    statistics: _Statistics | None = None


class _Prediction(Struct, gc=False):
    embeddings: _Embeddings | None = None


class _Request(Struct, gc=False):
    """The request that Vertex AI echoes."""

    labels: dict[str, Any] | None = None


_LABEL = re.compile(r"custom_id|(?:batchmeter_cid|litellm_custom_id(?:_raw)?)(?:_\d+)?")
"""Labels that carry a caller's id: a long one takes several. Any other is the caller's own, and says nothing of rows."""


def _labelled(line: Any) -> str | None:
    labels = line.request.labels if line.request is not None else None
    parts = [str(labels[name]) for name in sorted(labels) if _LABEL.fullmatch(name)] if labels else None
    return "".join(parts) if parts else None


def _predictions(line: Any) -> Answer:
    found = line.predictions if line.predictions is not None else [line.prediction]
    statistics = [each.embeddings and each.embeddings.statistics for each in found]
    counts = [each.token_count for each in statistics if each is not None]
    usage = {"token_count": sum(counts)} if counts and all(isinstance(count, int) for count in counts) else None
    return Answer(usage=usage, dialect=PREDICTIONS)


def _list_of_predictions(_: type) -> Any:
    return list[_Prediction] | None


def _one_prediction(_: type) -> Any:
    return _Prediction | None


def _request(_: type) -> Any:
    return _Request | None


def _dialects(provider: Literal["gemini", "vertex_ai"]) -> Dialects:
    vertex = provider == "vertex_ai"
    return Dialects(
        provider=provider,
        speaks=(_BY_MEDIA[False][0], COMPAT, PREDICTIONS),
        body={
            "usageMetadata": dict[str, Any] | None,
            "modelVersion": str | None,
            "tokenCount": Any,
            "candidates": msgspec.Raw,
            "promptFeedback": msgspec.Raw,
            "embedding": msgspec.Raw,
        },
        usage_of=_of_vertex if vertex else _of_gemini,
        envelopes=(
            Envelope(key="predictions", shape=_list_of_predictions, open=_predictions),
            Envelope(key="prediction", shape=_one_prediction, open=_predictions),
            Envelope(key="request", shape=_request, open=None),
        ),
        ids=("key",),
        id_of=_labelled,
        repeats="files" if vertex else "no",
        kinds={r".*gemini-.*image": ("candidatesTokenCount", "candidatesTokensDetails")},
    )


GEMINI_API = _dialects("gemini")
VERTEX_AI = _dialects("vertex_ai")
