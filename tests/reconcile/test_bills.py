"""Bill files: our own FOCUS export comes back as a match; clouds' rows are read; a hostile file is one clear error."""

import csv
import gzip
import json
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter.access import Access
from batchmeter.errors import UsageError
from batchmeter_exports.focus import FocusOptions
from batchmeter_exports.focus_file import write_bill
from batchmeter_exports.span import span_of
from batchmeter_reconcile.bills import read_bill
from batchmeter_reconcile.bills.focus import size_of
from batchmeter_reconcile.figures import MOST_UNMATCHED, OTHERS, BilledRow, Figures
from batchmeter_reconcile.meters import aws_usage, azure_meter, google_sku

from .world import MINI, NANO, World, rows, statuses

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 30)


def read(path: Path, *, accounts: Sequence[str] = ("azure",), scopes: Sequence[str] = ()) -> Figures:
    figures = Figures(FIRST, LAST)
    read_bill(path, figures, accounts, scopes)
    return figures


def table(path: Path, head: Sequence[str], *lines: Sequence[Any], mark: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=mark).writerows([head, *lines])
    return path


async def test_our_own_export_is_a_match(world: World) -> None:
    """Both versions and grains, CSV and gzip; other accounts' rows in the same file are left out."""
    await world.put("11-03 10:00", "11-03 14:00")
    await world.put("11-05 23:30", "11-06 00:30", NANO, lines=7)
    await world.put("11-04 10:00", "11-04 14:00", account="second")
    for version, grain in (("1.4", "day"), ("1.2", "batch")):
        options: Any = FocusOptions(span_of("2026-11", None, None), version, grain, day_of="ended")
        await write_bill(Access(world.ledger), options, world.folder)
        path = world.folder / "costandusage_2026-11.csv"
        packed = world.folder / f"{version}.csv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        for bill in (path, packed):
            found = await world.run(bill=bill)
            assert statuses(found) == {"match"}, found["rows"]
            assert all(row["vendor_usd"] == row["ours_usd"] for row in found["rows"])
            assert found["source"] == f"bill:{bill.name}"
            assert {row["model"] for row in found["rows"]} == {MINI, NANO}


async def test_a_credit_beside_the_cost_is_netted(world: World) -> None:
    """Google's list cost alone would be twice ours."""
    one = await world.put(
        "11-03 10:00", "11-03 14:00", "gemini-2.5-flash", lines=40, provider="vertex_ai", account="vertex"
    )
    (used,) = one.rates
    head = ("day", "sku", "project_id", "usage_amount", "usage_unit", "cost", "credits", "currency")
    lines = []
    for bucket, words in (("input", "Text Input"), ("cached_input", "Text Input Caching"), ("output", "Text Output")):
        usd = used.units[bucket] * used.usd_per_million[bucket] / 1_000_000
        sku = f"Gemini 2.5 Flash GA {words} - Batch Predictions"
        lines.append(("2026-11-03", sku, "p1", used.units[bucket], "count", 2 * usd, -usd, "USD"))
    bill = table(world.folder / "google.csv", head, *lines)
    found = await world.run(name="vertex", bill=bill)
    assert statuses(found) == {"match"}, found["rows"]
    without = table(world.folder / "list.csv", head[:6], *(line[:6] for line in lines))
    found = await world.run(name="vertex", bill=without)
    assert {row["cause"] for row in rows(found, status="price_drift")} == {"twice"}


AZURE = ["BilledCost", "BillingCurrency", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity",
         "ConsumedUnit", "x_SkuMeterName", "ResourceId"]  # fmt: skip
NEXT = "2026-11-04T00:00:00Z"
DAY = "2026-11-03T00:00:00Z"


def azure(meter: str = "gpt 4.1 nano Batch Inp glbl Tokens", **changed: Any) -> list[Any]:
    row = dict(zip(AZURE, ["0.000960", "USD", "Usage", DAY, NEXT, "19200", "Units", meter, "/s/x/acct"], strict=True))
    return list((row | changed).values())


def test_azure_s_rows_are_read(tmp_path: Path) -> None:
    """The two batches of a public write-up: 19,200 tokens in and 1,403,791 out are $0.281718."""
    output = azure("gpt 4.1 nano Batch Outp glbl Tokens", BilledCost="0.280758", ConsumedQuantity="1403791")
    path = table(
        tmp_path / "azure.csv", AZURE, azure(), output, azure("P10 LRS Disk"), azure("gpt 4.1 nano Inp glbl Tokens")
    )
    figures = read(path)
    assert {key: (cell.quantity, cell.amount) for key, cell in figures.cells.items()} == {
        ("gpt 4.1 nano", "uncached_input", date(2026, 11, 3)): (Decimal(19_200), Decimal("0.000960")),
        ("gpt 4.1 nano", "output", date(2026, 11, 3)): (Decimal(1_403_791), Decimal("0.280758")),
    }
    assert figures.other.rows == 2
    assert figures.through == date(2026, 11, 3)


