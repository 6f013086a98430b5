"""A vendor's answer rows in, OpenAI's output and error lines out, as a stream, in the order the rows come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Literal

from .lines import Lines, decode, encode
from .shape import Json, is_object, mapping

_OK = 200


class AnswerTranslation:
    """One view of one batch: the lines that succeeded, or those that failed. A vendor's says in `answer` what a row is."""

    def __init__(self, kind: Literal["output", "error"]) -> None:
        self._kind = kind

    def answer(self, row: Json) -> Json | None:
        """The row's line; None for one that waits for others of its request."""
        raise NotImplementedError

    def left(self) -> Iterable[Json]:
        """Lines of requests that never became whole, after the last row."""
        return ()

    def close(self) -> None:
        """Called at the end, also of a stream that is left early."""

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
            self.close()

    def _block(self, lines: list[bytes | None]) -> bytes:
        return b"".join(self._written(made) for line in lines if line and (made := self._line(line)) is not None)

    def _last(self, lines: list[bytes | None]) -> bytes:
        return self._block(lines) + b"".join(map(self._written, self.left()))

    def _written(self, made: Json) -> bytes:
        """The line, if it belongs to this view."""
        succeeded = mapping(made.get("response")).get("status_code") == _OK
        return encode(made) if succeeded == (self._kind == "output") else b""

    def _line(self, line: bytes) -> Json | None:
        if not line.strip():
            return None
        try:
            row = decode(line)
        except ValueError:
            row = None
        if not is_object(row):
            return error_line(None, "malformed_row", f"not JSON: {line[:120]!r}")
        return self.answer(row)


def answer_line(custom_id: str | None, status_code: int, request_id: str, body: Json) -> Json:
    """OpenAI's line for a request that was answered, well or with an error."""
    response = {"status_code": status_code, "request_id": request_id, "body": body}
    return {"id": f"batch_req_{request_id}", "custom_id": custom_id, "response": response, "error": None}


def error_line(custom_id: str | None, code: str, message: str) -> Json:
    """OpenAI's line for a request that got no answer."""
    error = {"code": code, "message": message}
    return {"id": "batch_req_", "custom_id": custom_id, "response": None, "error": error}
