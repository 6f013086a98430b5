"""HTTP for providers: small pooled clients, timeouts, retries, streamed bodies, errors passed on whole."""

from batchmeter.errors import retry_after_seconds

from .body import Body, form_head, multipart
from .client import MAX_ANSWER, MAX_DOWNLOAD, MAX_RETRY_AFTER, USER_AGENT, HttpClient, Retry
from .decompress import CHUNK
from .failure import delivery_error, error_message, origin_of, redact_url, status_error, without_signatures
from .library import http_library, tls
from .response import AnswerHead, Headers, Response, StreamedResponse, noted_answers

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
