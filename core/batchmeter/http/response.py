"""HTTP answers: a whole one, and one with a body that still arrives."""

import json
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from batchmeter import errors

Headers = Mapping[str, str]
"""Names in lower case."""


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status_code: int
    headers: Headers
    content: bytes

    def json(self) -> Any:
        """The decoded body; APIResponseError when it is not JSON (a login page, a proxy's HTML)."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise errors.APIResponseError("expected JSON, got one that is nested too deeply to be read") from None
        except ValueError as error:
            kind = self.headers.get("content-type", "no content-type")
            raise errors.APIResponseError(
                f"expected JSON, got {kind}: {self.content[:120]!r}; is api_base the API's address?"
            ) from error


@dataclass(slots=True)
class StreamedResponse:
    """An answer whose body is still on its way."""

    status_code: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    @property
    def size(self) -> int | None:
        """Bytes to come; None where nobody said, or where they travel compressed."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isdecimal() and "content-encoding" not in self.headers else None


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """One answer below 400."""

    method: str
    status_code: int
    headers: Headers
    """Names in lower case."""


_notes: ContextVar[list[AnswerHead] | None] = ContextVar("batchmeter_answers", default=None)


@contextmanager
def noted_answers() -> Generator[list[AnswerHead]]:
    """The answers that calls inside get, in order; also in tasks that start inside."""
    heads: list[AnswerHead] = []
    token = _notes.set(heads)
    try:
        yield heads
    finally:
        _notes.reset(token)


def note(method: str, status_code: int, headers: Iterable[tuple[str, str]]) -> None:
    heads = _notes.get()
    if heads is not None:
        heads.append(AnswerHead(method, status_code, {name.lower(): text for name, text in headers}))
