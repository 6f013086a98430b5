"""Vertex AI loads a batch's rows as BigQuery loads JSON; one bad row fails the whole job before anything runs.

So its rules are checked here, over all rows: one type per key path, names that can be columns and differ by more than
case, objects nested at most 15 deep, no empty objects, no nulls, no arrays of arrays.
"""

import json
import re
from typing import Any

from batchmeter_translate.shape import Json, is_array, is_object, mapping, objects
from batchmeter_translate.untranslatable import UntranslatableError

MAX_DEPTH = 15
MAX_PATHS = 10_000
"""BigQuery's columns per table; it also bounds what is remembered here."""
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_RESERVED = ("_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier")
_KINDS: dict[type, str] = {
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "an array",
}


def pruned(value: Any) -> Any:
    """Without nulls and empty objects as members; in arrays they stay, to be refused: there they mean something."""
    if is_object(value):
        members = ((name, pruned(member)) for name, member in value.items())
        return {name: member for name, member in members if member is not None and member != {}}
    if is_array(value):
        return [pruned(item) for item in value]
    return value


class _UnprunedError(Exception):
    """A null or an empty object as a member."""


class Importer:
    """Facts that the rows so far have fixed about those to come."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        """Path -> what it holds."""
        self._first: dict[str, tuple[str, int]] = {}
        """Path without case -> its spelling and the first line that had it: columns are compared so."""

    def admit(self, row: Json, line: int) -> Json:
        """The row as it may be written; UntranslatableError names the path and the rule it breaks."""
        try:
            self._take(row, line)
        except _UnprunedError:
            return self.admit(pruned(row), line)
        except UntranslatableError:
            if not _soften(row):
                raise
            return self.admit(row, line)
        return row

    def _take(self, row: Json, line: int) -> None:
        """Fixes the row's paths, all or none."""
        fresh: dict[str, str] = {}
        try:
            self._object(row, "", 0, line, fresh)
        except BaseException:
            for path in fresh:
                del self._kinds[path], self._first[path.lower()]
            raise

    def _object(self, value: Json, path: str, depth: int, line: int, fresh: dict[str, str]) -> None:
        if depth > MAX_DEPTH:
            raise _refused(path, f"objects are nested more than {MAX_DEPTH} deep, which Vertex AI's importer refuses")
        for name, member in value.items():
            if member is None or member == {}:
                raise _UnprunedError
            where = f"{path}.{name}" if path else name
            if where not in self._kinds:
                _check_name(name, where)
            self._value(member, where, depth, line, fresh)

    def _value(self, value: Any, path: str, depth: int, line: int, fresh: dict[str, str]) -> None:
        kind = _kind(value)
        if self._kinds.get(path) != kind:
            self._fix(path, kind, line, fresh)
        if kind == "an object":
            self._object(value, path, depth + 1, line, fresh)
        elif kind == "an array":
            for item in value:
                self._item(item, f"{path}[]", depth, line, fresh)

    def _item(self, item: Any, path: str, depth: int, line: int, fresh: dict[str, str]) -> None:
        if item is None or item == {}:
            raise _refused(path, f"{'null' if item is None else 'an empty object'} in an array")
        if isinstance(item, list):
            raise _refused(path, "an array directly in an array")
        self._value(item, path, depth, line, fresh)

    def _fix(self, path: str, kind: str, line: int, fresh: dict[str, str]) -> None:
        """A path that is new is fixed now; one that was fixed otherwise is refused."""
        known = self._first.get(path.lower())
        if known is None:
            if len(self._kinds) >= MAX_PATHS:
                raise UntranslatableError("body", f"more than {MAX_PATHS} different keys in one file; split it")
            self._kinds[path] = fresh[path] = kind
            self._first[path.lower()] = (path, line)
            return
        spelling, first = known
        otherwise = self._kinds[path] if spelling == path else f"spelt `{spelling}`"
        raise _refused(path, f"`{path}` is {kind} here and {otherwise} on line {first}")


def _check_name(name: str, path: str) -> None:
    if not _COLUMN.fullmatch(name) or name.lower().startswith(_RESERVED):
        raise _refused(path, f"the key {name!r} cannot be a column name (letters, digits, `_`; no digit first)")


def _refused(path: str, message: str) -> UntranslatableError:
    return UntranslatableError(path, f"{message}; Vertex AI's importer takes no such file", "invalid_row")


def _soften(row: Json) -> bool:
    """Tool results may hold anything: as text they break no rule. True when something changed."""
    changed = False
    for turn in objects(mapping(row.get("request")).get("contents")):
        for part in objects(turn.get("parts")):
            answer = mapping(part.get("functionResponse"))
            response = mapping(answer.get("response"))
            if set(response) - {"result"}:
                answer["response"] = {"result": json.dumps(response, ensure_ascii=False)}
                changed = True
    return changed


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")
