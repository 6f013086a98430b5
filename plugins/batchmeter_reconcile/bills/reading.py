"""Rows of a file, one at a time: CSV, JSON lines, a JSON array or Parquet, with gzip or without, in flat memory."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from batchmeter.errors import UsageError
from batchmeter_reconcile.figures import number

CHUNK = 1 << 18
LONGEST_ROW = 4 << 20
"""Characters."""
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GROUPED_COMMA = re.compile(r"-?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+")
_GROUPED_POINT = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DAY = timedelta(days=1)
_REMEMBERED = 4096
"""Texts that are not looked at twice: a bill repeats its days and names on every row."""


class BillError(ValueError):
    """A row that cannot be read; the message says which column, and how to mend it."""


@dataclass(slots=True)
class Row:
    """One row; column names in lower case, their words joined by `_`."""

    names: Mapping[str, Any]
    commas: bool = False
    """Decimal commas are expected: the columns are parted by semicolons or tabs."""

    def text(self, *columns: str) -> str:
        """Of the first column that holds anything."""
        for column in columns:
            found = self.names.get(column)
            if found is not None and found != "":
                return found if isinstance(found, str) else str(found)
        return ""

    def number(self, *columns: str) -> Decimal | None:
        """None where all are empty. BillError for a text that is no number."""
        for column in columns:
            found = self.names.get(column)
            if found is None or (isinstance(found, str) and not found.strip()):
                continue
            plain = self._plain(found, column)
            try:
                return number(plain)
            except ValueError as error:
                raise BillError(f"{column}: {error}") from None
        return None

    def _plain(self, found: object, column: str) -> object:
        if isinstance(found, float):
            return Decimal(repr(found))
        if not isinstance(found, str) or "," not in found:
            return found
        text = found.strip()
        if self.commas and _GROUPED_COMMA.fullmatch(text):
            return text.replace(".", "").replace(",", ".")
        if not self.commas and "." in text and _GROUPED_POINT.fullmatch(text):
            return text.replace(",", "")
        raise BillError(
            f"{column}: {text[:40]!r} may have a decimal comma: write numbers with a decimal point and no other mark"
        )

    def day(self, begin: tuple[str, ...], end: tuple[str, ...] = ()) -> date | None:
        """The UTC day; None for a time of more than a day. BillError where there is none."""
        first = moment(self.text(*begin), begin[0])
        last = self.text(*end)
        if last and moment(last, end[0]) - first > _DAY:
            return None
        return first.date()

    def document(self, column: str) -> Mapping[str, Any]:
        """A JSON object, as text or as it is; empty for anything else."""
        found = self.names.get(column)
        if isinstance(found, str) and found.startswith("{"):
            try:
                found = json.loads(found)
            except (ValueError, RecursionError):
                return {}
        return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


@lru_cache(_REMEMBERED)
def moment(text: str, column: str) -> datetime:
    """UTC, as the text's own zone says; a text without one is UTC."""
    plain = text.strip().removesuffix(" UTC")
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        raise BillError(f"{column}: {text[:40]!r} is not a time: write 2026-11-29T00:00:00Z") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def read_rows(path: Path, saw: Callable[[bytes], None]) -> Iterator[tuple[str, Row]]:
    """(where, row); `saw` gets the file's bytes. UsageError for a file that is none of these, or ends too early."""
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            head = raw.read(4)
            raw.seek(0)
            if head == _PARQUET:
                from .parquet import parquet_rows  # noqa: PLC0415 - needs an extra

                for where, row in parquet_rows(path, saw):
                    yield where, Row({column_name(name): value for name, value in row.items()})
                return
            shown = io.BufferedReader(_Seen(raw, saw), CHUNK)
            source = cast("io.RawIOBase", gzip.GzipFile(fileobj=shown)) if head.startswith(_GZIP) else shown.raw
            yield from _text_rows(path, source)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read to its end: {error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from None


class _Seen(io.RawIOBase):
    """The file, whose bytes are shown as they are read."""

    def __init__(self, raw: IO[bytes], saw: Callable[[bytes], None]) -> None:
        self._raw, self._saw = raw, saw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._raw.read(len(buffer))
        buffer[: len(found)] = found
        self._saw(found)
        return len(found)


def _text_rows(path: Path, source: io.RawIOBase) -> Iterator[tuple[str, Row]]:
    buffered = io.BufferedReader(source, CHUNK)
    if buffered.peek(2)[:2] in _UTF16:
        raise UsageError(f"{path} is UTF-16, as Excel's 'Unicode text' is: save it as CSV UTF-8")
    text = io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
    first = _first_character(buffered)
    yield from _json_rows(path, text) if first in ("{", "[") else _csv_rows(path, text)


def _first_character(buffered: "io.BufferedReader[io.RawIOBase]") -> str:
    head = buffered.peek(CHUNK)[:4096].decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    return head[:1]


def _csv_rows(path: Path, text: io.TextIOWrapper) -> Iterator[tuple[str, Row]]:
    head = text.readline(LONGEST_ROW)
    mark = max(",;\t", key=head.count)
    csv.field_size_limit(LONGEST_ROW)
    names = [column_name(one) for one in next(csv.reader([head], delimiter=mark), list[str]())]
    if len(names) < 2 or len(set(filter(None, names))) != len(list(filter(None, names))):  # noqa: PLR2004 - a day and a cost
        raise UsageError(f"{path}: its first line is no head of a table with names of columns, each once")
    rows = csv.reader(_lines(path, text), delimiter=mark, strict=True)
    try:
        for values in rows:
            if not values:
                continue
            where = f"line {rows.line_num + 1}"
            if len(values) != len(names):
                raise UsageError(f"{path}: {where} has {len(values)} values, and the head {len(names)} names")
            yield where, Row(dict(zip(names, values, strict=True)), commas=mark != ",")
    except csv.Error as error:
        raise UsageError(f"{path}: line {rows.line_num + 1}: {error}") from None


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_ROW):
        if len(line) >= LONGEST_ROW:
            raise UsageError(f"{path}: a line is longer than {LONGEST_ROW:,} characters")
        yield line


