"""FOCUS bills: rows add up to the ledger to the last digit, unknown is no row, and corrections lead to the restatement."""

import asyncio
import csv
import itertools
import json
import subprocess
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.warm_python import WARM

from batchmeter.access import Access
from batchmeter.errors import UsageError
from batchmeter.events import BatchTimes
from batchmeter.spend.spend import Spend
from batchmeter_exports.focus import FocusOptions
from batchmeter_exports.focus_columns import AMOUNTS, header
from batchmeter_exports.focus_file import write_bill, write_corrections
from batchmeter_exports.span import span_of

from .exports_world import fields_of, output, put, revise

NOVEMBER = span_of("2026-11", None, None)


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"2026-{day}T12:00:00").replace(tzinfo=UTC)


DEAR = {"openai/gpt-5-mini": {"batch": {"input": "1.1", "output": "3.7", "cached_input": "0.3"}}}


@pytest.fixture
async def filled(ledger: Any, clock: Any) -> Any:
    await put(ledger, clock, "b1", fields_of(output("gpt-5-mini")), team="search", tags=("a",))
    await put(ledger, clock, "b2", fields_of(output("gpt-5-mini", 2) + output("gpt-4o-mini", 1)), day="2026-11-30")
    await put(ledger, clock, "b3", fields_of(output("nobody-prices-this")), account="other", day="2026-11-30")
    old = {**fields_of(output("gpt-4o-mini", 4)), "rates": ()}
    await put(ledger, clock, "b4", old, day="2026-11-30")
    await put(ledger, clock, "b5", fields_of(output("gpt-5-mini")), notes=("invented",))
    await put(ledger, clock, "b6", fields_of(output("gpt-5-mini")), day="2026-12-01")
    return ledger


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def bill(ledger: Any, folder: Path, **how: Any) -> tuple[dict[str, Any], list[dict[str, str]]]:
    manifest = await write_bill(Access(ledger), FocusOptions(NOVEMBER, **how), folder)
    return manifest, read(folder / manifest["files"][0]["name"])


def total(rows: list[dict[str, str]], column: str = "BilledCost") -> Decimal:
    return sum((Decimal(row[column]) for row in rows), Decimal(0))


async def test_rows_add_up_to_the_ledger(filled: Any, tmp_path: Path) -> None:
    for version, grain in itertools.product(("1.4", "1.2"), ("day", "batch")):
        await add_up(filled, tmp_path / version / grain, version, grain)


async def add_up(filled: Any, folder: Path, version: Any, grain: Any) -> None:
    manifest, rows = await bill(filled, folder, version=version, grain=grain)
    since, until = NOVEMBER.millis
    known = (await Spend(filled).report(since=since, until=until)).total.known
    assert total(rows) == total(rows, "EffectiveCost") == known == Decimal(manifest["billed_cost_usd"]) > 0
    assert list(rows[0]) == header(version)
    for row in rows:
        assert "E" not in row["BilledCost"]
        if row["SkuPriceId"]:
            assert Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"]) == Decimal(row["ListCost"])
        else:
            assert not any(
                row[name] for name in ("ListUnitPrice", "PricingCategory", "PricingQuantity", "ConsumedQuantity")
            )
    assert {row["ResourceId"] for row in rows} == ({""} if grain == "day" else {"b1", "b2", "b4"})


async def test_a_bill_passes_the_linter(filled: Any, tmp_path: Path) -> None:
    _, rows = await bill(filled, tmp_path)
    priced = [row for row in rows if row["SkuPriceId"]]
    assert 0 < len(priced) < len(rows), "settlements of older releases have no unit prices"
    validator = pytest.importorskip("focus_data_toolkit.model.validator")
    for linted, conditions in ((rows, ()), (priced, ("SupportsUnitPricing",))):
        report = validator.lint_focus_1_4_structure("Cost and Usage", linted, supported_conditions=conditions)
        assert not report.violations, (conditions, report.violations[:5])


