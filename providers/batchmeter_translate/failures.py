"""A failed row's `status` -> an OpenAI error line's status code and body.

It reads `Bad Request: {"error": {"code": 400, "message": "…", "status": "INVALID_ARGUMENT"}}`, or any other text.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from .shape import Json, mapping

GRPC = {
    1: "cancelled",
    2: "unknown",
    3: "invalid_argument",
    4: "deadline_exceeded",
    5: "not_found",
    6: "already_exists",
    7: "permission_denied",
    8: "resource_exhausted",
    9: "failed_precondition",
    10: "aborted",
    11: "out_of_range",
    12: "unimplemented",
    13: "internal",
    14: "unavailable",
    15: "data_loss",
    16: "unauthenticated",
}
"""Google's numbers of errors -> their names."""
_BY_PHRASE = {status.phrase.lower(): status.value for status in HTTPStatus}
_BY_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_CODES = range(400, 600)


def failure(status: str) -> tuple[int, Json]:
    """Status code and `{"error": …}`."""
    phrase, _, _ = status.partition(":")
    error = _error_in(status)
    message = str(error.get("message") or status)
    word = str(error.get("status") or error.get("type") or "")
    code = error.get("code")
    number = code if isinstance(code, int) and code in _CODES else None
    number = number or _BY_STATUS.get(word) or _BY_PHRASE.get(phrase.strip().lower()) or 500
    return number, _body(number, message, word)


def rpc_failure(error: Json) -> tuple[int, Json]:
    """The same for an error as an object: `{"code": 3, "message": "…"}`, code by gRPC or HTTP."""
    code = error.get("code")
    word = str(error.get("status") or (GRPC.get(code) if isinstance(code, int) else "") or "").upper()
    number = _BY_STATUS.get(word) or (code if isinstance(code, int) and code in _CODES else 500)
    return number, _body(number, str(error.get("message") or word or "no reason given"), word)


def _body(number: int, message: str, word: str) -> Json:
    kind = _TYPES.get(number, "server_error" if number >= 500 else "invalid_request_error")  # noqa: PLR2004 - 5xx
    return {"error": {"message": message, "type": kind, "param": None, "code": word.lower() or None}}


def _error_in(status: str) -> Json:
    match = re.search(r"\{.*\}", status, re.DOTALL)
    try:
        found: Any = json.loads(match[0]) if match else {}
    except ValueError:
        return {}
    whole = mapping(found)
    return mapping(whole.get("error")) or whole
