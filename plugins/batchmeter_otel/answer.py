"""An OTLP receiver's answer: taken whole, or why not. Langfuse's intake speaks OTLP too, and shares this."""

import json
from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from batchmeter.errors import APIResponseError, Rejected
from batchmeter.http import delivery_error, status_error

_PROTOBUF = frozenset({"application/x-protobuf", "application/octet-stream", ""})
_JSON = "application/json"
_PLAIN_YES = frozenset({b"", b"success", b"ok", b"accepted", b'"success"', b'"ok"', b"{}", b"null"})
"""Texts by which receivers say yes, whatever type they give it: Alibaba Cloud's answers `success` as protobuf."""


def refusal(status: int, headers: Mapping[str, str], content: bytes, *, where: str) -> Exception | None:
    """Why this answer is no acknowledgement; None if it is one. `headers` have lower-case names."""
    if status >= 400:  # noqa: PLR2004 - HTTP's own line between answers and errors
        return delivery_error(status_error(status, headers, content, where=where))
    if status >= 300:  # noqa: PLR2004
        return APIResponseError(f"{where} answered with a redirect ({status}); is this the receiver's address?")
    text = content.strip()
    if text.lower() in _PLAIN_YES:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (kind not in _PROTOBUF and kind != _JSON) or text.startswith(b"<"):
        return APIResponseError(f"{where} answered {status} with {kind!r}; is this the receiver's address?")
    try:
        count, reason = _rejected_json(content) if kind == _JSON else _rejected_protobuf(content)
    except Exception as error:  # noqa: BLE001 - whatever the decoder says, it is not an acknowledgement
        return APIResponseError(f"{where} answered {status} with {kind!r} that is none: {type(error).__name__}")
    return Rejected(f"{where} refused {count} item(s): {reason or 'no reason given'}") if count else None


def _rejected_json(content: bytes) -> tuple[int, str]:
    answer = cast("dict[str, Any]", json.loads(content) or {})
    partial = cast("dict[str, Any]", answer.get("partialSuccess") or {})
    names = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")
    return sum(int(partial.get(name) or 0) for name in names), str(partial.get("errorMessage") or "")


def _rejected_protobuf(content: bytes) -> tuple[int, str]:
    """The field numbers are the same for spans, data points and log records."""
    partial = ExportTraceServiceResponse.FromString(content).partial_success
    return partial.rejected_spans, partial.error_message
