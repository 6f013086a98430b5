"""Bedrock's answer rows -> OpenAI's output and error lines. A row's shape tells its family; jobs may be anybody's."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from batchmeter_translate.claude_answer import claude_completion
from batchmeter_translate.converse_answer import converse_completion
from batchmeter_translate.embedding_answer import Gathering, Part, packed
from batchmeter_translate.endpoints import CHAT
from batchmeter_translate.failures import rpc_failure
from batchmeter_translate.lines_out import AnswerTranslation, answer_line, error_line
from batchmeter_translate.shape import Json, is_array, is_object, mapping, sequence, whole

from .record_ids import from_record, part_of

_BY_NAME = {
    "AccessDeniedException": 403,
    "InternalServerException": 500,
    "ModelErrorException": 424,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "ValidationException": 400,
}


class Answers(AnswerTranslation):
    """One view of one job. `kept` reads an id that lies beside the records, by its place."""

    def __init__(
        self, kind: Literal["output", "error"], model: str, endpoint: str, kept: Callable[[int], str | None]
    ) -> None:
        super().__init__(kind)
        self._model, self._endpoint, self._kept = model, endpoint, kept
        self._gathering = Gathering()

    def answer(self, row: Json) -> Json | None:
        record = row.get("recordId")
        part = part_of(record) if isinstance(record, str) else Part("")
        whole_request = self._gathering.add(part, row)
        return None if whole_request is None else self._answer(whole_request, self._custom_id(part))

    def left(self) -> Iterable[Json]:
        return [self._incomplete(rows) for rows in self._gathering.incomplete()]

    def close(self) -> None:
        self._gathering.close()

    def _custom_id(self, part: Part) -> str | None:
        return from_record(part.name, self._kept) if part.name else None

    def _answer(self, rows: list[Json], custom_id: str | None) -> Json:
        failed = next((row for row in rows if not is_object(row.get("modelOutput"))), None)
        if failed is not None:
            return _failed(failed, custom_id)
        record = str(rows[0].get("recordId") or "")
        output = mapping(rows[0]["modelOutput"])
        if self._endpoint != CHAT:
            body = self._embeddings(rows)
        elif output.get("type") == "message":
            body = claude_completion(output, self._model)
        elif is_object(output.get("output")) and "stopReason" in output:
            body = converse_completion(output, self._model, record)
        else:
            body = {"model": self._model, **output}
        return answer_line(custom_id, 200, str(body.get("id") or record), body)

    def _embeddings(self, rows: list[Json]) -> Json:
        """One vector a row, in order; or, as Cohere has it, all of a request in one row."""
        parts = sorted(((part_of(str(row.get("recordId"))), mapping(row["modelOutput"])) for row in rows), key=_index)
        vectors = [vector for _, output in parts for vector in _vectors(output)]
        in_base64 = any(part.base64 for part, _ in parts)
        counts = [output.get("inputTextTokenCount") for _, output in parts]
        prompt = sum(map(whole, counts)) if all(count is not None for count in counts) else None
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": packed(vector) if in_base64 else vector}
                for index, vector in enumerate(vectors)
            ],
            "model": self._model,
            "usage": None if prompt is None else {"prompt_tokens": prompt, "total_tokens": prompt},
        }

    def _incomplete(self, rows: list[Json]) -> Json:
        part = part_of(str(rows[0].get("recordId")))
        failed = next((row for row in rows if not is_object(row.get("modelOutput"))), None)
        if failed is not None:
            return _failed(failed, self._custom_id(part))
        return error_line(self._custom_id(part), "incomplete", f"{len(rows)} of {part.count} embeddings came back")


def _index(item: tuple[Part, Json]) -> int:
    return item[0].index


def _vectors(output: Json) -> list[list[Any]]:
    if is_array(found := output.get("embedding")):
        return [found]
    found = output.get("embeddings", mapping(output.get("embeddingsByType")))
    if is_object(found):  # by type; floats are OpenAI's
        found = found.get("float")
    vectors = sequence(found)
    return (
        [sequence(vector) for vector in vectors] if vectors and is_array(vectors[0]) else [vectors] if vectors else []
    )


def _failed(row: Json, custom_id: str | None) -> Json:
    """`error` is `{"errorCode": 400 or a name, "errorMessage": "…"}`; a record that ran out of time says `expired`."""
    error = mapping(row.get("error"))
    if not error:
        return error_line(custom_id, "no_response", "Bedrock gave neither an answer nor a reason")
    if error.get("expired") is True or row.get("expired") is True:
        return error_line(custom_id, "batch_expired", "This request could not be run before the job ran out of time.")
    code = error.get("errorCode")
    number = _BY_NAME.get(str(code), whole(code))
    status, body = rpc_failure({"code": number, "message": str(error.get("errorMessage") or code or "no reason given")})
    return answer_line(custom_id, status, "", body)
