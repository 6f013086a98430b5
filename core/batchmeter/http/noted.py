"""The heads of vendors' answers, for whoever passes them on to a caller of its own."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .response import Headers


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
