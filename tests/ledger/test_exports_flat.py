"""`export costs`: every row and grain adds up to the cost report, and the tools that read flat files read it."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from batchmeter.access import Access
from batchmeter.cli import main
from batchmeter.errors import UsageError
from batchmeter.spend.spend import Spend
from batchmeter_exports.flat import as_csv, as_jsonl, columns_of, flat_rows
from batchmeter_exports.span import span_of

from .exports_world import fields_of, output, put

EVER = span_of(None, None, None)


@pytest.fixture
async def filled(ledger: Any, clock: Any) -> Any:
    await put(ledger, clock, "b1", fields_of(output("gpt-5-mini")), team="search", user="=cmd()", tags=("a", "b"))
    await put(ledger, clock, "b2", fields_of(output("gpt-5-mini", 2) + output("gpt-4o-mini", 1)), day="2026-11-30")
    await put(ledger, clock, "b3", fields_of(output("nobody-prices-this")), day="2026-12-01", account="other")
    await put(ledger, clock, "b4", fields_of(output("gpt-5-mini")), day="2026-12-01", notes=("invented",))
    return ledger


async def text(pieces: Any) -> str:
    return "".join([piece async for piece in pieces])


async def table(ledger: Any, grain: Any, span: Any = EVER, **more: Any) -> list[dict[str, str]]:
    shown = await text(as_csv(flat_rows(Access(ledger), span, grain, **more), columns_of(grain)))
    return list(csv.DictReader(io.StringIO(shown, newline="")))


async def test_rows_of_each_grain_add_up_to_the_report(filled: Any) -> None:
    report = await Spend(filled).report()
    for grain in ("batch", "model", "group"):
        rows = await table(filled, grain)
        assert sum(Decimal(row["known_usd"]) for row in rows) == report.total.known > 0, grain
        assert {row["batch_id"] for row in rows} == {"b1", "b2", "b3"}, f"{grain}: a sandbox's batches are left out"
        if grain != "group":
            assert sum(int(row["input_tokens"]) for row in rows) == report.total.usage.input_tokens, grain


async def test_an_unknown_cost_is_empty_with_its_reason(filled: Any) -> None:
    (row,) = [row for row in await table(filled, "batch") if row["batch_id"] == "b3"]
    assert (row["total_usd"], row["known_usd"], json.loads(row["unknown_reasons"])) == ("", "0", {"unknown_model": 3})


async def test_a_span_is_of_whole_days_of_settling(filled: Any) -> None:
    november = await table(filled, "batch", span_of("2026-11", None, None))
    days = await table(filled, "batch", span_of(None, "2026-11-30", "2026-12-01"))
    assert [row["batch_id"] for row in november] == ["b1", "b2"]
    assert [row["batch_id"] for row in days] == ["b2", "b3"]
    assert {row["batch_id"] for row in await table(filled, "batch", invented=True)} == {"b1", "b2", "b3", "b4"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("2026-13", None, None), "'2026-13' is not a month: write 2026-11"),
        (("9999-12", None, None), "'9999-12' is not a month"),
        ((None, "yesterday", None), "'yesterday' is not a date: write 2026-11-22"),
        ((None, "2026-11-02", "2026-11-01"), "the first date comes after the last"),
        (("2026-11", "2026-11-02", None), "a month and dates together"),
    ],
)
def test_a_span_that_is_none_says_how_to_write_it(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        span_of(*given)


async def test_a_formula_in_a_text_is_no_formula_in_a_cell(filled: Any) -> None:
    rows = await table(filled, "batch")
    assert rows[0]["user"] == "'=cmd()"
    assert json.loads(rows[0]["metadata"])["odd"] == "=1+1"


async def test_rates_of_groups_make_their_cost(filled: Any) -> None:
    for row in await table(filled, "group"):
        priced = {
            name.removesuffix("_usd_per_million"): Decimal(rate)
            for name, rate in row.items()
            if name.endswith("_usd_per_million") and rate
        }
        made = sum(rate * int(row[f"{bucket}_units"]) for bucket, rate in priced.items()) / Decimal(1_000_000)
        assert made == Decimal(row["known_usd"])


async def test_json_lines_hold_the_same_with_types(filled: Any) -> None:
    shown = await text(as_jsonl(flat_rows(Access(filled), EVER, "batch")))
    rows = [json.loads(line) for line in shown.splitlines()]
    assert list(rows[0]) == columns_of("batch")
    assert (rows[0]["tags"], rows[0]["team"], rows[0]["invented"]) == (["a", "b"], "search", False)
    assert [row["total_usd"] is None for row in rows] == [False, False, True]
    assert sum(Decimal(row["known_usd"]) for row in rows) == (await Spend(filled).report()).total.known


async def test_pandas_and_duckdb_read_the_files(filled: Any, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    report = await Spend(filled).report()
    path = tmp_path / "costs.csv"
    path.write_text(await text(as_csv(flat_rows(Access(filled), EVER, "model"), columns_of("model"))), newline="")
    frame = pd.read_csv(path, dtype={"known_usd": str})
    assert sum(map(Decimal, frame.known_usd)) == report.total.known
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT sum(known_usd::DECIMAL(38, 18)), count(*) FROM read_csv('{path}', all_varchar = true)"
        ).fetchall()
        parquet = tmp_path / "costs.parquet"  # the recipe of the docs
        connection.execute(
            f"COPY (SELECT * REPLACE (known_usd::DECIMAL(38, 18) AS known_usd) FROM read_csv('{path}')) TO '{parquet}'"
        )
        again = connection.execute(f"SELECT sum(known_usd) FROM '{parquet}'").fetchall()
    assert found == [(report.total.known, 4)]
    assert again == [(report.total.known,)]


async def test_an_export_is_of_one_moment(filled: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that settle while it is read are not in it."""
    monkeypatch.setattr("batchmeter.access.settled.PAGE_ROWS", 1)
    found = []
    async for row in flat_rows(Access(filled), EVER, "batch"):
        if not found:
            await put(filled, clock, "late", fields_of(output("gpt-5-mini")), day="2026-12-02")
        found.append(row["batch_id"])
    assert found == ["b1", "b2", "b3"]


def test_the_command_writes_a_file_only_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("BATCHMETER_PLUGINS", "exports")
    written = CliRunner().invoke(main, ["export", "costs", "-o", "costs.csv"])
    assert (written.exit_code, written.output) == (0, "")
    assert (tmp_path / "costs.csv").read_bytes() == ",".join(columns_of("batch")).encode() + b"\r\n"
    refused = CliRunner().invoke(main, ["export", "costs", "--month", "November", "-o", "costs.csv"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "'November' is not a month: write 2026-11" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "costs" in path.name) == ["costs.csv"]
    shown = CliRunner().invoke(main, ["export", "views", "--json"])
    assert [view["view"] for view in json.loads(shown.stdout)][:2] == ["v_batch", "v_batch_model"]
