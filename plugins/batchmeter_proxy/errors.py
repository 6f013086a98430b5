"""Every error in OpenAI's envelope: the provider's own pass through whole, ours get a status and a code."""

import json
import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from batchmeter import errors

log = logging.getLogger("batchmeter")

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_OF_ERRORS = frozenset({"content-type", "retry-after", "retry-after-ms", "x-should-retry"})
_KEPT = re.compile(r"x-request-id|apim-request-id|x-ratelimit-.+|openai-.+|deployment-.*tokens")
"""Headers of a provider's answer that its caller gets, of successes and errors alike."""
_STATUS: tuple[tuple[type[BaseException], int, str | None], ...] = (
    (errors.UnknownAccountError, 404, "unknown_account"),
    (errors.InvalidInputError, 400, "invalid_input_file"),
    (errors.IdempotencyMismatchError, 409, "idempotency_mismatch"),
    (errors.ConfigError, 500, "misconfigured"),
    (errors.UsageError, 400, None),
    (errors.NotSupportedError, 400, "not_supported"),
    (errors.CreateUnknownError, 502, "create_unknown"),
    (errors.APITimeoutError, 504, "provider_timeout"),
    (errors.APIConnectionError, 502, "provider_unreachable"),
    (errors.ProviderError, 502, "provider_answer"),
    (errors.LedgerError, 503, "ledger_unavailable"),
)
"""Our exceptions -> status and code; the first that fits."""
_FINAL = (errors.CreateUnknownError, errors.ConfigError, errors.IdempotencyMismatchError)
"""A client that tries these again makes a second batch, or the same mistake."""


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The proxy's own answer to a request that it does not pass on."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        """More members of `error`, beyond OpenAI's four."""


def error_response(error: BaseException) -> Response:
    """The answer that a caller gets for it; an unforeseen one is logged and says nothing."""
    if isinstance(error, errors.APIStatusError):
        return _passed_on(error)
    found = refusal_of(error)
    if found is None:
        log.error("the proxy failed", exc_info=error)
    return envelope(found or Refusal(500, "The proxy failed; its log says how.", code="internal_error"))


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal that an error is, without a provider's own answer; None for an unforeseen one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, errors.BudgetExceededError | errors.QueueFullError):
        return _no_room(error)
    return next((_ours(error, status, code) for kind, status, code in _STATUS if isinstance(error, kind)), None)


def kept(headers: Mapping[str, object]) -> dict[str, str]:
    """The provider's headers, by lower-case name, that go on to the caller."""
    return {name: text for name, text in _texts(headers) if _KEPT.fullmatch(name)}


def envelope(refusal: Refusal) -> Response:
    body = {
        "message": refusal.message,
        "type": _TYPES.get(refusal.status) or ("invalid_request_error" if refusal.status < 500 else "server_error"),  # noqa: PLR2004 - 5xx
        "param": refusal.param,
        "code": refusal.code,
        **refusal.extra,
    }
    content = json.dumps({"error": body}, ensure_ascii=False).encode("utf-8", "replace")
    return Response(content, refusal.status, refusal.headers, "application/json")


def request_id() -> str:
    return f"req_{secrets.token_hex(16)}"


def _ours(error: BaseException, status: int, code: str | None) -> Refusal:
    text = "\n".join([str(error), *getattr(error, "__notes__", [])])
    headers = {"x-should-retry": "false"} if isinstance(error, _FINAL) else {}
    if not isinstance(error, errors.InvalidInputError):
        return Refusal(status, text, code=code, headers=headers)
    problems = [
        {
            "line": found.line,
            "code": found.code,
            "message": found.message,
            "param": found.param,
            "custom_id": found.custom_id,
        }
        for found in error.problems
    ]
    first = error.problems[0]
    return Refusal(status, text, code=first.code, param=first.param, extra={"problems": problems})


def _no_room(error: errors.BudgetExceededError | errors.QueueFullError) -> Refusal:
    """OpenAI's own answer to who has no credit left. SDKs that would wait for a budget's next period would hang."""
    if isinstance(error, errors.QueueFullError):
        return Refusal(429, str(error), code=error.code, headers={"retry-after": str(error.retry_after)})
    headers = {"x-should-retry": "false"}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    status = 403 if error.code == "input_file_not_checked" else 429
    return Refusal(status, str(error), code=error.code, headers=headers, extra={"type": "insufficient_quota"})


def _passed_on(error: errors.APIStatusError) -> Response:
    headers = {name: text for name, text in _texts(error.headers) if name in _OF_ERRORS} | kept(error.headers)
    if not error.content:
        return envelope(Refusal(error.status_code, str(error), headers={**headers, "content-type": "application/json"}))
    return Response(error.content, error.status_code, headers)


def _texts(headers: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """A stranger's provider may have lists or bytes among them: what a header cannot be is left out."""
    return ((name, text) for name, text in headers.items() if isinstance(text, str) and text.isascii())