async def test_unknown_costs_have_a_file_of_their_own(filled: Any, tmp_path: Path) -> None:
    manifest, rows = await bill(filled, tmp_path)
    (row,) = read(tmp_path / "unknown_2026-11.csv")
    assert (row["account"], row["model"], row["reason"], row["lines"]) == (
        "other",
        "nobody-prices-this",
        "unknown_model",
        "3",
    )
    assert json.loads(row["units_without_rate"])["output"] == 3 * 331
    assert manifest["unknown"] == {"rows": 1, "lines": 3}
    assert manifest["invented_batches_left_out"] == 1
    assert "other" not in {row["BillingAccountName"] for row in rows}


async def test_a_second_bill_is_a_restatement(filled: Any, clock: Any, tmp_path: Path) -> None:
    first, _ = await bill(filled, tmp_path)
    await revise(filled, clock, "b1", fields_of(output("gpt-5-mini"), prices=DEAR))
    second, rows = await bill(filled, tmp_path)
    assert second["previous_sha256"] == first["files"][0]["sha256"]
    assert total(rows) != Decimal(first["billed_cost_usd"])
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def summed(rows: list[dict[str, str]]) -> dict[Any, dict[str, Decimal]]:
    """Amounts by all other columns, without rows that come to nothing."""
    sums: dict[Any, Counter[str]] = {}
    for row in rows:
        named = tuple(
            sorted(
                (name, text)
                for name, text in row.items()
                if name not in {*AMOUNTS, "ChargeClass"} and "BillingPeriod" not in name
            )
        )
        for name in AMOUNTS:
            sums.setdefault(named, Counter())[name] += Decimal(row.get(name) or 0)  # type: ignore[assignment]
    return {
        named: {name: amount for name, amount in each.items() if amount}
        for named, each in sums.items()
        if any(each.values())
    }


@pytest.mark.parametrize("grain", ["day", "batch"])
async def test_a_bill_and_its_corrections_are_the_restatement(
    filled: Any, clock: Any, tmp_path: Path, grain: Any
) -> None:
    access, options = Access(filled), FocusOptions(NOVEMBER, grain=grain)
    await write_bill(access, options, tmp_path / "first")
    manifests = [tmp_path / "first" / "manifest_2026-11.json"]
    rows = read(tmp_path / "first" / "costandusage_2026-11.csv")
    steps = [
        ("b1", output("gpt-5-mini"), DEAR),
        ("b3", output("gpt-5-mini"), None),
        ("b2", output("gpt-4o-mini", 1), None),
    ]
    for number, (batch_id, content, prices) in enumerate(steps, 1):
        account = "other" if batch_id == "b3" else "openai"
        await revise(filled, clock, batch_id, fields_of(content, prices=prices), account=account)
        await write_corrections(access, options, tmp_path / "more", manifests)
        changes = read(tmp_path / "more" / f"costandusage_2026-11_correction_{number}.csv")
        assert {row["ChargeClass"] for row in changes} == {"Correction"}
        assert {row["BillingPeriodStart"] for row in changes} == {"2026-12-01T00:00:00Z"}
        assert {row["ChargePeriodStart"][:7] for row in changes} == {"2026-11"}
        rows += changes
        manifests.append(tmp_path / "more" / f"manifest_2026-11_correction_{number}.json")
    await write_bill(access, options, tmp_path / "last")
    assert summed(rows) == summed(read(tmp_path / "last" / "costandusage_2026-11.csv"))
    again = await write_corrections(access, options, tmp_path / "more", manifests)
    assert (again["rows"], again["billed_cost_usd"]) == (0, "0")


async def test_corrections_of_another_bill_are_refused(filled: Any, tmp_path: Path) -> None:
    access = Access(filled)
    await write_bill(access, FocusOptions(NOVEMBER), tmp_path)
    manifest = tmp_path / "manifest_2026-11.json"
    with pytest.raises(UsageError, match="about something else: grain 'day' and not 'batch'"):
        await write_corrections(access, FocusOptions(NOVEMBER, grain="batch"), tmp_path, [manifest])
    (tmp_path / "costandusage_2026-11.csv").write_text("changed")
    with pytest.raises(UsageError, match="it was changed since it was written"):
        await write_corrections(access, FocusOptions(NOVEMBER), tmp_path, [manifest])
    with pytest.raises(UsageError, match="is no manifest of an export"):
        await write_corrections(access, FocusOptions(NOVEMBER), tmp_path, [tmp_path / "none.json"])


