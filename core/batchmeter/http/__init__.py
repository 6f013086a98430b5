"""HTTP for providers: small pooled clients, timeouts, retries, streamed bodies, errors passed on whole."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

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
    ".errors": "retry_after_seconds",
    ".web": "AnswerHead noted_answers origin_of redact_url",
    "client": "MAX_ANSWER MAX_DOWNLOAD MAX_RETRY_AFTER USER_AGENT HttpClient Retry",
    "failure": "delivery_error error_message status_error without_signatures",
    "library": "http_library tls",
    "messages": "Body CHUNK Headers Response StreamedResponse form_head multipart",
}


__getattr__ = lazy_names(__name__, _HOMES)
