"""Mistral's rows: OpenAI's chat counters, seconds of audio, connectors, and pages."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import Struct

from batchmeter.metering.dialects import Answer, Dialect, Dialects

from .openai import CHAT

_CACHED = "prompt_tokens_details.cached_tokens|prompt_token_details.cached_tokens|num_cached_tokens"
_INPUT = f"prompt_tokens - {_CACHED}"

_WITH_CONNECTORS = Dialect(
    name="mistral",
    needs="prompt_tokens completion_tokens|total_tokens",
    prompt="prompt_tokens + connector_tokens",
    buckets={
        "input": f"{_INPUT} + connector_tokens",
        "cached_input": _CACHED,
        "audio_second": "prompt_audio_seconds",
        "web_search": "connectors.web_search",
        "tool_call": "connectors.web_search_premium + connectors.code_interpreter + connectors.document_library",
        "image_generation": "connectors.image_generation",
        "output": "completion_tokens",
    },
    total="total_tokens",
    harmless=CHAT.harmless,
)
"""Tokens that connectors brought are input beside prompt_tokens; their uses are billed as well."""
MISTRAL = replace(
    _WITH_CONNECTORS, readings=(replace(_WITH_CONNECTORS, buckets={**_WITH_CONNECTORS.buckets, "input": _INPUT}),)
)

PAGES = Dialect(
    name="mistral_pages",
    needs="pages_processed",
    prompt="",
    buckets={"page": "pages_processed"},
    harmless=frozenset({"doc_size_bytes"}),
)
"""Document recognition, billed by the page."""


class _Image(Struct, gc=False):
    image_annotation: Any = None


class _Page(Struct, gc=False):
    images: list[_Image] = []


def _usage_of(body: Any, _: str | None) -> Answer | None:
    """Annotations of a page have a price of their own, and no counter."""
    found: Mapping[str, Any] | None = body.usage_info
    if found is None:
        return None
    images = (image for page in body.pages or () for image in page.images)
    annotated = body.document_annotation or any(image.image_annotation for image in images)
    return Answer(model=body.model, usage=dict(found) | ({"annotations": 1} if annotated else {}))


DIALECTS = Dialects(
    provider="mistral",
    speaks=(MISTRAL, PAGES),
    body={"usage_info": dict[str, Any] | None, "document_annotation": Any, "pages": list[_Page]},
    usage_of=_usage_of,
)
