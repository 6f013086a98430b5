"""The nine faults of a vendor's report, each named right; and months without any, that agree to the last token."""

from decimal import Decimal
from typing import Any

import pytest
from tests.heavy import heavy

from batchmeter_reconcile.document import Untracked

from .world import MINI, NANO, World, at, booked, rows, statuses

LONG = 30


async def three_batches(world: World) -> None:
    """One within a day, one over midnight, one of another model."""
    await world.put("11-03 10:00", "11-03 14:00")
    await world.put("11-05 23:30", "11-06 00:30", lines=7)
    await world.put("11-10 09:00", "11-10 11:00", NANO)


async def test_books_that_agree_are_a_match(world: World) -> None:
    await three_batches(world)
    found = await world.run()
    assert statuses(found) == {"match"}
    assert found["status"] == "match"
    run = {(row["from"], row["to"]) for row in found["rows"]}
    assert run == {("2026-11-03", "2026-11-03"), ("2026-11-05", "2026-11-06"), ("2026-11-10", "2026-11-10")}
    (output,) = (row for row in rows(found, kind="output") if row["from"] == "2026-11-03")
    assert output["ours"] == 3 * 25_000
    assert output["vendor"] == "75000"
    assert Decimal(output["vendor_usd"]) == Decimal(output["ours_usd"]) > 0
    assert output["scopes"] == {"proj_a": "75000"}


@pytest.mark.parametrize(
    ("fault", "wanted", "cause"),
    [
        ("late", "pending", "not_settled"),
        ("split_midnight", "explained", "other_day"),
        ("rate", "price_drift", "twice"),
        ("unknown_item", "unmatched_items", ""),
        ("null_fields", "unverifiable", "silent"),
        ("float_noise", "match", ""),
        ("429", "match", ""),
        ("credit", "match", ""),
    ],
)
async def test_a_fault_has_its_name(world: World, fault: str, wanted: str, cause: str) -> None:
    await three_batches(world)
    if fault == "late":
        await world.put("11-29 08:00", "11-29 20:00", lines=LONG)
    world.site.faults = {fault}
    found = await world.run(last="11-29")
    assert found["status"] == wanted, found["rows"]
    named = {row.get("cause", "") for row in found["rows"]}
    assert cause in named
    assert named <= {cause, "", "other_day"}
    if fault == "unknown_item":
        (item,) = found["unmatched"]
        assert (item["item"], item["usd"], item["batch"]) == ("batch | quantum ponies", "1.25", True)
        assert statuses(found) == {"match"}
    if fault == "null_fields":
        assert {row["kind"] for row in rows(found, status="match")} >= {"prompt", "output", "requests"}
        assert {row["kind"] for row in rows(found, status="unverifiable")} == {"cached_input", "uncached_input"}
    if fault == "rate":
        drift = rows(found, status="price_drift")
        assert {row["kind"] for row in drift} >= {"output", "uncached_input"}
        assert all(Decimal(row["vendor_usd"]) == 2 * Decimal(row["ours_usd"]) for row in drift)


async def test_a_batch_made_elsewhere_is_named(world: World) -> None:
    await three_batches(world)
    await world.put("11-04 10:00", "11-04 12:00", account="another")  # not in the ledger of this account
    found = await world.run()
    missing = rows(found, status="ours_missing")
    assert {(row["from"], row["cause"]) for row in missing} == {("2026-11-04", "batches_elsewhere")}
    assert missing[0]["next"] == "batchmeter reconcile openai --from 2026-11-04 --to 2026-11-04 --untracked"
    assert found["status"] == "ours_missing"


async def test_a_month_with_faults_names_each_and_nothing_else(world: World) -> None:
    """Batches of both models on each of ten days, some of them over midnight."""
    for number in range(heavy(200, 60)):
        day = 3 + number % 10
        over = number in (11, 57, 123)
        begun, ended = (
            (f"11-{day:02} 23:40", f"11-{day + 1:02} 00:20") if over else (f"11-{day:02} 08:00", f"11-{day:02} 09:30")
        )
        await world.put(begun, ended, NANO if number % 3 else MINI, lines=1 + number % 4)
    agreed = await world.run()
    assert statuses(agreed) == {"match"}, [row for row in agreed["rows"] if row["status"] != "match"][:3]
    extra = await world.put("11-08 10:00", "11-08 10:30", account="another", book=False, lines=9)
    world.site.books += booked(extra, at("11-08 10:00").date(), at("11-08 10:00").date())
    world.site.faults = {"float_noise", "unknown_item", "credit", "429"}
    found = await world.run()
    drifting = {
        (row["from"] <= "2026-11-08" <= row["to"], row["model"], row["cause"])
        for row in found["rows"]
        if row["status"] != "match"
    }
    assert drifting == {(True, MINI, "batches_elsewhere")}
    assert [one["item"] for one in found["unmatched"]] == ["batch | quantum ponies"]


