"""Single request lines of a batch as spans inside the batch's. None carries a count or a cost that receivers add up."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.trace import Status, StatusCode

from batchmeter.events import BatchFailed, BatchSucceeded
from batchmeter.models import plain
from batchmeter_traces import BatchLine

from . import semconv
from .attributes import Attributes
from .openinference import CHAIN
from .spans import Span, part_of

_REQUEST_BYTES = 1 << 20
"""Many receivers take four megabytes."""
_REQUEST_SPANS = 200
_JSON = "application/json"


def portions(
    event: BatchSucceeded | BatchFailed, whole: Span, lines: Iterable[BatchLine], *, for_phoenix: bool
) -> Iterator[list[Span]]:
    """The spans, as many at a time as one request holds."""
    portion: list[Span] = []
    size = 0
    for line in lines:
        span = _span(event, whole, line, for_phoenix=for_phoenix)
        more = sum(len(value) for value in (span.attributes or {}).values() if isinstance(value, str))
        if portion and (size + more > _REQUEST_BYTES or len(portion) == _REQUEST_SPANS):
            yield portion
            portion, size = [], 0
        portion.append(span)
        size += more
    if portion:
        yield portion


def _span(event: BatchSucceeded | BatchFailed, whole: Span, line: BatchLine, *, for_phoenix: bool) -> Span:
    attributes = _attributes(event, line) | ({semconv.KIND: CHAIN} if for_phoenix else {})
    span = part_of(whole, event, f"line:{line.id}", f"request {line.custom_id}", attributes)
    return span if not line.failed else _failed(span, line)


def _failed(span: Span, line: BatchLine) -> Span:
    return Span(
        span.name,
        span.context,
        span.parent,
        (),
        span.start,
        span.end,
        {**span.attributes, semconv.ERROR_TYPE: line.error_code or "error"},
        (),
        Status(StatusCode.ERROR, line.error_code),
    )


def _attributes(event: BatchSucceeded | BatchFailed, line: BatchLine) -> Attributes:
    facts = plain(line)
    tokens = {name: units for name, units in facts["usage"].items() if units}
    found: dict[str, Any] = {
        semconv.EVENT_ID: event.id,
        semconv.BATCH_ID: event.batch_id,
        semconv.ACCOUNT: event.account,
        f"{semconv.LINE}id": line.id,
        f"{semconv.LINE}custom_id": line.custom_id,
        f"{semconv.LINE}sampled_as": line.reason,
        f"{semconv.LINE}model": line.model,
        f"{semconv.LINE}tokens": json.dumps(tokens, separators=(",", ":")) if tokens else None,
        f"{semconv.LINE}cost_usd": facts["cost"],
        f"{semconv.LINE}unknown_cost": line.unknown_cost or None,
        f"{semconv.LINE}left_out": line.left_out or None,
    }
    if line.request is not None:
        found |= {semconv.INPUT_VALUE: _json(line.request), semconv.INPUT_TYPE: _JSON}
    if line.response is not None:
        found |= {semconv.OUTPUT_VALUE: _json(line.response), semconv.OUTPUT_TYPE: _JSON}
    return {name: value for name, value in found.items() if value is not None}


def _json(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
