"""Parquet files of exports: written from rows by DuckDB or pyarrow, whichever is installed, with exact money and UTC times."""

import asyncio
import csv
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from batchmeter.errors import UsageError
from batchmeter.models import Usage

from .flat import plain_cell

DECIMAL, TIME, INTEGER, BOOLEAN, TEXT = "DECIMAL(38,18)", "TIMESTAMPTZ", "BIGINT", "BOOLEAN", "VARCHAR"
"""DuckDB's names of the types."""
MISSING = (
    "Parquet needs a library: pip install 'batchmeter[parquet]' (DuckDB), or pyarrow; without one, write CSV and let "
    "DuckDB, Spark or pandas make the file"
)
_INTEGERS = frozenset({"revision", "lines", "failed_lines", "prompt_over", *Usage.model_fields})
_BOOLEANS = frozenset({"invented", "estimated", "x_BatchmeterEstimated"})
_NUMBERS = ("Cost", "Quantity", "UnitPrice")
"""Endings of FOCUS columns that hold numbers."""
_TIMES = ("PeriodStart", "PeriodEnd")


def type_of(column: str) -> str:
    """By the column's name, in flat files and in FOCUS bills."""
    if column.endswith(("_usd", "_usd_per_million", *_NUMBERS)):
        return DECIMAL
    if column.endswith(("_at", *_TIMES)):
        return TIME
    if column in _INTEGERS or column.endswith("_units"):
        return INTEGER
    return BOOLEAN if column in _BOOLEANS else TEXT


def check_installed() -> None:
    """UsageError before any work is done."""
    if find_spec("duckdb") is None and find_spec("pyarrow") is None:
        raise UsageError(MISSING)


async def write_parquet(rows: AsyncIterator[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """The rows as a file that is whole or not there, in flat memory: a table of texts beside it is converted, and goes."""
    check_installed()
    with tempfile.TemporaryDirectory(prefix=".parquet-", dir=path.parent) as scratch:
        table, made = Path(scratch, "rows.csv"), Path(scratch, "rows.parquet")
        count = 0
        with table.open("w", encoding="utf-8", newline="") as file:  # noqa: ASYNC230 - a command's only work
            writer = csv.writer(file)
            writer.writerow(columns)
            async for row in rows:
                writer.writerow([plain_cell(row[name]) for name in columns])
                count += 1
        await asyncio.to_thread(convert, table, columns, made, count)
        made.replace(path)  # noqa: ASYNC240 - as above


def convert(table: Path, columns: Sequence[str], path: Path, rows: int) -> None:
    """A CSV file of ours, with so many rows, as Parquet; an empty cell is null. UsageError where neither library is there."""
    check_installed()
    try:
        duckdb: Any = import_module("duckdb")
    except ImportError:
        written = _by_pyarrow(table, columns, path)
    else:
        written = _by_duckdb(duckdb, table, columns, path)
    if written != rows:
        raise UsageError(
            f"{written:,} of {rows:,} rows came into the Parquet file: write CSV, and report this as a fault"
        )


def _by_duckdb(duckdb: Any, table: Path, columns: Sequence[str], path: Path) -> int:
    named = ", ".join(f"{_quoted(name, chr(39))}: 'VARCHAR'" for name in columns)
    chosen = ", ".join(f"{_quoted(name)}::{type_of(name)} AS {_quoted(name)}" for name in columns)
    how = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', parallel = false"
    with duckdb.connect(":memory:") as opened:
        opened.execute("SET TimeZone = 'UTC'")
        opened.execute("SET threads = 1")
        copied = opened.execute(
            f"COPY (SELECT {chosen} FROM read_csv(?, {how}, columns = {{{named}}})) "  # noqa: S608 - quoted names
            f"TO {_quoted(str(path), chr(39))} (FORMAT parquet, COMPRESSION zstd)",
            [str(table)],
        )
        return int(copied.fetchone()[0])


def _quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def _by_pyarrow(table: Path, columns: Sequence[str], path: Path) -> int:
    arrow, tables, parquet = (import_module(name) for name in ("pyarrow", "pyarrow.csv", "pyarrow.parquet"))
    types = {
        DECIMAL: arrow.decimal128(38, 18),
        TIME: arrow.timestamp("us", "UTC"),
        INTEGER: arrow.int64(),
        BOOLEAN: arrow.bool_(),
        TEXT: arrow.string(),
    }
    schema = arrow.schema([(name, types[type_of(name)]) for name in columns])
    how = tables.ConvertOptions(
        column_types=schema, strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True
    )
    lines = tables.ParseOptions(newlines_in_values=True)
    written = 0
    with (
        tables.open_csv(str(table), convert_options=how, parse_options=lines) as read,
        parquet.ParquetWriter(str(path), schema, compression="zstd") as writer,
    ):
        for batch in read:
            writer.write_batch(batch)
            written += batch.num_rows
    return written
