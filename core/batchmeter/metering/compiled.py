"""Compiles the counting of one shape of usage into a flat function, because it runs for every line of every file.

Nearly all lines of a file have the same counters. The function for them reads exactly these, and gives None for a usage
that is not of its shape, or that is not plainly right: `counting.count` then decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, cast

import msgspec

from .counting import (
    MOST,
    Counts,
    by_kind,
    count,
    counters_of,
    is_amount,
    is_harmless,
    parsed,
    speaks,
    usd,
)
from .dialects import Dialect, Usage

Count = Callable[[Usage], Counts | None]


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """A dialect, and which of its buckets the counts of some lines have; the others are 0."""

    dialect: Dialect
    buckets: tuple[str, ...]


_AMOUNTS = frozenset({int, float, str})
"""Types of a vendor's own amount; another is passed over for the next name of it."""
_MOST_SHAPES = 8
"""Shapes that are compiled for one kind of body, half a millisecond each; the others are counted slowly."""


class Counting:
    """Counts the usages of one job's lines, each in the first dialect that knows all its counters."""

    def __init__(self, dialects: tuple[Dialect, ...]) -> None:
        self._dialects = dialects
        self._shapes: dict[Dialect | str | None, list[tuple[Lane, Count]]] = {}
        self.reread = 0
        """Usages that were counted as their total says."""

    def count(self, usage: Usage, by: Dialect | str | None) -> tuple[Lane, Counts] | None:
        """In this dialect, or that of bodies of this kind. None where no counter is there that a dialect needs.

        InvalidUsageError as `counting.count`.
        """
        for lane, function in self._shapes.get(by, ()):
            counts = function(usage)
            if counts is not None:
                return lane, counts
        return self._look(usage, by)

    def _look(self, usage: Usage, by: Dialect | str | None) -> tuple[Lane, Counts] | None:
        dialect = by if isinstance(by, Dialect) else self._dialect(usage, by)
        if dialect is None or not speaks(dialect, usage):
            return None
        reading, counts = count(dialect, usage)
        self.reread += reading is not dialect
        shapes = self._shapes.setdefault(by, [])
        if reading is dialect and len(shapes) < _MOST_SHAPES and (found := compiled(dialect, usage)) is not None:
            shapes.append(found)
        return whole(reading), counts

    def _dialect(self, usage: Usage, kind: str | None) -> Dialect | None:
        """The body's own kind first, then what its counters allow."""
        able = [dialect for dialect in self._dialects if speaks(dialect, usage)]
        able = [dialect for dialect in able if _fit(dialect.marks, kind) == 0] or able
        able.sort(key=lambda dialect: _fit(dialect.marks, kind))
        return next((one for one in able if not counters_of(one, usage)[1]), able[0] if able else None)


def _fit(marks: str | None, kind: str | None) -> int:
    """0: it is this kind's own, 1: it may be any kind's, 2: it is another kind's."""
    if marks is None:
        return 1
    if marks.startswith("!"):
        return 2 if marks == f"!{kind}" else 1
    return 0 if marks == kind else 2


@cache
def whole(dialect: Dialect) -> Lane:
    return Lane(dialect, tuple(dialect.buckets))


def compiled(dialect: Dialect, usage: Usage) -> tuple[Lane, Count] | None:
    """For usages of this one's shape; None where the shape is not a plain one."""
    source = _Source(dialect)
    if not source.read(usage, "usage", ""):
        return None
    return Lane(dialect, source.buckets()), source.function()


Shape = tuple[tuple[str, Any], ...]
"""Keys of a usage, each with the type of its value, None for null, or a shape of its own."""


def compiled_for_types(dialect: Dialect, shape: Shape) -> tuple[Lane, Count, type[Any]] | None:
    """As `compiled`, with the function and the type of usages that were decoded into structs of exactly this shape."""
    source = _Source(dialect, typed=True)
    if not source.read(_example(shape), "usage", ""):
        return None
    return Lane(dialect, source.buckets()), source.function(), _type_of(shape)


def _example(shape: Shape) -> Usage:
    return {key: _example(_inner(kind)) if isinstance(kind, tuple) else kind and kind() for key, kind in shape}


def _inner(kind: Any) -> Shape:
    return cast("Shape", kind)


def _type_of(shape: Shape) -> type[Any]:
    """Fields are named by their place."""
    fields = [
        (f"f{at}", _type_of(_inner(kind)) if isinstance(kind, tuple) else kind) for at, (_, kind) in enumerate(shape)
    ]
    names = {f"f{at}": key for at, (key, _) in enumerate(shape)}
    return msgspec.defstruct("Usage", fields, rename=names, forbid_unknown_fields=True, gc=False)


