"""Gemini's answer rows -> OpenAI's output and error lines."""

from collections.abc import Iterable
from typing import Literal

from batchmeter_translate import ids
from batchmeter_translate.embedding_answer import Gathering, embedding_list, part_of
from batchmeter_translate.endpoints import EMBEDDINGS
from batchmeter_translate.failures import rpc_failure
from batchmeter_translate.gemini_answer import gemini_completion
from batchmeter_translate.lines_out import AnswerTranslation, answer_line, error_line
from batchmeter_translate.shape import Json, mapping


class Answers(AnswerTranslation):
    """One view of one batch."""

    def __init__(self, kind: Literal["output", "error"], model: str, endpoint: str, created: int) -> None:
        super().__init__(kind)
        self._model = model
        self._endpoint = endpoint
        self._created = created
        self._gathering = Gathering()

    def answer(self, row: Json) -> Json | None:
        key = row.get("key")
        if self._endpoint != EMBEDDINGS:
            return self._answer([row], None if key is None else str(key))
        part = part_of(str(key or ""))
        whole = self._gathering.add(part, row)
        return None if whole is None else self._answer(whole, ids.decode(part.name) or None)

    def left(self) -> Iterable[Json]:
        return [self._incomplete(rows) for rows in self._gathering.incomplete()]

    def close(self) -> None:
        self._gathering.close()

    def _answer(self, rows: list[Json], custom_id: str | None) -> Json:
        failed = next((row for row in rows if row.get("error") or not mapping(row.get("response"))), None)
        if failed is not None:
            return _failed(failed, custom_id)
        response = mapping(rows[0].get("response"))
        answer_id = str(response.get("responseId") or "")
        if self._endpoint == EMBEDDINGS:
            body = embedding_list(rows, str(response.get("modelVersion") or self._model))
        else:
            body = gemini_completion(response, self._model)
            body["created"] = body["created"] or self._created
        return answer_line(custom_id, 200, answer_id, body)

    def _incomplete(self, rows: list[Json]) -> Json:
        part = part_of(str(rows[0].get("key")))
        failed = next((row for row in rows if row.get("error")), None)
        custom_id = ids.decode(part.name)
        if failed is not None:
            return _failed(failed, custom_id)
        return error_line(custom_id, "incomplete", f"{len(rows)} of {part.count} embeddings came back")


def _failed(row: Json, custom_id: str | None) -> Json:
    error = mapping(row.get("error"))
    if not error:
        return error_line(custom_id, "no_response", "Gemini gave neither an answer nor a reason")
    code, body = rpc_failure(error)
    return answer_line(custom_id, code, "", body)