CASES: list[tuple[str, dict[str, Any], dict[str, int], str, str]] = [
    ("more tokens for failed lines", {"failed": 2}, {"output": 500}, "ours_missing", "failed_lines_billed"),
    ("partial answers", {"status": "cancelled"}, {"output": 500}, "ours_missing", "partial_answers"),
    ("more tokens, nothing failed", {}, {"output": 500}, "ours_missing", "more_tokens"),
    ("fewer tokens", {}, {"output": -500}, "vendor_missing", "less_booked"),
    ("the cached share differs", {}, {"fresh": -700, "cached": 700}, "ours_missing", "cached_share"),
    ("requests alone differ", {"failed": 2}, {"requests": 2}, "explained", "requests_only"),
    ("more requests than failed", {"failed": 1}, {"requests": 5, "output": 900}, "ours_missing", "batches_elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "batch", "change", "wanted", "cause"), CASES, ids=[case[0] for case in CASES])
async def test_a_difference_has_its_cause(
    world: World, case: str, batch: dict[str, Any], change: dict[str, int], wanted: str, cause: str
) -> None:
    await world.put("11-03 10:00", "11-03 14:00", **batch)
    (one,) = world.site.books
    changed = {name: getattr(one, name) + more for name, more in change.items()}
    world.site.books = [type(one)(**{**vars(one), **changed})]
    found = await world.run()
    assert (found["status"], {row["cause"] for row in found["rows"] if "cause" in row}) == (wanted, {cause})
    row = next(row for row in found["rows"] if row.get("cause") == cause)
    assert row["why"]
    assert "{" not in row["why"] + row["next"]


PRICES: list[tuple[Any, str, str]] = [
    (lambda day: Decimal(2), "twice", "include credits"),
    (lambda day: Decimal("1.1"), "regional", "set `region` in [accounts.openai]"),
    (lambda day: Decimal("0.85"), "other_rate", '[prices."openai/gpt-5-mini-2025-08-07"] multiplier = "0.85"'),
    (lambda day: Decimal(1) if day < 6 else Decimal("1.5"), "price_changed", "batchmeter reprice --since 2026-11-07"),
    (lambda day: Decimal(0), "free_there", "batchmeter prices show"),
]


@pytest.mark.parametrize(("ratio", "cause", "step"), PRICES, ids=[one[1] for one in PRICES])
async def test_a_price_drift_has_its_cause(world: World, ratio: Any, cause: str, step: str) -> None:
    for day in (3, 5, 7, 9):
        await world.put(f"11-{day:02} 10:00", f"11-{day:02} 14:00", lines=20, tokens=1_000_000)
    world.site.books = [
        type(one)(**{**vars(one), "usd": {kind: usd * ratio(one.day.day) for kind, usd in one.usd.items()}})
        for one in world.site.books
    ]
    found = await world.run()
    drift = rows(found, status="price_drift")
    assert found["status"] == "price_drift"
    assert {row["cause"] for row in drift} == {cause}
    assert step in drift[0]["next"]
    if cause == "other_rate":
        per_million = Decimal(drift[0]["vendor_usd_per_million"]) / Decimal(drift[0]["ours_usd_per_million"])
        assert round(per_million, 3) == Decimal("0.85")


async def test_small_price_drifts_are_seen_in_their_sum(world: World) -> None:
    """Each row is within a cent."""
    for day in range(3, 25):
        await world.put(f"11-{day:02} 10:00", f"11-{day:02} 14:00", NANO, lines=1, tokens=40_000)
    world.site.faults = {"rate"}
    found = await world.run()
    (row,) = rows(found, status="price_drift")
    assert (row["kind"], row["cause"]) == ("all", "twice")
    assert {row["status"] for row in rows(found, kind="output")} == {"match"}


async def test_texts_of_others_are_short_and_safe_to_copy(world: World) -> None:
    """Ids and names come from the vendor: a command to paste holds them quoted, a document a beginning of them."""
    untracked = Untracked("my account", "batch_1; rm -rf ~", "completed", None, 1)
    assert untracked.adopt == "batchmeter adopt --account 'my account' 'batch_1; rm -rf ~'"
    await world.put("11-03 10:00", "11-03 14:00")
    one = world.site.books[0]
    world.site.books.append(type(one)(**{**vars(one), "model": '"; rm -rf ~ #' + "x" * 5000}))
    found = await world.run()
    (row, *_) = [row for row in found["rows"] if "rm" in row["model"]]
    assert len(row["model"]) <= 200
    assert '"' not in row["next"]