class _Source:
    """The text of one function."""

    def __init__(self, dialect: Dialect, *, typed: bool = False) -> None:
        self._dialect = dialect
        self._typed = typed
        """The types are known to be right, and fields are attributes."""
        self._plan = parsed(dialect)
        self._steps: list[str] = []
        self._values: dict[str, str] = {}
        self._amounts: dict[str, str] = {}
        self._places = 0
        self.constants: dict[str, Any] = {}

    def read(self, usage: Usage, holder: str, above: str) -> bool:
        """One object of the shape; whether all in it is plain."""
        if self._typed:
            places = [f"{holder}.f{at}" for at in range(len(usage))]
        else:
            self._steps.append(f"if len({holder}) != {len(usage)}: return None")
            places = [f"{holder}[{key!r}]" for key in usage]
        items = zip(usage.items(), places, strict=True)
        return all(self._read(f"{above}{key}", place, value) for (key, value), place in items)

    def _read(self, path: str, place: str, value: object) -> bool:
        dialect = self._dialect
        if dialect.parts is not None and path == dialect.parts[0]:
            return False
        if value is None:
            if not self._typed:
                self._steps.append(f"if {place} is not None: return None")
            return True
        if isinstance(value, dict):
            return self.read(cast("Usage", value), self._held(place), f"{path}.")
        if isinstance(value, list):
            return self._read_list(path, place, cast("list[object]", value))
        return self._read_leaf(path, place, value)

    def _read_list(self, path: str, place: str, items: list[object]) -> bool:
        columns = self._dialect.lists.get(path)
        if columns is None:
            return False
        held = self._held(f"by_kind({place}, {columns!r})")
        return self.read(by_kind(items, columns), held, f"{path}.")

    def _read_leaf(self, path: str, place: str, value: object) -> bool:
        if self._typed and path in {self._dialect.reported_unless, *self._dialect.reported}:
            return False
        if path == self._dialect.reported_unless:
            if value:
                return False
            self._steps.append(f"if {place}: return None")
        elif path in self._dialect.reported:
            if value.__class__ not in _AMOUNTS:
                return False
            self._amounts[path] = held = self._held(place)
            self._steps.append(f"if {held}.__class__ not in amounts: return None")
        elif path in self._dialect.words:
            words = f"words{len(self.constants)}"
            self.constants[words] = self._dialect.words[path]
            self._steps.append(f"if {place} not in {words}: return None")
        elif path in self._plan.counters:
            if type(value) is not int:
                return False
            self._values[path] = self._held(place)
        elif is_harmless(self._dialect, path):
            self._steps.append("" if self._typed else place)  # it has to be there: then nothing else is
        else:
            self._steps.append(f"if is_amount({place}): return None")
        return True

    def _held(self, expression: str) -> str:
        name = f"v{self._places}"
        self._places += 1
        self._steps.append(f"{name} = {expression}")
        return name

    def buckets(self) -> tuple[str, ...]:
        """Buckets that the shape has counters of."""
        sums = zip(self._dialect.buckets, map(self._sum, self._plan.buckets), strict=True)
        return tuple(bucket for bucket, total in sums if total != "0")

    def function(self) -> Count:
        text = self._text()
        names: dict[str, Any] = {
            "by_kind": by_kind,
            "is_amount": is_amount,
            "usd": usd,
            "amounts": _AMOUNTS,
            **self.constants,
        }
        exec(compile(text, f"<dialect {self._dialect.name}>", "exec"), names)  # noqa: S102 - names of counters are quoted
        return cast("Count", names["count"])

    def _text(self) -> str:
        plan = self._plan
        prompt, reasoning, total = (self._sum(terms) for terms in plan.head)
        sums = [(self._sum(terms), is_tokens) for terms, is_tokens in zip(plan.buckets, plan.tokens, strict=True)]
        buckets = [bucket for bucket, _ in sums if bucket != "0"]
        tokens = [bucket for bucket, is_tokens in sums if is_tokens and bucket != "0"]
        units = " + ".join(bucket for bucket, is_tokens in sums if not is_tokens and bucket != "0") or "0"
        same = [f"{a} != {b}" for each in plan.buckets for _, names in each for a, b in pairwise(self._present(names))]
        checked = [bucket for bucket in (*buckets, reasoning, *map(self._sum, plan.checks)) if bucket != "0"]
        named = enumerate(dict.fromkeys(checked))
        names = {bucket: f"b{index}" if " " in bucket else bucket for index, bucket in named}
        values = list(self._values.values())
        signed = dict.fromkeys([*names.values(), *values])  # a counter that is only taken off is one of them
        answer = ["prompt", names.get(reasoning, "0"), "total", "placed", self._amount()]
        lines = [
            "def count(usage):",
            "  try:",
            *(f"    {step}" for step in self._steps),
            "  except (KeyError, TypeError): return None",
            f"  if not ({' is '.join(f'{name}.__class__' for name in values)} is int): return None"
            if values and not self._typed
            else "",
            f"  if {' or '.join(dict.fromkeys(same))}: return None" if same else "",
            *(f"  {name} = {bucket}" for bucket, name in names.items() if name != bucket),
            f"  if {' or '.join(f'{name} < 0' for name in signed)}: return None" if signed else "",
            f"  prompt = {prompt}; total = {total}; placed = {' + '.join(names[b] for b in tokens) or '0'}",
            f"  if placed > {MOST} or {units} > {MOST}: return None",
            "" if total == "0" else "  if total != placed: return None",
            f"  if {names.get(reasoning, '0')} > placed - prompt: return None",
            f"  return ({', '.join([*answer, *(names[bucket] for bucket in buckets)])},)",
        ]
        return "\n".join(lines)

    def _present(self, counters: tuple[str, ...]) -> list[str]:
        return [self._values[counter] for counter in counters if counter in self._values]

    def _sum(self, terms: tuple[tuple[int, tuple[str, ...]], ...]) -> str:
        found = ((sign, next((c for c in alternatives if c in self._values), None)) for sign, alternatives in terms)
        there = [(sign, self._values[counter]) for sign, counter in found if counter is not None]
        text = " ".join(f"{'+' if sign > 0 else '-'} {name}" for sign, name in there)
        return text.removeprefix("+ ") or "0"

    def _amount(self) -> str:
        counter = next((counter for counter in self._dialect.reported if counter in self._amounts), None)
        if counter is None:
            return "None"
        self.constants["dollars"] = self._dialect.reported[counter]
        return f"usd({self._amounts[counter]}, dollars)"
