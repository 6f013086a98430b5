"""Reads an engine's SQL files into named statements, whose optional lines appear only with their parameter."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

_NAME = re.compile(r"-- name: (\w+)")
_OPTIONAL = re.compile(r"(.*?);?\s*-- \[(\w+)\]")


class Statement:
    """One statement: its lines, each with the parameter it depends on."""

    def __init__(self, name: str, lines: list[tuple[str, str | None]]) -> None:
        self.name = name
        self._lines = lines
        self._optional = frozenset(parameter for _, parameter in lines if parameter)
        self._render = lru_cache(maxsize=64)(self._rendered)
        self._whole = None if self._optional else self._rendered(frozenset())

    def text(self, parameters: Mapping[str, object]) -> str:
        """The SQL for these parameters; one that is None or False drops its lines."""
        if self._whole is not None:
            return self._whole
        values = {name: parameters.get(name) for name in self._optional}
        return self._render(
            frozenset(name for name, value in values.items() if value is not None and value is not False)
        )

    def _rendered(self, given: frozenset[str]) -> str:
        return "\n".join(line for line, parameter in self._lines if parameter is None or parameter in given)


@cache
def load_statements(engine: str) -> Mapping[str, Statement]:
    """Every statement: those both engines share, in PostgreSQL's words, and the engine's own."""
    folder = files("batchmeter.ledger") / "sql"
    shared = (folder / "queries.sql").read_text("utf-8")
    own = (folder / f"{engine}.sql").read_text("utf-8")
    text = (_for_sqlite(shared) if engine == "sqlite" else shared) + "\n" + own
    _, *parts = _NAME.split(text)
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: Statement(name, list(_lines(body))) for name, body in named}


_SQLITE_WORDS = (
    (r"batchmeter\.", ""),
    (r"= ANY\(%\((\w+)\)s(::\w+\[\])?\)", r"IN (SELECT value FROM json_each(:\1))"),
    (r"%\((\w+)\)[sb]", r":\1"),
    (r"::(double precision|[a-z]+)(\[\])?", ""),
    (r"\bgreatest\(", "max("),
    (r"\bleast\(", "min("),
    (r"\bkey_of\((\w+)\)", r"json_extract(\1, '$.key')"),
    (r" FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
)


def _for_sqlite(text: str) -> str:
    for words, other in _SQLITE_WORDS:
        text = re.sub(words, other, text)
    return text


def _lines(body: str) -> list[tuple[str, str | None]]:
    kept = [line for line in body.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    return [(match[1], match[2]) if (match := _OPTIONAL.fullmatch(line)) else (line.rstrip(";"), None) for line in kept]
