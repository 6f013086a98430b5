"""Vertex AI loads a batch's rows as BigQuery loads JSON; one bad row fails the whole job before anything runs.

So its rules are checked here, over all rows: one type per key path, names that can be columns and differ by more than
case, objects nested at most 15 deep, no empty objects, no nulls, no arrays of arrays.
"""

import json
import re
from typing import Any

from .shape import Json, is_array, is_object, mapping, objects, sequence
from .untranslatable import UntranslatableError

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

Place = tuple[str, int]
"""What a path holds (with its spelling), and the first line that said so."""


def pruned(value: Any) -> Any:
    """Without nulls and empty objects as members; in arrays they stay, to be refused: there they mean something."""
    if is_object(value):
        members = ((name, pruned(member)) for name, member in mapping(value).items())
        return {name: member for name, member in members if member is not None and member != {}}
    if is_array(value):
        return [pruned(item) for item in sequence(value)]
    return value


class Importer:
    """What the rows so far have fixed about those to come."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def admit(self, row: Json, line: int) -> Json:
        """The row as it may be written; UntranslatableError names the path and the rule it breaks."""
        clean = pruned(row)
        try:
            self._take(clean, line)
        except UntranslatableError:
            if not _soften(clean):
                raise
            self._take(clean, line)
        return clean  # type: ignore[no-any-return]

    def _take(self, row: Json, line: int) -> None:
        """Fixes the row's paths, all or none."""
        fresh: dict[str, Place] = {}
        self._object(row, "", 0, line, fresh)
        self._places.update(fresh)
        if len(self._places) > MAX_PATHS:
            raise UntranslatableError("body", f"more than {MAX_PATHS} different keys in one file; split it")

    def _object(self, value: Json, path: str, depth: int, line: int, fresh: dict[str, Place]) -> None:
        if depth > MAX_DEPTH:
            raise _refused(path, f"objects are nested more than {MAX_DEPTH} deep, which Vertex AI's importer refuses")
        for name, member in value.items():
            where = f"{path}.{name}" if path else name
            _check_name(name, where)
            self._value(member, where, depth, line, fresh)

    def _value(self, value: Any, path: str, depth: int, line: int, fresh: dict[str, Place]) -> None:
        kind = _kind(value)
        self._fix(path, kind, line, fresh)
        if kind == "an object":
            self._object(value, path, depth + 1, line, fresh)
        elif kind == "an array":
            for item in sequence(value):
                self._item(item, f"{path}[]", depth, line, fresh)

    def _item(self, item: Any, path: str, depth: int, line: int, fresh: dict[str, Place]) -> None:
        if item is None or item == {}:
            raise _refused(path, f"{'null' if item is None else 'an empty object'} in an array")
        if is_array(item):
            raise _refused(path, "an array directly in an array")
        self._value(item, path, depth, line, fresh)

    def _fix(self, path: str, kind: str, line: int, fresh: dict[str, Place]) -> None:
        """Paths are compared without case: columns are."""
        key = path.lower()
        known = self._places.get(key) or fresh.get(key)
        said = f"{kind} {path}"
        if known is None:
            fresh[key] = (said, line)
        elif known[0] != said:
            earlier, first = known
            raise _refused(path, f"`{path}` is {kind} here and {_difference(earlier, path)} on line {first}")


def _difference(earlier: str, path: str) -> str:
    kind, _, spelling = earlier.rpartition(" ")
    return kind if spelling == path else f"spelt `{spelling}`"


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
