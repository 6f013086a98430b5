"""Vertex AI's answer rows -> OpenAI's output and error lines, as a stream, in the order the rows come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

from batchmeter_translate import ids
from batchmeter_translate.claude_answer import claude_completion
from batchmeter_translate.embedding_answer import Gathering, embedding_list, part_of
from batchmeter_translate.failures import failure
from batchmeter_translate.gemini_answer import epoch, gemini_completion
from batchmeter_translate.lines import Lines, decode, encode
from batchmeter_translate.shape import Json, mapping

from .states import EMBEDDINGS


class Answers:
    """One view of one job: the lines that succeeded, or those that failed."""

    def __init__(self, kind: Literal["output", "error"], model: str, endpoint: str) -> None:
        self._kind = kind
        self._model = model
        self._endpoint = endpoint
        self._gathering = Gathering()

    async def translated(self, rows: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        lines = Lines()
        try:
            async for chunk in rows:
                found = lines.feed(chunk)
                if found and (block := await asyncio.to_thread(self._block, found)):
                    yield block
            last = await asyncio.to_thread(self._last, lines.close())
            if last:
                yield last
        finally:
            self._gathering.close()

    def _block(self, lines: list[bytes | None]) -> bytes:
        return b"".join(self._written(made) for line in lines if line and (made := self._line(line)) is not None)

    def _last(self, lines: list[bytes | None]) -> bytes:
        block = self._block(lines)
        lost = [self._incomplete(rows) for rows in self._gathering.incomplete()]
        return block + b"".join(map(self._written, lost))

    def _written(self, made: Json) -> bytes:
        """The line, if it belongs to this view."""
        response = mapping(made.get("response"))
        succeeded = response.get("status_code") == 200  # noqa: PLR2004 - HTTP OK
        return encode(made) if succeeded == (self._kind == "output") else b""

    def _line(self, line: bytes) -> Json | None:
        try:
            row = mapping(decode(line))
        except ValueError:
            return _error_line(None, "malformed_row", f"not JSON: {line[:120]!r}")
        if self._endpoint != EMBEDDINGS:
            return self._answer(row, [row], custom_id_of(row))
        part = part_of(str(row.get("key") or row.get("custom_id") or ""))
        whole = self._gathering.add(part, row)
        return None if whole is None else self._answer(row, whole, ids.decode(part.name) or None)

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
            body = gemini_completion(response, self._model)
        if body.get("created") == 0:
            body["created"] = epoch(row.get("processed_time"))
        return _line(custom_id, 200, answer_id, body)

    def _incomplete(self, rows: list[Json]) -> Json:
        part = part_of(str(rows[0].get("key")))
        failed = next((row for row in rows if row.get("status")), None)
        custom_id = ids.decode(part.name)
        if failed is not None:
            return _failed(failed, custom_id)
        return _error_line(custom_id, "incomplete", f"{len(rows)} of {part.count} embeddings came back")


def custom_id_of(row: Json) -> str | None:
    """From the echoed key, else from the labels; None for a row made elsewhere that has neither."""
    echoed = row.get("custom_id") or row.get("key")
    if echoed is not None:
        return ids.decode(str(echoed))
    return ids.from_labels(mapping(mapping(row.get("request")).get("labels")))


def _failed(row: Json, custom_id: str | None) -> Json:
    status = str(row.get("status") or "")
    if not status:
        return _error_line(custom_id, "no_response", "Vertex AI gave neither an answer nor a reason")
    code, body = failure(status)
    return _line(custom_id, code, "", body)


def _line(custom_id: str | None, status_code: int, request_id: str, body: Json) -> Json:
    response = {"status_code": status_code, "request_id": request_id, "body": body}
    return {"id": f"batch_req_{request_id}", "custom_id": custom_id, "response": response, "error": None}


def _error_line(custom_id: str | None, code: str, message: str) -> Json:
    error = {"code": code, "message": message}
    return {"id": "batch_req_", "custom_id": custom_id, "response": None, "error": error}
