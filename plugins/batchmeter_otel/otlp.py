"""OTLP/HTTP exports that end in an acknowledgement or an exception, never in a shrug.

The exporters call a redirect, a login page and a partly refused request a success, and tell nothing of a failure.
A session of our own sees each answer as it is. Langfuse's intake speaks OTLP too and shares this file.
"""

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, cast

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from batchmeter.errors import APIConnectionError, APIResponseError, APITimeoutError, Rejected
from batchmeter.http import redact_url, status_error
from batchmeter.http.intake import delivery_error

Batch = TypeVar("Batch", contravariant=True)  # noqa: PLC0105 - reads as what it is where it is used

_PROTOBUF = frozenset({"application/x-protobuf", "application/octet-stream", ""})


class Exporter(Protocol[Batch]):
    """What the three OTLP exporters have in common."""

    def export(self, batch: Batch, /) -> Enum: ...

    def shutdown(self) -> None: ...


class NotAccepted(requests.RequestException):
    """Ends the exporter's own tries: when to try again is the ledger's business."""


class AckSession(requests.Session):
    """Raises NotAccepted unless the receiver took all of the request; `failure` then says why, in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()

    @property
    def failure(self) -> Exception | None:
        found: Exception | None = getattr(self._local, "failure", None)
        return found

    @failure.setter
    def failure(self, value: Exception | None) -> None:
        self._local.failure = value

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - passed on as it is
        try:
            response = self._try_twice(method, url, *args, **kwargs)
            failure = refusal(response, redact_url(url))
        except requests.Timeout as error:
            failure = APITimeoutError(f"{redact_url(url)} did not answer in time ({type(error).__name__})")
        except requests.RequestException as error:
            failure = APIConnectionError(f"{redact_url(url)}: {type(error).__name__}")
        else:
            if failure is None:
                return response
        self.failure = failure
        raise NotAccepted(str(failure))

    def _try_twice(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """A pooled connection that the receiver has closed meanwhile shows only when it is used."""
        try:
            return super().request(method, url, *args, **kwargs)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            return super().request(method, url, *args, **kwargs)


class Channel(Generic[Batch]):
    """One signal's way to the receiver."""

    def __init__(self, make: Callable[[requests.Session], Exporter[Batch]]) -> None:
        self._session = AckSession()
        self._exporter = make(self._session)

    def send(self, batch: Batch) -> None:
        """Returns when the receiver has accepted all of it."""
        self._session.failure = None
        result = self._exporter.export(batch)
        if self._session.failure is not None:
            raise self._session.failure
        if result.name != "SUCCESS":
            raise Rejected("the OTLP exporter could not encode it, or it exceeds 64 MiB; its log says more")

    def close(self) -> None:
        self._exporter.shutdown()
        self._session.close()


def refusal(response: requests.Response, where: str) -> Exception | None:
    """Why this answer is no acknowledgement; None if it is one."""
    status = response.status_code
    if status >= 400:  # noqa: PLR2004 - HTTP's own line between answers and errors
        headers = {name.lower(): value for name, value in response.headers.items()}
        return delivery_error(status_error(status, headers, response.content, where=where))
    if status >= 300:  # noqa: PLR2004
        return APIResponseError(f"{where} answered with a redirect ({status}); is this the receiver's address?")
    if not response.content:
        return None
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _PROTOBUF and kind != "application/json":
        return APIResponseError(f"{where} answered {status} with {kind!r}; is this the receiver's address?")
    try:
        count, said = _rejected_json(response) if kind == "application/json" else _rejected_protobuf(response)
    except Exception as error:  # noqa: BLE001 - whatever the decoder says, it is not an acknowledgement
        return APIResponseError(f"{where} answered {status} with {kind!r} that is none: {type(error).__name__}")
    return Rejected(f"{where} refused {count} item(s): {said or 'no reason given'}") if count else None


def _rejected_json(response: requests.Response) -> tuple[int, str]:
    answer = cast("dict[str, Any]", response.json() or {})
    partial = cast("dict[str, Any]", answer.get("partialSuccess") or {})
    names = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")
    return sum(int(partial.get(name) or 0) for name in names), str(partial.get("errorMessage") or "")


def _rejected_protobuf(response: requests.Response) -> tuple[int, str]:
    """The field numbers are the same for spans, data points and log records."""
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    return partial.rejected_spans, partial.error_message
