"""Counts one usage in a dialect: every counter is known or the line is unknown, and the vendor's own total is obeyed."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, cast

from batchmeter.pricing.groups import UNITS

from .dialects import Dialect, Usage

_AMOUNT = re.compile(r"\s*[$€£]?\s*[+-]?([.,]?\d[\d.,_]*(?:[eE][+-]?\d+)?)\s*(?:%|[a-zA-Z]{0,20})\s*")
MOST = 10**12
"""More tokens than this in one request is nonsense."""

Counts = tuple[Any, ...]
"""Prompt, reasoning, the vendor's total, tokens placed, the vendor's amount in USD (None: not said); then the dialect's
buckets in its order. All but the amount are int."""
HEAD = 5
SUM = "[]"
"""Stands in a formula for the sum over all items of a list of counters."""
PROMPT, REASONING, TOTAL, PLACED, REPORTED = range(HEAD)


class InvalidUsageError(ValueError):
    """Counters that cannot be: negative, fractional, absurd, or parts larger than their whole."""

    reason = "usage_invalid"


class ContradictsTotalError(InvalidUsageError):
    """The vendor's total is neither the sum of its buckets nor that of one other reading."""

    reason = "usage_contradicts_total"


class UnknownCounterError(InvalidUsageError):
    """A counter has an amount, and no table says whether it is billed; the message is its name."""

    reason = "unknown_counter"


_Terms = tuple[tuple[int, tuple[str, ...]], ...]
"""A formula: sign and alternatives of each counter."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A dialect's formulas, taken apart."""

    needs: tuple[tuple[str, ...], ...]
    head: tuple[_Terms, _Terms, _Terms]
    """Prompt, reasoning, total."""
    checks: tuple[_Terms, ...]
    buckets: tuple[_Terms, ...]
    tokens: tuple[bool, ...]
    """Whether each bucket is tokens."""
    counters: frozenset[str]
    """All that the dialect needs, counts or takes for an amount."""


@cache
def parsed(dialect: Dialect) -> Parsed:
    needs = tuple(tuple(word.split("|")) for word in dialect.needs.split())
    formulas = (dialect.prompt, dialect.reasoning, dialect.total, *dialect.checks, *dialect.buckets.values())
    terms = [_terms(formula) for formula in formulas]
    checked = 3 + len(dialect.checks)
    named = {counter for formula in terms for _, alternatives in formula for counter in alternatives}
    return Parsed(
        needs=needs,
        head=(terms[0], terms[1], terms[2]),
        checks=tuple(terms[3:checked]),
        buckets=tuple(terms[checked:]),
        tokens=tuple(bucket not in UNITS for bucket in dialect.buckets),
        counters=frozenset(
            named | set(dialect.reported) | {dialect.reported_unless} - {""} | {path for word in needs for path in word}
        ),
    )


def _terms(formula: str) -> _Terms:
    found: list[tuple[int, tuple[str, ...]]] = []
    sign = 1
    for word in formula.split():
        if word in {"+", "-"}:
            sign = 1 if word == "+" else -1
        else:
            found.append((sign, tuple(word.split("|"))))
    return tuple(found)


def speaks(dialect: Dialect, usage: Usage) -> bool:
    """Whether the counters that this dialect needs are there."""
    return all(any(_follow(usage, path) is not None for path in word) for word in parsed(dialect).needs)


def _follow(value: object, path: str) -> object:
    for step in path.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("Usage", value).get(step)
    return value


def counters_of(dialect: Dialect, usage: Usage) -> tuple[dict[str, object], list[str]]:
    """The counters that the dialect's formulas name, by path; and the names of those with an amount that nobody knows."""
    found: dict[str, object] = {}
    unknown: list[str] = []
    named = parsed(dialect).counters
    for path, value in _leaves(dialect, usage, ""):
        if path in named:
            found[path] = value
        elif path in dialect.words:
            if value not in dialect.words[path]:
                unknown.append(f"{path} {value!s:.40}")
        elif not is_harmless(dialect, path) and is_amount(value):
            unknown.append(path)
    return found, unknown


def _leaves(dialect: Dialect, usage: Mapping[str, object], above: str) -> Iterator[tuple[str, object]]:
    for key, value in usage.items():
        path = f"{above}{key}"
        if value is None or (dialect.parts is not None and path == dialect.parts[0]):
            continue
        if isinstance(value, dict):
            yield from _leaves(dialect, cast("Usage", value), f"{path}.")
        elif isinstance(value, list) and path not in parsed(dialect).counters:
            yield from _leaves(dialect, by_kind(cast("list[object]", value), dialect.lists.get(path)), f"{path}.")
        else:
            yield path, value


def by_kind(items: Iterable[object], columns: tuple[str | None, str] | None) -> dict[str, object]:
    """Kind -> sum over its items, `[]` -> sum over all; amounts in other fields of the items by their name."""
    sums: dict[str, object] = {}
    kind_field, count_field = columns or (None, None)
    for item in items:
        fields = cast("Usage", item) if isinstance(item, dict) else {"": item}
        kind = fields.get(kind_field) if kind_field else None
        for name, value in fields.items():
            if name == count_field:
                count = number(value)
                sums[SUM] = cast("int", sums.get(SUM, 0)) + count
                if kind_field:
                    sums[str(kind)] = cast("int", sums.get(str(kind), 0)) + count
            elif name != kind_field and is_amount(value):
                sums[f"[].{name}"] = value
    return sums


