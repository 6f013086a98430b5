"""Cohere's and Voyage's embeddings: billed units, and a total that is all input."""

from typing import Any

from msgspec import Struct

from batchmeter.metering.dialects import Answer, Dialect, Dialects

BILLED_UNITS = Dialect(
    name="billed_units",
    needs="input_tokens|output_tokens|images|search_units",
    prompt="input_tokens",
    buckets={
        "input": "input_tokens - image_tokens",
        "image_in": "image_tokens",
        "input_image": "images",
        "tool_call": "search_units + classifications",
        "output": "output_tokens",
    },
)
"""Cohere: the units it bills, which are not the tokens that its models counted."""


class _Meta(Struct, gc=False):
    billed_units: dict[str, Any] | None = None


def _usage_of(body: Any, _: str | None) -> Answer | None:
    """An answer without billed units is still an answer."""
    if body.meta is None:
        return None
    return Answer(model=body.model, usage=body.meta.billed_units, kind="cohere", dialect=BILLED_UNITS)


COHERE = Dialects(
    provider="cohere",
    speaks=(BILLED_UNITS,),
    private=True,
    body={"meta": _Meta | None},
    usage_of=_usage_of,
    repeats="ids",
)

TOTAL = Dialect(
    name="total_tokens",
    needs="total_tokens",
    prompt="total_tokens",
    buckets={"input": "total_tokens"},
    harmless=frozenset({"text_tokens", "image_pixels", "video_pixels"}),
)
"""Embeddings and ranking count no output."""

VOYAGE = Dialects(provider="voyage", speaks=(TOTAL,), private=True)
