"""Rows of a Parquet file, by DuckDB or pyarrow, whichever is installed."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from batchmeter.errors import UsageError

_BLOCK = 2048
_CHUNK = 1 << 20


def parquet_rows(path: Path, saw: Callable[[bytes], None]) -> Iterator[tuple[str, dict[str, object]]]:
    """(where, row by its columns). UsageError where neither library is there, or for a file that is damaged."""
    with path.open("rb") as file:
        saw(hashlib.file_digest(file, "sha256").digest())
    count = 0
    for block in _blocks(path):
        for row in block:
            count += 1
            yield f"row {count}", {name: _plain(value) for name, value in row.items()}


def _blocks(path: Path) -> Iterator[list[dict[str, Any]]]:
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        yield from _of_pyarrow(path)
        return
    try:
        with duckdb.connect(":memory:") as opened:
            opened.execute("SET TimeZone = 'UTC'")
            described = opened.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
            names = [str(column[0]) for column in described]
            chosen = ", ".join(_selected(str(column[0]), str(column[1])) for column in described)
            found = opened.execute(f"SELECT {chosen} FROM read_parquet(?)", [str(path)])  # noqa: S608 - quoted names
            while rows := found.fetchmany(_BLOCK):
                yield [dict(zip(names, row, strict=True)) for row in rows]
    except duckdb.Error as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}") from None


def _selected(name: str, kind: str) -> str:
    """The column; a time with a zone as text, which needs no library of zones."""
    quoted = f'"{name.replace(chr(34), 2 * chr(34))}"'
    return f"{quoted}::VARCHAR AS {quoted}" if kind.startswith("TIMESTAMP WITH") else quoted


def _of_pyarrow(path: Path) -> Iterator[list[dict[str, Any]]]:
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(
            f"{path} is Parquet: pip install 'batchmeter[parquet]' to read it, or give it as CSV"
        ) from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches(_BLOCK):
            yield batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}") from None


def _plain(value: object) -> object:
    """Times as texts; maps and structures as they are. A datetime is a date."""
    return value.isoformat() if isinstance(value, date) else value
