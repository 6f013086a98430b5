"""Parquet files of flat exports: exact money, UTC times, nulls and any text, read back by other tools."""

import asyncio
import builtins
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from batchmeter.cli import main
from batchmeter.errors import UsageError
from batchmeter_exports.flat import columns_of
from batchmeter_exports.parquet import convert, type_of, write_parquet

ODD = 'a "quoted", text\r\nof two lines, =SUM(A1), é\U0001f600'


async def rows(count: int, grain: Any) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        row: dict[str, Any] = dict.fromkeys(columns_of(grain))
        row |= {"batch_id": f"b{number}", "user": ODD, "tags": ["a", "b"], "metadata": {"k": "v"}, "invented": False}
        row |= {"settled_at": "2026-11-03T12:00:00.250Z", "revision": 1, "known_usd": Decimal("0.000000000000000001")}
        yield row


def test_flat_rows_come_back_as_they_were(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    for grain in ("batch", "model", "group"):
        path = tmp_path / f"{grain}.parquet"
        asyncio.run(write_parquet(rows(3, grain), columns_of(grain), path))  # type: ignore[arg-type]
        table = pl.read_parquet(path)
        assert table.columns == columns_of(grain)  # type: ignore[arg-type]
        assert table["known_usd"].sum() == Decimal("0.000000000000000003")
        assert table["user"].to_list() == [ODD] * 3
        assert table["tags"][0] == '["a","b"]'
        assert str(table["settled_at"][0]) == "2026-11-03 12:00:00.250000+00:00"
        assert (table["invented"][0], table["team"][0], table["revision"][0]) == (False, None, 1)
        types = {name for name in table.columns if type_of(name) == "BIGINT"}
        assert {"revision"} < types
        assert all(table[name].dtype == pl.Int64 for name in types)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["batch.parquet", "group.parquet", "model.parquet"]


def test_the_command_writes_parquet_or_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    path = tmp_path / "costs.parquet"
    run = CliRunner().invoke(main, ["export", "costs", "--format", "parquet", "-o", str(path)])
    assert (run.exit_code, path.read_bytes()[:4]) == (0, b"PAR1"), run.output
    without = CliRunner().invoke(main, ["export", "costs", "--format", "parquet"])
    assert without.exit_code == 2
    assert "needs -o FILE" in without.stderr
    monkeypatch.setattr("batchmeter_exports.parquet.find_spec", lambda name: None)
    for command in (["costs", "-o", str(tmp_path / "no.parquet")], ["focus", "-o", str(tmp_path / "no")]):
        missing = CliRunner().invoke(main, ["export", *command, "--format", "parquet"])
        assert missing.exit_code == 2
        assert "pip install 'batchmeter[parquet]'" in missing.stderr
    assert not (tmp_path / "no.parquet").exists()


def test_pyarrow_serves_where_duckdb_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is installed; without both the error names the extra."""
    real = builtins.__import__("importlib").import_module

    def without_duckdb(name: str) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr("batchmeter_exports.parquet.import_module", without_duckdb)
    table, path = tmp_path / "t.csv", tmp_path / "t.parquet"
    table.write_text("known_usd,team,settled_at\r\n1.5,,2026-11-03T12:00:00.000Z\r\n", newline="")
    try:
        from pyarrow import parquet
    except ImportError:
        monkeypatch.setattr("batchmeter_exports.parquet.find_spec", lambda name: None)
        with pytest.raises(UsageError, match="or pyarrow"):
            convert(table, ["known_usd", "team", "settled_at"], path, 1)
        return
    convert(table, ["known_usd", "team", "settled_at"], path, 1)
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["known_usd"], row["team"]) == (Decimal("1.5"), None)