@dataclass(slots=True)
class _Stream:
    """JSON values one after the other, in an array or in lines."""

    path: Path
    text: io.TextIOWrapper
    held: str = ""
    place: int = 0
    ended: bool = False
    count: int = 0
    _decoder: json.JSONDecoder = field(default_factory=lambda: json.JSONDecoder(parse_float=Decimal))

    def values(self) -> Iterator[object]:
        self._more()
        self._skip(" \t\r\n\ufeff")
        array = self.held[self.place : self.place + 1] == "["
        if array:
            self.place += 1
        while True:
            self._skip(" \t\r\n,")
            if self.place >= len(self.held):
                if array:
                    raise UsageError(
                        f"{self.path}: the list has no end: the file was cut off after {self.count:,} rows"
                    )
                return
            if array and self.held[self.place] == "]":
                return
            yield self._value()

    def _value(self) -> object:
        while True:
            try:
                found, end = self._decoder.raw_decode(self.held, self.place)
            except RecursionError:
                raise UsageError(f"{self.path}: row {self.count + 1} is nested too deeply") from None
            except ValueError as error:
                if self.ended or len(self.held) - self.place > LONGEST_ROW:
                    raise UsageError(f"{self.path}: row {self.count + 1} is no JSON: {error}") from None
            else:
                if end < len(self.held) or self.ended:  # a number may go on
                    self.place = end
                    self.count += 1
                    return found
            self._more()

    def _skip(self, letters: str) -> None:
        while True:
            while self.place < len(self.held) and self.held[self.place] in letters:
                self.place += 1
            if self.place < len(self.held) or self.ended:
                return
            self._more()

    def _more(self) -> None:
        found = self.text.read(CHUNK)
        self.ended = not found
        self.held = self.held[self.place :] + found
        self.place = 0


def _json_rows(path: Path, text: io.TextIOWrapper) -> Iterator[tuple[str, Row]]:
    stream = _Stream(path, text)
    for value in stream.values():
        if not isinstance(value, dict):
            raise UsageError(f"{path}: row {stream.count} is no object")
        named = cast("Mapping[str, Any]", value)
        yield f"row {stream.count}", Row({column_name(name): held for name, held in named.items()})


@lru_cache(_REMEMBERED)
def column_name(name: str) -> str:
    """`lineItem/UsageType`, `line_item_usage_type` -> `line_item_usage_type`; `BilledCost` -> `billed_cost`."""
    return re.sub(r"[^a-z0-9]+", "_", _WORDS.sub("_", name.strip().lstrip("\ufeff")).lower()).strip("_")