CHANGES: list[tuple[dict[str, Any], tuple[str | None, str | None, int, int]]] = [
    ({}, ("19200", "0.000960", 0, 0)),
    ({"ConsumedQuantity": "19.2", "ConsumedUnit": "1K"}, ("19200.0", "0.000960", 0, 0)),
    ({"ConsumedQuantity": ""}, (None, "0.000960", 0, 0)),
    ({"BilledCost": "-0.5", "ChargeCategory": "Credit"}, (None, "-0.5", 0, 0)),
    ({"ChargeCategory": "Tax"}, (None, None, 0, 1)),
    ({"BillingCurrency": "EUR"}, ("19200", None, 0, 0)),
    ({"ChargePeriodStart": "2026-11-04T01:00:00+02:00", "ChargePeriodEnd": ""}, ("19200", "0.000960", 0, 0)),
    ({"ChargePeriodStart": "2026-11-03"}, ("19200", "0.000960", 0, 0)),
    ({"ChargePeriodEnd": "2026-12-01T00:00:00Z"}, (None, None, 1, 0)),
    ({"x_SkuMeterName": "gpt 9 Batch wonder Tokens"}, (None, None, 1, 0)),
    ({"ChargePeriodStart": "2026-10-03T00:00:00Z", "ChargePeriodEnd": ""}, (None, None, 0, 0)),
    ({"BilledCost": "1,234.50"}, ("19200", "1234.50", 0, 0)),
]  # fmt: skip


def test_a_row_is_what_its_columns_say(tmp_path: Path) -> None:
    for changed, (quantity, amount, unread, other) in CHANGES:
        figures = read(table(tmp_path / "bill.csv", AZURE, azure(**changed)))
        cell = figures.cells.get(("gpt 4.1 nano", "uncached_input", date(2026, 11, 3)))
        found = (None, None) if cell is None else (cell.quantity, cell.amount)
        wanted = tuple(None if text is None else Decimal(text) for text in (quantity, amount))
        assert (found, len(figures.unmatched), figures.other.rows) == (wanted, unread, other), changed


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"BilledCost": "0,28"}, "line 2: billed_cost: '0,28' may have a decimal comma"),
    ({"BilledCost": "1.234,50"}, "decimal comma"),
    ({"BilledCost": "NaN"}, "line 2: billed_cost: 'NaN' is not an amount"),
    ({"BilledCost": "1e999999999"}, "not an amount that a bill can hold"),
    ({"BilledCost": "$5"}, "is not a number"),
    ({"ChargePeriodStart": "03.11.2026"}, "charge_period_start: '03.11.2026' is not a time"),
    ({"ChargePeriodStart": ""}, "is not a time"),
    ({"ConsumedQuantity": "many"}, "consumed_quantity"),
]


def test_a_wrong_row_names_its_line_and_column(tmp_path: Path) -> None:
    for changed, words in WRONG:
        with pytest.raises(UsageError, match="bill.csv: ") as refusal:
            read(table(tmp_path / "bill.csv", AZURE, azure(**changed)))
        assert words in str(refusal.value), changed


def test_commas_are_decimal_where_semicolons_part_columns(tmp_path: Path) -> None:
    for mark in (";", "\t"):
        path = table(tmp_path / "eu.csv", AZURE, azure(BilledCost="1.234,5", ConsumedQuantity="19200,0"), mark=mark)
        (cell,) = read(path).cells.values()
        assert (cell.amount, cell.quantity) == (Decimal("1234.5"), Decimal(19_200))


WIDE = "x" * 3000


def big(lines: int) -> Iterator[str]:
    yield ",".join([*AZURE, "Tags"]) + "\n"
    line = ",".join([*azure(), WIDE]) + "\n"
    for _ in range(lines):
        yield line


