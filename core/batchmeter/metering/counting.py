"""Applies a dialect's formulas to one line's usage."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from .dialects import Dialect

MOST = 10**12
"""More tokens than this in one request is nonsense."""

Usage = dict[str, Any]
_Formula = Callable[[Usage], int]
_Step = tuple[str, str | None, str]
"""Key; then None, or the list filter's field ("" takes every item) and wanted value."""

_STEP = re.compile(r"(\w+)(?:(\[)(?:(\w+)=(\w+))?\])?")


class InvalidUsageError(ValueError):
    """Counters that cannot be: negative, fractional, absurd, or parts larger than their whole."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One line's usage, normalised."""

    prompt: int
    counts: dict[str, int]
    """Bucket -> units, positive ones only."""
    reasoning: int
    total: int
    """All tokens of all buckets."""
    total_differs: bool = False
    """The vendor's own sum is not the sum of the parts."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    needs: tuple[tuple[_Step, ...], ...]
    prompt: _Formula
    buckets: tuple[tuple[str, _Formula], ...]
    reasoning: _Formula
    total: _Formula
    check: _Formula


def count(dialect: Dialect, usage: Usage) -> Counted | None:
    """The line's buckets; None when its counters are not there."""
    compiled = _COMPILED.get(dialect.name) or _compile(dialect)
    if _first(usage, compiled.needs) is None:
        return None
    counts: dict[str, int] = {}
    for bucket, formula in compiled.buckets:
        units = formula(usage)
        if units < 0:
            raise InvalidUsageError(f"{bucket} would be {units}")
        if units:
            counts[bucket] = units
    reasoning = compiled.reasoning(usage)
    if reasoning > counts.get("output", 0) or compiled.check(usage) < 0:
        raise InvalidUsageError("a part is larger than its whole")
    total = compiled.total(usage)
    placed = sum(counts.values()) - counts.get("web_search", 0)
    return Counted(compiled.prompt(usage), counts, reasoning, placed, bool(total) and total != placed)


def has_counters(dialect: Dialect, usage: Usage) -> bool:
    """Whether this usage object speaks this dialect."""
    return _first(usage, (_COMPILED.get(dialect.name) or _compile(dialect)).needs) is not None


def reasoned(usage: Usage) -> bool:
    """Whether a chat usage tells of reasoning: a cheap first look."""
    details = usage.get("completion_tokens_details")
    inside = cast("Usage", details).get("reasoning_tokens") if isinstance(details, dict) else None
    return bool(inside or usage.get("reasoning_tokens"))


def number(value: object) -> int:
    """A counter as some servers send it: 11, 11.0, "11", null."""
    if type(value) is int:
        if 0 <= value <= MOST:
            return value
    elif value is None or value == "":
        return 0
    elif isinstance(value, str):
        return number(_parsed(value))
    elif isinstance(value, float) and value.is_integer():
        return number(int(value))
    raise InvalidUsageError(f"a counter is {value!r:.40}")


def _parsed(text: str) -> int | float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise InvalidUsageError(f"a counter is {text!r:.40}") from None


def _compile(dialect: Dialect) -> _Compiled:
    compiled = _Compiled(
        _paths(dialect.needs),
        _formula(dialect.prompt),
        tuple((bucket, _formula(text)) for bucket, text in dialect.buckets.items()),
        _formula(dialect.reasoning),
        _formula(dialect.total),
        _formula(dialect.check),
    )
    _COMPILED[dialect.name] = compiled
    return compiled


_COMPILED: dict[str, _Compiled] = {}


def _formula(text: str) -> _Formula:
    words = text.split()
    signs = [1, *(1 if word == "+" else -1 for word in words[1::2])]
    terms = tuple(zip(signs, map(_paths, words[::2]), strict=False))

    def evaluate(usage: Usage) -> int:
        return sum(sign * _read(usage, paths) for sign, paths in terms)

    return evaluate


def _paths(counter: str) -> tuple[tuple[_Step, ...], ...]:
    return tuple(tuple(_step(step) for step in path.split(".")) for path in counter.split("|"))


def _step(text: str) -> _Step:
    match = _STEP.fullmatch(text)
    assert match, f"not a counter: {text}"
    key, is_list, field, wanted = match.groups()
    return key, (field or "") if is_list else None, wanted or ""


def _first(usage: Usage, paths: tuple[tuple[_Step, ...], ...]) -> object:
    for path in paths:
        value = _follow(usage, path)
        if value is not None:
            return value
    return None


def _read(usage: Usage, paths: tuple[tuple[_Step, ...], ...]) -> int:
    return number(_first(usage, paths))


def _follow(value: object, path: tuple[_Step, ...]) -> object:
    for index, (key, field, wanted) in enumerate(path):
        if not isinstance(value, dict):
            return None
        value = cast("Usage", value).get(key)
        if value is None:
            return None
        if field is not None:
            return _sum_over(value, field, wanted, path[index + 1 :])
    return value


def _sum_over(items: object, field: str, wanted: str, path: tuple[_Step, ...]) -> int | None:
    if not isinstance(items, list):
        return None
    found = [
        _follow(item, path)
        for item in cast("list[object]", items)
        if not field or _follow(item, ((field, None, ""),)) == wanted
    ]
    numbers = [number(item) for item in found if item is not None]
    return sum(numbers) if numbers else None