def is_harmless(dialect: Dialect, path: str) -> bool:
    if path.endswith(f".{SUM}"):
        return True  # its kinds are looked at one by one
    steps = path.split(".")
    above = (".".join(steps[:depth]) for depth in range(1, len(steps)))
    return path in dialect.harmless or any(f"{prefix}.*" in dialect.harmless for prefix in above)


def is_amount(value: object) -> bool:
    """Whether something could be billed by it: words, switches and zeros are no amounts, objects may hold some.

    A number with its unit (`12.5s`, `$0.02`, `1,000`) is one; a date or a version is not.
    """
    if isinstance(value, str):
        number = _AMOUNT.fullmatch(value)
        return number is not None and any(char.isdecimal() and int(char) for char in number[1])
    return not isinstance(value, bool) and bool(value)


def has_amounts(value: object) -> bool:
    """Whether anything in a usage is an amount."""
    if isinstance(value, dict):
        value = list(cast("Usage", value).values())
    return any(map(has_amounts, cast("list[object]", value))) if isinstance(value, list) else is_amount(value)


def count(dialect: Dialect, usage: Usage) -> tuple[Dialect, Counts]:
    """The counts, and the reading of the dialect that the vendor's own total proves; an InvalidUsageError without one."""
    found, unknown = counters_of(dialect, usage)
    if unknown:
        raise UnknownCounterError(", ".join(sorted(unknown)[:3]))
    try:
        counts = _counts(dialect, found)
    except InvalidUsageError:
        other = _other_reading(dialect, found)
        if other is None:
            raise
        return other
    if counts[TOTAL] == counts[PLACED] or not _says_total(dialect, found):
        return dialect, counts
    other = _other_reading(dialect, found)
    if other is None:
        raise ContradictsTotalError(f"a total of {counts[TOTAL]}, and {counts[PLACED]} tokens")
    return other


def _says_total(dialect: Dialect, found: Mapping[str, object]) -> bool:
    return any(counter in found for _, alternatives in parsed(dialect).head[TOTAL] for counter in alternatives)


def _other_reading(dialect: Dialect, found: Mapping[str, object]) -> tuple[Dialect, Counts] | None:
    """The one that the total leaves; None where there is none, or several that place the tokens differently."""
    fitting: dict[tuple[tuple[str, int], ...], tuple[Dialect, Counts]] = {}
    for reading in dialect.readings:
        try:
            counts = _counts(reading, found)
        except InvalidUsageError:
            continue
        if counts[TOTAL] and counts[TOTAL] == counts[PLACED]:
            placed = tuple((b, n) for b, n in zip(reading.buckets, counts[HEAD:], strict=True) if n)
            fitting[placed] = reading, counts
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _counts(dialect: Dialect, found: Mapping[str, object]) -> Counts:
    plan = parsed(dialect)
    _agree(plan.buckets, found)
    prompt, reasoning, total = (_sum(terms, found) for terms in plan.head)
    buckets = [_sum(terms, found) for terms in plan.buckets]
    placed = sum(n for n, is_tokens in zip(buckets, plan.tokens, strict=True) if is_tokens)
    checks = [_sum(terms, found) for terms in plan.checks]
    if min([*buckets, *checks], default=0) < 0 or sum(buckets) - placed > MOST or placed > MOST:
        raise InvalidUsageError("counters contradict each other")
    if reasoning > placed - prompt:
        raise InvalidUsageError("more reasoning than output")
    return (prompt, reasoning, total, placed, reported_amount(dialect, found), *buckets)


def _agree(formulas: Iterable[_Terms], found: Mapping[str, object]) -> None:
    """Two names of one counter have the same number, or the line contradicts itself."""
    for terms in formulas:
        for _, alternatives in terms:
            there = {counter: number(found[counter]) for counter in alternatives if counter in found}
            if len(set(there.values())) > 1:
                raise InvalidUsageError(f"{' and '.join(there)} differ")


def _sum(terms: _Terms, found: Mapping[str, object]) -> int:
    total = 0
    for sign, alternatives in terms:
        for counter in alternatives:
            if counter in found:
                total += sign * number(found[counter])
                break
    return total


def reported_amount(dialect: Dialect, found: Mapping[str, object]) -> Decimal | None:
    """USD, exactly as the vendor's digits say."""
    if found.get(dialect.reported_unless):
        return None
    for counter, dollars in dialect.reported.items():
        value = found.get(counter)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return usd(value, dollars)
    return None


def usd(value: float | str, dollars: Decimal) -> Decimal | None:
    try:
        amount = Decimal(str(value)) * dollars
    except ArithmeticError:  # no number, or one beyond all bounds
        return None
    return amount if amount.is_finite() and 0 <= amount < MOST else None


def has_details(usage: Usage, counter: str, details: str) -> bool:
    """Whether a counter of several kinds has its details, or counts nothing."""
    return not is_amount(_follow(usage, counter)) or _follow(usage, details) is not None


def amount_in(dialect: Dialect, usage: Usage) -> Decimal | None:
    """The vendor's own amount in a usage that nobody can count otherwise, in USD."""
    paths = (dialect.reported_unless, *dialect.reported)
    return reported_amount(dialect, {path: _follow(usage, path) for path in paths})


def number(value: object) -> int:
    """A counter as some servers send it: 11, 11.0, "11", null."""
    if type(value) is int:
        if 0 <= value <= MOST:
            return value
    elif value is None:
        return 0
    elif isinstance(value, str):
        return number(_number_in(value))
    elif isinstance(value, float) and value.is_integer():
        return number(int(value))
    raise InvalidUsageError(f"a counter is {value!r:.40}")


def _number_in(text: str) -> int | float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise InvalidUsageError(f"a counter is {text!r:.40}") from None