FILES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "no head of a table"),
    ("a head alone", ",".join(AZURE).encode(), "holds no rows"),
    ("another table", b"day,rain\n2026-11-03,4\n", "as BigQuery billing export it lacks"),
    ("names twice", b"BilledCost,BilledCost\n1,2\n", "each once"),
    ("a short row", (",".join(AZURE) + "\n1,2\n").encode(), "line 2 has 2 values, and the head 9 names"),
    ("an open quote", (",".join(AZURE) + '\n"1,2\n').encode(), "line"),
    ("UTF-16", "BilledCost,x\n1,2\n".encode("utf-16"), "save it as CSV UTF-8"),
    ("Latin-1", b"BilledCost,caf\xe9\n1,2\n", "is not UTF-8"),
    ("binary", bytes(range(256)) * 40, "cannot|not UTF-8|no head"),
    ("gzip cut off", gzip.compress("".join(big(2)).encode())[:-12], "cannot be read to its end"),
    ("JSON cut off", b'[{"BilledCost": "1", "BillingCurrency": "USD", "ChargePeriodStart": "2026-11-03"}, {"Bil', "row 2 is no JSON"),
    ("a list without end", b'[{"BilledCost": "1", "BillingCurrency": "USD", "ChargePeriodStart": "2026-11-03"}', "no end: the file was cut off after 1 rows"),
    ("JSON of numbers", b"[1, 2]", "row 1 is no object"),
    ("deep JSON", b'{"a": ' + b"[" * 200_000, "deeply|no JSON"),
    ("Parquet that is none", b"PAR1" + b"\0" * 64, "cannot be read as Parquet"),
]  # fmt: skip


def test_a_file_that_is_no_bill_is_one_error(tmp_path: Path) -> None:
    for case, content, words in FILES:
        path = tmp_path / "bill"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=words):
            read(path)
        assert path.exists(), case
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "nowhere")


def test_json_lines_and_arrays_are_bills(tmp_path: Path) -> None:
    """As BigQuery writes them, with records and lists inside."""
    row = {
        "usage_start_time": "2026-11-03 00:00:00 UTC", "usage_end_time": "2026-11-03 01:00:00 UTC",
        "sku": {"id": "A", "description": "Gemini 3.8 Flash Global Text Output - Batch Predictions"},
        "project": {"id": "p1"}, "usage": {"amount": 1000000.0, "unit": "count"}, "cost": 39.05, "currency": "USD",
        "credits": [{"name": "batch", "amount": -19.53}],
    }  # fmt: skip
    for content in (json.dumps([row, row]), json.dumps(row) + "\n" + json.dumps(row), json.dumps([row, row], indent=2)):
        path = tmp_path / "bill.json"
        path.write_text(content)
        ((key, cell),) = read(path, scopes=["p1"]).cells.items()
        assert key == ("Gemini 3.8 Flash", "output", date(2026, 11, 3))
        assert (cell.quantity, cell.amount) == (Decimal(2_000_000), Decimal("39.04"))
        assert read(path, scopes=["p2"]).cells == {}


def test_cur_rows_are_bills(tmp_path: Path) -> None:
    """Both spellings of the head; a marketplace row has its model in the product's name."""
    for head in (
        ("line_item_usage_type", "line_item_usage_start_date", "line_item_usage_amount", "line_item_unblended_cost", "pricing_unit", "product_product_name"),
        ("lineItem/UsageType", "lineItem/UsageStartDate", "lineItem/UsageAmount", "lineItem/UnblendedCost", "pricing/unit", "product/ProductName"),
    ):  # fmt: skip
        day = "2026-11-03T00:00:00Z"
        path = table(
            tmp_path / "cur.csv", head,
            ("USE1-Llama4-Maverick-17B-input-tokens-batch", day, "2.5", "0.0003", "1K tokens", "Bedrock"),
            ("USE1-Llama4-Maverick-17B-input-tokens", day, "9", "0.1", "1K tokens", "Bedrock"),
            ("USE1-MP:USE1_MillionBatchInputTokens-Units", day, "0.002", "0.003", "Units", "Claude Haiku 4.5 (Amazon Bedrock Edition)"),
            ("BoxUsage:t3.micro", day, "24", "0.2", "Hrs", "EC2"),
        )  # fmt: skip
        figures = read(path)
        assert {key[:2]: cell.quantity for key, cell in figures.cells.items()} == {
            ("Llama4-Maverick-17B", "uncached_input"): Decimal(2500),
            ("Claude Haiku 4.5", "uncached_input"): Decimal(2000),
        }
        assert figures.other.rows == 2


