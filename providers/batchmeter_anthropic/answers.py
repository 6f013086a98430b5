"""Result rows of a Message Batch -> OpenAI's output and error lines."""

from collections.abc import Callable
from typing import Literal

from batchmeter_translate.claude_answer import claude_completion
from batchmeter_translate.endpoints import CHAT
from batchmeter_translate.lines_out import AnswerTranslation, answer_line, error_line
from batchmeter_translate.shape import Json, mapping

from .ids import from_vendor

STATUS_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_NEVER_RUN = {
    "canceled": ("batch_cancelled", "This request was cancelled before it ran."),
    "expired": ("batch_expired", "This request could not be run before the batch expired."),
}


class Answers(AnswerTranslation):
    """One view of one batch. `kept` reads an id that lies beside the requests, by its place."""

    def __init__(
        self, kind: Literal["output", "error"], endpoint: str | None, kept: Callable[[int], str | None]
    ) -> None:
        super().__init__(kind)
        self._endpoint = endpoint
        self._kept = kept

    def answer(self, row: Json) -> Json:
        result = mapping(row.get("result"))
        named = row.get("custom_id")
        custom_id = from_vendor(named, self._kept) if isinstance(named, str) else None
        kind = str(result.get("type"))
        if kind in _NEVER_RUN:
            return error_line(custom_id, *_NEVER_RUN[kind])
        if kind == "succeeded":
            message = mapping(result.get("message"))
            body = claude_completion(message, "") if self._endpoint == CHAT else message
            return answer_line(custom_id, 200, str(message.get("id") or ""), body)
        if kind == "errored":
            return self._errored(custom_id, mapping(result.get("error")))
        return error_line(custom_id, "unknown_result", f"a result of type {kind!r}")

    def _errored(self, custom_id: str | None, envelope: Json) -> Json:
        error = mapping(envelope.get("error")) or envelope
        kind = str(error.get("type") or "api_error")
        text = {"message": str(error.get("message") or kind), "type": kind, "param": None, "code": kind}
        request_id = str(envelope.get("request_id") or "")
        return answer_line(custom_id, STATUS_BY_TYPE.get(kind, 500), request_id, {"error": text})
