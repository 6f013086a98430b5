"""HTTP for providers: small pooled clients, timeouts, retries, streamed bodies, errors passed on whole."""

from batchmeter.retry_after import retry_after_seconds

from .body import Body, form_head, multipart
from .client import USER_AGENT, HttpClient
from .failure import error_message, redact_url, status_error
from .public import is_public, literal, public_client
from .response import Headers, Response, StreamedResponse
from .retry import MAX_RETRY_AFTER, Retry
from .undoing import CHUNK

__all__ = [
    "CHUNK",
    "MAX_RETRY_AFTER",
    "USER_AGENT",
    "Body",
    "Headers",
    "HttpClient",
    "Response",
    "Retry",
    "StreamedResponse",
    "error_message",
    "form_head",
    "is_public",
    "literal",
    "multipart",
    "public_client",
    "redact_url",
    "retry_after_seconds",
    "status_error",
]
