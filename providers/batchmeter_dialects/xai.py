"""xAI's rows: reasoning beside the output, server-side tools, and its own amount on each."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from batchmeter.metering.dialects import Answer, Dialect, Dialects, Envelope, failure_code

from .openai import REASONING_BESIDE, RESPONSES

_TOOLS = "server_side_tool_usage_details"
_BUCKETS: Mapping[str, str] = {
    "web_search": f"num_sources_used + {_TOOLS}.web_search_calls + {_TOOLS}.x_search_calls",
    "file_search": f"{_TOOLS}.file_search_calls|{_TOOLS}.document_search_calls|{_TOOLS}.collections_search_calls",
    "tool_call": f"{_TOOLS}.code_interpreter_calls|{_TOOLS}.code_execution_calls",
}
_HARMLESS = {
    "num_server_side_tools_used",
    f"{_TOOLS}.mcp_calls",
    f"{_TOOLS}.view_image_calls",
    f"{_TOOLS}.view_x_video_calls",
}
"""The sum of the others; and tools that cost their tokens only."""


def _with_tools(dialect: Dialect) -> Dialect:
    output = dialect.buckets["output"]
    rest = {name: formula for name, formula in dialect.buckets.items() if name != "output"}
    return replace(
        dialect,
        name=f"xai_{dialect.name}",
        buckets={**rest, **_BUCKETS, "output": output},
        harmless=dialect.harmless | _HARMLESS,
        readings=tuple(_with_tools(reading) for reading in dialect.readings),
    )


def _needing_tools(dialect: Dialect) -> Dialect:
    """A sum of tool uses without its details is not known to be free."""
    bare = replace(dialect, harmless=dialect.harmless - {"num_server_side_tools_used"})
    return replace(bare, readings=tuple(_needing_tools(reading) for reading in dialect.readings))


CHAT = _with_tools(
    replace(REASONING_BESIDE, readings=tuple(replace(r, readings=()) for r in REASONING_BESIDE.readings))
)
CHAT_WITH_DETAILS = replace(CHAT, needs=f"{CHAT.needs} {_TOOLS}")
ANSWERS = _with_tools(RESPONSES)
ANSWERS_WITH_DETAILS = replace(ANSWERS, needs=f"{ANSWERS.needs} {_TOOLS}")
AMOUNT = Dialect(
    name="xai_amount",
    needs="cost_in_usd_ticks",
    prompt="",
    buckets={"image_generation": "images"},
    reported={"cost_in_usd_ticks": Decimal("1e-10")},
)
"""Images and videos have no tokens, only an amount."""


def _shape(body: type) -> Any:
    images: list[tuple[str, Any, Any]] = [
        ("data", list[msgspec.Raw] | None, None),
        ("usage", dict[str, Any] | None, None),
        ("model", str | None, None),
    ]
    kinds: list[tuple[str, Any, Any]] = [
        ("chat_get_completion", body | None, None),
        ("responses", body | None, None),
        ("image_generation", msgspec.defstruct("Images", images, gc=False) | None, None),
    ]
    response = msgspec.defstruct("Completion", kinds, gc=False)
    fields: list[tuple[str, Any, Any]] = [("response", response | None, None), ("error", Any, None)]
    return msgspec.defstruct("BatchResult", fields, gc=False) | None


def _open(line: Any) -> object:
    response, error = line.batch_result.response, line.batch_result.error
    if response is None:
        return Answer(failure=failure_code(error) or "no_response")
    images = response.image_generation
    if images is not None:
        usage = None if images.usage is None else images.usage | {"images": len(images.data or ())}
        return Answer(model=images.model, usage=usage)
    return response.chat_get_completion or response.responses or Answer()


DIALECTS = Dialects(
    provider="xai",
    speaks=(CHAT_WITH_DETAILS, _needing_tools(CHAT), ANSWERS_WITH_DETAILS, _needing_tools(ANSWERS), AMOUNT),
    envelopes=(Envelope(key="batch_result", shape=_shape, open=_open),),
    ids=("batch_request_id",),
)
