"""OTLP/HTTP exports that end in an acknowledgement or an exception, never in a shrug.

The exporters call a redirect, a login page and a partly refused request a success, and tell nothing of a failure.
A session of our own sees each answer as it is.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

import requests

from batchmeter.errors import APIConnectionError, APITimeoutError, Rejected
from batchmeter.http import redact_url
from batchmeter.http.failure import without_secrets

from .answer import refusal

Batch = TypeVar("Batch", contravariant=True)  # noqa: PLC0105 - reads as what it is where it is used


USUAL_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent"}
)
"""Headers that every HTTP client sends. Any other was set by somebody, and is as likely as not a key, whatever its name."""


class Exporter(Protocol[Batch]):
    """The common part of the three OTLP exporters."""

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
        kwargs["allow_redirects"] = False
        try:
            response = self._try_twice(method, url, *args, **kwargs)
            sent = _lower(response.request.headers)
            content = without_secrets(response.content, sent, _set_by_somebody(sent))
            failure = refusal(response.status_code, _lower(response.headers), content, where=redact_url(url))
        except requests.Timeout as error:
            failure = APITimeoutError(f"{redact_url(url)} did not answer in time ({type(error).__name__})")
        except requests.exceptions.InvalidHeader:
            failure = APIConnectionError(
                f"{redact_url(url)}: InvalidHeader: a header holds a line break or the like (its value is not shown)"
            )
        except requests.RequestException as error:
            failure = APIConnectionError(f"{redact_url(url)}: {type(error).__name__}: {_innermost(error)}")
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


def _lower(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    return {
        name.lower(): value if isinstance(value, str) else value.decode("latin-1") for name, value in headers.items()
    }


def _set_by_somebody(headers: Mapping[str, str]) -> Iterable[str]:
    """The values, and what comes after a word such as Bearer."""
    for name, value in headers.items():
        if name not in USUAL_HEADERS:
            yield value
            yield value.rpartition(" ")[2]


def _innermost(error: Exception) -> str:
    """`[Errno 111] Connection refused`, out of the four layers of words around it."""
    return str(error).rpartition(": ")[2].rstrip("')\"")


class _Repeats(logging.Filter):
    """Drops what an exporter logs about a failure that is raised to the deliverer anyway; others' stay."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not (getattr(self.here, "sending", False) and str(record.msg).startswith("Failed to export"))


_REPEATS = _Repeats()


class Channel(Generic[Batch]):
    """One signal's way to the receiver."""

    def __init__(self, make: Callable[[requests.Session], Exporter[Batch]]) -> None:
        self._session = AckSession()
        self._exporter = make(self._session)
        logging.getLogger(type(self._exporter).__module__).addFilter(_REPEATS)  # a second time changes nothing

    def send(self, batch: Batch) -> None:
        """Returns when the receiver has accepted all of it."""
        self._session.failure = None
        _REPEATS.here.sending = True
        try:
            accepted = self._exporter.export(batch).name == "SUCCESS"
        except NotAccepted:  # the exporters of 1.39 let it through
            accepted = False
        finally:
            _REPEATS.here.sending = False
        if self._session.failure is not None:
            raise self._session.failure
        if not accepted:
            raise Rejected("the OTLP exporter could not encode it, or it exceeds 64 MiB; its log says more")

    def close(self) -> None:
        self._exporter.shutdown()
        self._session.close()
