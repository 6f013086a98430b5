"""HTTP for providers: small pooled clients, timeouts, retries, streamed bodies, errors passed on whole."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchmeter.errors import retry_after_seconds
    from batchmeter.web import AnswerHead, noted_answers, origin_of, redact_url

    from .client import MAX_ANSWER, MAX_DOWNLOAD, MAX_RETRY_AFTER, USER_AGENT, HttpClient, Retry
    from .failure import delivery_error, error_message, status_error, without_signatures
    from .library import http_library, tls
    from .messages import (
        CHUNK,
        Body,
        Headers,
        Response,
        StreamedResponse,
        form_head,
        multipart,
    )

__all__ = [
    "CHUNK",
    "MAX_ANSWER",
    "MAX_DOWNLOAD",
    "MAX_RETRY_AFTER",
    "USER_AGENT",
    "AnswerHead",
    "Body",
    "Headers",
    "HttpClient",
    "Response",
    "Retry",
    "StreamedResponse",
    "delivery_error",
    "error_message",
    "form_head",
    "http_library",
    "multipart",
    "noted_answers",
    "origin_of",
    "redact_url",
    "retry_after_seconds",
    "status_error",
    "tls",
    "without_signatures",
]

_HOMES = {
    "batchmeter.errors": "retry_after_seconds",
    "batchmeter.web": "AnswerHead noted_answers origin_of redact_url",
    ".client": "MAX_ANSWER MAX_DOWNLOAD MAX_RETRY_AFTER USER_AGENT HttpClient Retry",
    ".failure": "delivery_error error_message status_error without_signatures",
    ".library": "http_library tls",
    ".messages": "Body CHUNK Headers Response StreamedResponse form_head multipart",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: the provider contract needs no client, and no TLS."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOME_OF[name], __name__), name)
    return value
