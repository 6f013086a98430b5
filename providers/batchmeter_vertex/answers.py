"""Vertex AI's answer rows -> OpenAI's output and error lines."""

from collections.abc import Iterable
from typing import Literal

from batchmeter_translate import ids
from batchmeter_translate.claude_answer import claude_completion
from batchmeter_translate.embedding_answer import Gathering, embedding_list, part_of
from batchmeter_translate.endpoints import EMBEDDINGS
from batchmeter_translate.failures import failure
from batchmeter_translate.gemini_answer import epoch, gemini_completion
from batchmeter_translate.lines_out import AnswerTranslation, answer_line, error_line
from batchmeter_translate.shape import Json, mapping


class Answers(AnswerTranslation):
    """One view of one job."""

    def __init__(self, kind: Literal["output", "error"], model: str, endpoint: str) -> None:
        super().__init__(kind)
        self._model = model
        self._endpoint = endpoint
        self._gathering = Gathering()

    def answer(self, row: Json) -> Json | None:
        if self._endpoint != EMBEDDINGS:
            return self._answer(row, [row], custom_id_of(row))
        part = part_of(str(row.get("key") or row.get("custom_id") or ""))
        whole = self._gathering.add(part, row)
        return None if whole is None else self._answer(row, whole, ids.decode(part.name) or None)

    def left(self) -> Iterable[Json]:
        return [self._incomplete(rows) for rows in self._gathering.incomplete()]

    def close(self) -> None:
        self._gathering.close()

    def _answer(self, row: Json, rows: list[Json], custom_id: str | None) -> Json:
        failed = next((bad for bad in rows if bad.get("status") or not mapping(bad.get("response"))), None)
        if failed is not None:
            return _failed(failed, custom_id)
        response = mapping(row.get("response"))
        answer_id = str(response.get("responseId") or response.get("id") or "")
        if self._endpoint == EMBEDDINGS:
            body = embedding_list(rows, str(response.get("modelVersion") or self._model))
        elif response.get("type") == "message":
            body = claude_completion(response, self._model)
        else:
            body = gemini_completion(response, self._model, vertex=True)
        if body.get("created") == 0:
            body["created"] = epoch(row.get("processed_time"))
        return answer_line(custom_id, 200, answer_id, body)

    def _incomplete(self, rows: list[Json]) -> Json:
        part = part_of(str(rows[0].get("key")))
        failed = next((row for row in rows if row.get("status")), None)
        custom_id = ids.decode(part.name)
        if failed is not None:
            return _failed(failed, custom_id)
        return error_line(custom_id, "incomplete", f"{len(rows)} of {part.count} embeddings came back")


def custom_id_of(row: Json) -> str | None:
    """From the echoed key, else from the labels; None for a row made elsewhere that has neither."""
    echoed = row.get("custom_id") or row.get("key")
    if echoed is not None:
        return ids.decode(str(echoed))
    return ids.from_labels(mapping(mapping(row.get("request")).get("labels")))


def _failed(row: Json, custom_id: str | None) -> Json:
    status = str(row.get("status") or "")
    if not status:
        return error_line(custom_id, "no_response", "Vertex AI gave neither an answer nor a reason")
    code, body = failure(status)
    return answer_line(custom_id, code, "", body)