def test_parquet_is_a_bill(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    source = table(tmp_path / "bill.csv", AZURE, azure())
    path = tmp_path / "bill.snappy.parquet"
    with duckdb.connect(":memory:") as opened:
        opened.execute(f"COPY (SELECT * FROM read_csv('{source}')) TO '{path}' (FORMAT parquet)")
    (cell,) = read(path).cells.values()
    assert (cell.quantity, cell.amount) == (Decimal(19_200), Decimal("0.00096"))


def test_memory_does_not_grow_with_the_bill(tmp_path: Path) -> None:
    """CSV, and JSON in one array on one line."""
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.writelines(big(1_300))
    one_line = tmp_path / "big.json"
    row = json.dumps(dict(zip([*AZURE, "Tags"], [*azure(), WIDE], strict=True)))
    with one_line.open("w") as file:
        file.write("[" + ",".join([row] * 1_300) + "]")
    for each, count in ((path, 1_300), (one_line, 1_300)):
        tracemalloc.start()
        figures = read(each)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert figures.rows == count
        assert peak < 2_000_000 < each.stat().st_size // 2
        assert len(figures.cells) == 1


def test_a_bill_of_endless_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = Figures(FIRST, LAST)
    for number in range(MOST_UNMATCHED * 3):
        figures.add(BilledRow(FIRST, amount=Decimal(1), item=f"batch thing {number}"))
    assert len(figures.unmatched) == MOST_UNMATCHED + 1
    assert figures.unmatched[OTHERS].amount == MOST_UNMATCHED * 2
    monkeypatch.setattr("batchmeter_reconcile.figures.MOST_CELLS", 500)
    for number in range(500):
        figures.add(BilledRow(FIRST, f"model {number}", "output", Decimal(1)))
    with pytest.raises(UsageError, match="no bill of a model's tokens"):
        figures.add(BilledRow(FIRST, "one more", "output", Decimal(1)))


METERS: list[tuple[Any, str, tuple[str, str, bool]]] = [
    (azure_meter, "gpt 4.1 nano Batch Inp glbl Tokens", ("gpt 4.1 nano", "uncached_input", True)),
    (azure_meter, "gpt-4o-mini-0718-Batch-Outp-glbl Tokens", ("gpt-4o-mini-0718", "output", True)),
    (azure_meter, "gpt 4.1 cached Inp glbl", ("gpt 4.1", "cached_input", False)),
    (azure_meter, "gpt 4o 0806 Batch Outp Data Zone Tokens", ("gpt 4o 0806", "output", True)),
    (azure_meter, "gpt 4o 0806 Batch cached Inp DZone Tokens", ("gpt 4o 0806", "cached_input", True)),
    (azure_meter, "gpt-35-turbo16K-Batch-Inp-glbl", ("gpt-35-turbo16K", "uncached_input", True)),
    (azure_meter, "P10 LRS Disk", ("", "", False)),
    (azure_meter, "gpt 4o mini ft inpt glbl Tokens", ("", "", False)),
    (google_sku, "Gemini 3.8 Flash Global Text Output - Batch Predictions", ("Gemini 3.8 Flash", "output", True)),
    (google_sku, "Gemini 2.5 Pro Thinking Text Output (Long) - Batch Predictions", ("Gemini 2.5 Pro", "output", True)),
    (google_sku, "Gemini 2.5 Flash Lite GA Image Input - Batch Predictions", ("Gemini 2.5 Flash Lite", "uncached_input", True)),
    (google_sku, "Gemini 2.5 Flash GA Cached Text Input - Batch Predictions", ("Gemini 2.5 Flash", "cached_input", True)),
    (google_sku, "Gemini 2.5 Flash GA Text Input - Predictions", ("Gemini 2.5 Flash", "uncached_input", False)),
    (google_sku, "Grounding by search", ("", "", False)),
    (aws_usage, "USE1-Llama4-Maverick-17B-output-tokens-batch", ("Llama4-Maverick-17B", "output", True)),
    (aws_usage, "USE1-zai.glm-4.7-mantle-input-tokens-batch", ("zai.glm-4.7", "uncached_input", True)),
    (aws_usage, "APS3-qwen.qwen3-32b-output-tokens-standard", ("qwen.qwen3-32b", "output", False)),
    (aws_usage, "EUW1-NovaLite-cache-read-input-token-count-batch", ("NovaLite", "cached_input", True)),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "name", "wanted"), METERS, ids=[name for _, name, _ in METERS])
def test_meters_are_a_table(reader: Any, name: str, wanted: tuple[str, str, bool]) -> None:
    found = reader(name)
    assert (found.model, found.kind, found.batch) == wanted


def test_units_are_tokens() -> None:
    cases: Mapping[str, int] = {"": 1, "Tokens": 1, "Units": 1, "1K": 1000, "1K Tokens": 1000, "1000 Tokens": 1000,
                                "1000000 Tokens": 10**6, "1M": 10**6, "10K": 10_000, "Million": 1}  # fmt: skip
    assert {unit: int(size_of(unit)) for unit in cases} == cases
