"""HTTP failures as batchmeter's own exceptions: everything the server said, without the secrets."""

import errno
import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import cast

from batchmeter import errors
from batchmeter.errors import Rejected, RetryLater

log = logging.getLogger("batchmeter")

_BY_STATUS: dict[int, type[errors.APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}
_NEVER_SENT = frozenset(
    {"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol", "InvalidURL"}
)
"""httpx's failures that come before the first byte of a request has left."""
_UNQUOTABLE = frozenset({"LocalProtocolError"})
"""Their text repeats header values: the key."""
_NO_FILES = "this process has as many files open as it may (raise the limit: ulimit -n)"
_SILENT_SECONDS = 60.0
_silent_until = [float("-inf")]
"""By the monotonic clock, of the whole process."""
_MIN_SECRET = 8
_MOST_TEXT = 500
"""Characters of an error's message."""
_SIGNATURE = re.compile(
    rb"((?:\b|%3f|%26|%2526)(?:sig|signature|x-(?:amz|goog)-signature)(?:=|%3d|%253d))[^&\s\"'<>\\]+", re.IGNORECASE
)
"""A signature in a URL, as a storage's error repeats it: plain, or escaped once or twice."""
_NEVER_TAKEN = frozenset({400, 413, 415, 422})
_TAKEN_LATER = frozenset({429, 503})


def transport_error(error: Exception, where: str) -> errors.ProviderError | None:
    """Ours for an exception of httpx, httpx2 or h11, known by name so that a caller's own client may be either's."""
    names = {
        cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in ("httpx", "httpx2", "h11")
    }
    kind = type(error).__name__
    text = f"{where}: {kind}" if names & _UNQUOTABLE or not str(error) else f"{where}: {kind}: {error}"
    never_sent = bool(names & _NEVER_SENT)
    if _is_out_of_files(error):
        _warn_of_files()
        text = f"{where}: {_NO_FILES}"
    if "TimeoutException" in names:
        return errors.APITimeoutError(f"{where} did not answer in time ({kind})", never_sent=never_sent)
    if "DecodingError" in names:
        return errors.APIResponseError(text)
    if names & {"HTTPError", "StreamError", "InvalidURL", "ProtocolError"}:
        return errors.APIConnectionError(text, never_sent=never_sent)
    return None


def _is_out_of_files(error: BaseException | None) -> bool:
    """Libraries say "all connection attempts failed", and keep the reason among the causes, which may form a circle."""
    visited = set[int]()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
            return True
        if isinstance(error, BaseExceptionGroup):
            return any(map(_is_out_of_files, cast("BaseExceptionGroup[BaseException]", error).exceptions))
        error = error.__cause__ or error.__context__
    return False


def _warn_of_files() -> None:
    """One line a minute, however many calls fail."""
    now = time.monotonic()
    if now >= _silent_until[0]:
        _silent_until[0] = now + _SILENT_SECONDS
        log.warning("%s", _NO_FILES)


def quotable(error: Exception) -> Exception | None:
    """The error itself, to be shown as the cause; None when its text may hold a secret."""
    return None if type(error).__name__ in _UNQUOTABLE else error


def status_error(status: int, headers: Mapping[str, str], content: bytes, *, where: str) -> errors.APIStatusError:
    """The exception for an error answer, with everything the provider sent."""
    body: object
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = content.decode("utf-8", "replace")
    fallback = errors.InternalServerError if status >= 500 else errors.APIStatusError  # noqa: PLR2004 - 5xx
    cls = _BY_STATUS.get(status, fallback)
    return cls(
        f"{where} answered {status}: {error_message(body) or 'no message'}",
        status_code=status,
        body=body,
        content=content,
        headers=headers,
    )


def error_message(body: object) -> str | None:
    """The human part of an error body: `error.message`, a bare `message` or `detail`, those in `errors`, else the text."""
    if not isinstance(body, dict):
        return _shown(body)
    whole = cast("dict[str, object]", body)
    error = whole.get("error", whole)
    if not isinstance(error, dict):
        return _shown(error)
    inner = cast("dict[str, object]", error)
    return _shown(inner.get("message") or inner.get("detail") or inner.get("errors"))


def _shown(text: object) -> str | None:
    """A text; of a list of errors (`errors`, or a list of one) the text of each."""
    try:
        texts = [_text(entry) for entry in cast("list[object]", text)] if isinstance(text, list) else [str(text or "")]
    except RecursionError:
        return "an error that is nested too deeply to be shown"
    return "; ".join(dict.fromkeys(filter(None, texts)))[:_MOST_TEXT] or None


def _text(entry: object) -> str:
    if not isinstance(entry, dict):
        return str(entry or "")
    whole = cast("dict[str, object]", entry)
    error = whole.get("error")
    inner = cast("dict[str, object]", error) if isinstance(error, dict) else whole
    return next(
        (str(found) for name in ("message", "detail", "msg", "title") if (found := inner.get(name))), str(whole)
    )


def without_secrets(content: bytes, headers: Mapping[str, str], others: Iterable[str] = ()) -> bytes:
    """A server's text, which may repeat what it was sent, with the credentials and `others` blanked."""
    secrets = {*_credentials(headers), *(other.encode() for other in others)}
    for secret in sorted(secrets, key=len, reverse=True):  # one may be part of another
        if len(secret) >= _MIN_SECRET:
            content = content.replace(secret, b"[redacted]")
    return _SIGNATURE.sub(rb"\1[redacted]", content)


def without_signatures(text: str) -> str:
    """A text in which signed URLs have lost their signatures."""
    return _SIGNATURE.sub(rb"\1[redacted]", text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _credentials(headers: Mapping[str, str]) -> Iterable[bytes]:
    for name, value in headers.items():
        if name in ("authorization", "proxy-authorization") or "key" in name or "token" in name:
            yield value.rpartition(" ")[2].encode()


def delivery_error(error: errors.APIStatusError) -> Exception:
    """Rejected for what will never be taken, RetryLater where the intake named a time, else the error itself.

    401 and 403 stay what they are: the deliverer pauses that logger instead of counting attempts.
    """
    if error.status_code in _NEVER_TAKEN:
        return Rejected(str(error))
    if error.status_code in _TAKEN_LATER and error.retry_after is not None:
        return RetryLater(str(error), after=error.retry_after)
    return error
