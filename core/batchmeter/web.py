"""Addresses, and the heads of answers: all that core knows of HTTP, which `batchmeter.http` speaks for its plugins."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; empty parts for an address that is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None
    return parts.scheme, (parts.hostname or "").rstrip("."), port


def redact_url(url: str) -> str:
    """A URL that may be shown: no user, password, query or fragment."""
    scheme, separator, rest = url.partition("://")
    host = rest.split("?", 1)[0].split("#", 1)[0]
    host, slash, path = host.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}".rstrip("/")


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """One answer below 400."""

    method: str
    status_code: int
    headers: Mapping[str, str]
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