def run(arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([WARM, "-m", "batchmeter", *arguments], capture_output=True, text=True, check=False)


async def test_the_command_says_what_is_unknown(filled: Any, url: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("BATCHMETER_LEDGER", url)
    monkeypatch.setenv("BATCHMETER_PLUGINS", "exports,postgres")
    command = ["export", "focus", "--month", "2026-11", "-o", str(tmp_path), "--billing-account", "openai=org-1"]
    done = await asyncio.to_thread(run, [*command, "--strict"])
    assert (done.returncode, done.stderr) == (
        3,
        "3 lines have no known cost and are in the unknown file; add prices, then reprice\n",
    )
    assert {row["BillingAccountId"] for row in read(tmp_path / "costandusage_2026-11.csv")} == {"org-1"}
    wrong = await asyncio.to_thread(run, [*command, "--billing-account", "openai"])
    assert wrong.returncode == 2
    assert "write ACCOUNT=ID, such as openai=org-123" in wrong.stderr


LONG = {"times": BatchTimes(created_at=at("10-31"), in_progress_at=at("11-29"), ended_at=at("11-30"))}


async def test_a_bill_is_by_the_day_that_is_asked_for(ledger: Any, clock: Any, tmp_path: Path) -> None:
    """One batch was created in October, ended in November, settled in December; one has no times of the provider's."""
    fields = fields_of(output("gpt-5-mini"))
    await put(ledger, clock, "long", {**fields, **LONG}, day="2026-12-01")
    await put(ledger, clock, "timeless", fields, day="2026-11-05")
    cost = fields["cost"].known
    wanted = {
        "settled": {"2026-10": {}, "2026-11": {"2026-11-05": cost}, "2026-12": {"2026-12-01": cost}},
        "ended": {"2026-10": {}, "2026-11": {"2026-11-05": cost, "2026-11-30": cost}, "2026-12": {}},
        "created": {"2026-10": {"2026-10-31": cost}, "2026-11": {"2026-11-05": cost}, "2026-12": {}},
    }
    for day_of, months in wanted.items():
        for month, days in months.items():
            options: Any = FocusOptions(span_of(month, None, None), day_of=day_of)
            manifest = await write_bill(Access(ledger), options, tmp_path / day_of)
            rows = read(tmp_path / day_of / manifest["files"][0]["name"])
            found: dict[str, Decimal] = {}
            for row in rows:
                day = row["ChargePeriodStart"][:10]
                found[day] = found.get(day, Decimal(0)) + Decimal(row["BilledCost"])
            assert (found, manifest["day_of"]) == (days, day_of), month


async def test_a_parquet_bill_holds_the_same_figures(filled: Any, url: str, tmp_path: Path) -> None:
    if url.startswith("postgresql"):
        pytest.skip("the rows are the same ones")
    pl = pytest.importorskip("polars")
    for version in ("1.4", "1.2"):
        _, rows = await bill(filled, tmp_path / "csv", version=version)
        options: Any = FocusOptions(NOVEMBER, version, form="parquet")
        manifest = await write_bill(Access(filled), options, tmp_path)
        table = pl.read_parquet(tmp_path / manifest["files"][0]["name"])
        assert manifest["files"][0]["name"] == "costandusage_2026-11.parquet"
        assert table.columns == header(version)
        assert table["BilledCost"].sum() == total(rows)
        assert table["ConsumedQuantity"].dtype == pl.Decimal(38, 18)
        assert table["ChargePeriodStart"].dtype == pl.Datetime("us", "UTC")
        assert table["InvoiceId"].null_count() == len(rows) == manifest["rows"]
        assert table["Tags"].to_list() == [row["Tags"] for row in rows]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(UsageError, match="is Parquet: corrections are made from CSV"):
        await write_corrections(Access(filled), options, tmp_path, [tmp_path / "manifest_2026-11.json"])
