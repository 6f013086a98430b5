"""Applies a dialect's formulas to one line's usage: each dialect is compiled once into one flat function, as dataclasses
compiles its `__init__`, because it runs for every line of every file.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, cast

from batchmeter.pricing.groups import UNITS

from .dialects import CHAT, CHAT_REASONING_OUTSIDE, Dialect

MOST = 10**12
"""More tokens than this in one request is nonsense."""

Usage = dict[str, Any]
Counts = tuple[int, ...]
"""Prompt, reasoning, the vendor's total, tokens placed; then the dialect's buckets in its order."""
HEAD = 4

_COUNTER = re.compile(r"\w+(\[(\w+=\w+)?\])?(\.\w+)*")


class InvalidUsageError(ValueError):
    """Counters that cannot be: negative, fractional, absurd, or parts larger than their whole."""


@cache
def counter(dialect: Dialect) -> Callable[[Usage], Counts | None]:
    """The dialect as a function; it gives None when the counter that the dialect needs is not there."""
    names: dict[str, Any] = {"number": number, "listed": listed, "Invalid": InvalidUsageError, "NOTHING": {}}
    code = compile(_source(dialect), f"<dialect {dialect.name}>", "exec")
    exec(code, names)  # noqa: S102 - made from our own table, never from input
    return cast("Callable[[Usage], Counts | None]", names["count"])


def count(dialect: Dialect, usage: Usage, *, reasoning_beside: bool) -> tuple[Dialect, Counts] | None:
    """The line's counts, and the dialect that its own total proves it to speak.

    Compatibles differ in whether reasoning is inside completion_tokens; without a total, `reasoning_beside` says.
    """
    counts = counter(dialect)(usage)
    if counts is None:
        return None
    _, reasoning, total, placed, *_ = counts
    if reasoning:
        if dialect is CHAT and total != placed and (reasoning_beside or total == placed + reasoning):
            dialect = CHAT_REASONING_OUTSIDE
            counts = cast("Counts", counter(dialect)(usage))
        if reasoning > counts[-1]:
            raise InvalidUsageError("more reasoning than output")
    elif total > placed and not counts[-1]:
        raise InvalidUsageError("a total, but not of what")
    return dialect, counts


def speaks(dialect: Dialect, usage: Usage) -> bool:
    """Whether the counter that this dialect needs is there."""
    return any(_follow(usage, path.split(".")) is not None for path in dialect.needs.split("|"))


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


def listed(usage: Usage, path: str) -> int | None:
    """`results[].tokenCount`, `promptTokensDetails[modality=AUDIO].tokenCount`: a sum, None where there is no such list."""
    key, _, rest = path.partition("[")
    wanted, _, tail = rest.partition("].")
    items = usage.get(key)
    if not isinstance(items, list):
        return None
    field, _, value = wanted.partition("=")
    steps = tail.split(".")
    found = [_follow(item, steps) for item in cast("list[object]", items) if not field or _is(item, field, value)]
    return sum(number(item) for item in found)


def _is(item: object, field: str, value: str) -> bool:
    return _follow(item, [field]) == value


def _follow(value: object, steps: list[str]) -> object:
    for step in steps:
        if not isinstance(value, dict):
            return None
        value = cast("Usage", value).get(step)
    return value


def _parsed(text: str) -> int | float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise InvalidUsageError(f"a counter is {text!r:.40}") from None


def _source(dialect: Dialect) -> str:
    """The function's text: read every counter once, check, add up."""
    formulas = [dialect.prompt, dialect.reasoning, dialect.total, dialect.check, *dialect.buckets.values()]
    words = dict.fromkeys(word for text in formulas for word in text.split() if word not in {"+", "-"})
    counters = {word: f"v{index}" for index, word in enumerate(words)}
    buckets = {bucket: f"b{index}" for index, bucket in enumerate(dialect.buckets)}
    holders = _holders([dialect.needs, *words])
    values = counters.values()
    tokens = " + ".join(name for bucket, name in buckets.items() if bucket not in UNITS)
    head = [_sum(formula, counters) for formula in (dialect.prompt, dialect.reasoning, dialect.total)]
    lines = [
        *(_held(path, holders) for path in holders if path),
        f"if {_value(dialect.needs, holders)} is None: return None",
        *(f"{name} = {_value(word, holders)} or 0" for word, name in counters.items()),
        f"if not ({' is '.join(f'{name}.__class__' for name in values)} is int):",
        *(f"    {name} = number({name})" for name in values),
        *(f"{name} = {_sum(dialect.buckets[bucket], counters)}" for bucket, name in buckets.items()),
        f"if {' or '.join(f'{name} < 0' for name in buckets.values())}: raise Invalid('a bucket is negative')",
        f"placed = {tokens}",
        f"if placed > {MOST} or {_sum(dialect.check, counters)} < 0: raise Invalid('counters contradict')",
        f"return ({', '.join([*head, 'placed', *buckets.values()])},)",
    ]
    return "\n    ".join(["def count(usage):", *lines])


_Path = tuple[str, ...]


def _holders(counters: Iterable[str]) -> dict[_Path, str]:
    """The dicts that counters lie in, outer ones first: path -> local name."""
    paths = [tuple(path.split(".")) for counter in counters for path in counter.split("|") if "[" not in path]
    prefixes = {path[:depth] for path in paths for depth in range(1, len(path))}
    return {(): "usage"} | {path: "_".join(path) for path in sorted(prefixes, key=lambda path: (len(path), path))}


def _held(path: _Path, holders: dict[_Path, str]) -> str:
    name = holders[path]
    return f"if ({name} := {holders[path[:-1]]}.get({path[-1]!r})).__class__ is not dict: {name} = NOTHING"


def _value(counter: str, holders: dict[_Path, str]) -> str:
    """The expression for `a.b|c`."""
    first, _, others = counter.partition("|")
    assert _COUNTER.fullmatch(first), f"not a counter: {first}"
    *parents, last = first.split(".")
    value = f"listed(usage, {first!r})" if "[" in first else f"{holders[tuple(parents)]}.get({last!r})"
    return f"({value} if {value} is not None else {_value(others, holders)})" if others else value


def _sum(formula: str, counters: dict[str, str]) -> str:
    return " ".join(counters.get(word, word) for word in formula.split()) or "0"
