"""Decodes and counts many lines at once, where they are all of the shape that the file's earlier lines had.

Nearly all lines of a file are plain answers with the same counters. A type for exactly these refuses whatever else a
line may say, so that nothing has to be asked of a line that fits, and a whole block of lines is decoded in one go.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import msgspec

from .compiled import Count, Lane, Shape, compiled_for_types
from .counting import Counts, InvalidUsageError
from .dialects import Answer, Dialect
from .wire import REFUSED, Wire

OK = 200
_WORD = cast("Any", Literal)
"""`_WORD["completed"]` is the type of exactly this word."""


class Plain(NamedTuple):
    """Answers of one block, in its order."""

    ids: list[str]
    models: list[str]
    counts: list[Counts]


class BlockReader:
    """Reads blocks of one shape."""

    def __init__(
        self, line_type: type[Any], lane: Lane, count: Count, beside: Mapping[str, Callable[[Any], Mapping[str, int]]]
    ) -> None:
        self.lane = lane
        decoder = msgspec.json.Decoder(line_type)
        self._decode: Callable[[bytes], list[Any]] = decoder.decode_lines
        self._decode_line: Callable[[bytes | bytearray], Any] = decoder.decode
        self._count = count
        self._beside = tuple(beside.items())

    def read(self, block: bytes) -> Plain | None:
        """Of lines that each end in a newline; None where one of them is not of this shape, or not plainly right."""
        try:
            lines = self._decode(block)
        except REFUSED:
            return None
        return self._counted(lines) if len(lines) == _newlines(block) else None

    def read_apart(self, raws: Iterable[bytes | bytearray]) -> Iterator[tuple[list[bytes | bytearray], Plain | None]]:
        """Of lines of which some are not of this shape: those that follow each other and are, and each of the others."""
        run: list[Any] = []
        plain: list[bytes | bytearray] = []
        for raw in raws:
            try:
                run.append(self._decode_line(raw))
                plain.append(raw)
            except REFUSED:
                yield plain, self._counted(run)
                yield [raw], None
                run, plain = [], []
        yield plain, self._counted(run)

    def _counted(self, lines: list[Any]) -> Plain | None:
        bodies = [line.response.body for line in lines]
        try:
            counts = [found for body in bodies if (found := self._count(body.usage)) is not None]
        except InvalidUsageError:
            return None
        if len(counts) != len(bodies):
            return None
        for name, added in self._beside:
            if any(map(added, [getattr(body, name) for body in bodies])):
                return None  # something is billed beside the counters
        return Plain([line.custom_id for line in lines], [body.model for body in bodies], counts)


def _newlines(block: bytes) -> int:
    """As `count`, which takes ten times as long."""
    found, at, find = 0, -1, block.find
    while (at := find(b"\n", at + 1)) >= 0:
        found += 1
    return found


def block_reader(
    wire: Wire, line: Any, answer: Answer, dialect: Dialect, beside: Mapping[str, Callable[[Any], Mapping[str, int]]]
) -> BlockReader | None:
    """For lines like this one, whose answer counts in the dialect; None where it is not plain."""
    if answer.usage is None or line.response is None or line.response.status_code != OK:
        return None
    shape = _shape_of(answer.usage)
    body = line.response.body
    if shape is None or body.__class__ is not wire.body_type:
        return None
    there = {name: added for name, added in beside.items() if getattr(body, name) is not None}
    types = (_kept(line, {"response"}), _kept(line.response, {"body", "status_code"}), _kept(body, {"usage", *there}))
    if any(kept is None for kept in types) or any(added(getattr(body, name)) for name, added in there.items()):
        return None
    return _reader(wire, dialect, shape, cast("Any", types), tuple(there.items()))


_Fields = tuple[tuple[str, Any], ...]


@lru_cache(maxsize=32)
def _reader(
    wire: Wire,
    dialect: Dialect,
    shape: Shape,
    kept: tuple[_Fields, _Fields, _Fields],
    beside: tuple[tuple[str, Callable[[Any], Mapping[str, int]]], ...],
) -> BlockReader | None:
    found = compiled_for_types(dialect, shape)
    if found is None:
        return None
    lane, count, usage_type = found
    body_fields = {field.name: field.type for field in msgspec.structs.fields(wire.body_type)}
    own = {name: body_fields[name] for name, _ in beside}
    body = _struct("Body", kept[2], {"usage": usage_type, **own})
    response = _struct("Response", kept[1], {"body": body, "status_code": _WORD[OK]})
    line = _struct("Line", kept[0], {"response": response})
    return BlockReader(line, lane, count, dict(beside))


def _kept(struct: Any, apart: set[str]) -> _Fields | None:
    """Field -> the type that takes this value, and no other that would mean something else; None where there is none."""
    kept: list[tuple[str, Any]] = []
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name in apart:
            continue
        if value is None or value == msgspec.Raw():
            kept.append((name, None))
        elif not isinstance(value, str):
            return None
        else:
            kept.append((name, str if name in {"custom_id", "model"} else _WORD[value]))
    return tuple(kept)


def _struct(name: str, kept: _Fields, fields: Mapping[str, Any]) -> type[Any]:
    """Fields that must be absent or null have a default, the others are required."""
    required = [(key, type_) for key, type_ in {**dict(kept), **fields}.items() if type_ is not None]
    absent = [(key, type_, None) for key, type_ in kept if type_ is None and key not in fields]
    return msgspec.defstruct(name, [*required, *absent], gc=False)


def _shape_of(usage: Mapping[str, Any]) -> Shape | None:
    """The keys of a usage, and the type of each; None where one is a list."""
    fields: list[tuple[str, Any]] = []
    for key, value in usage.items():
        if isinstance(value, dict):
            inner = _shape_of(cast("Mapping[str, Any]", value))
            if inner is None:
                return None
            fields.append((key, inner))
        elif value is None or isinstance(value, int | float | str):
            fields.append((key, None if value is None else type(cast("object", value))))
        else:
            return None
    return tuple(fields)
