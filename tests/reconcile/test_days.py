"""Days: batches over midnight, edges of what was asked, days that are not settled, batches that are still open."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from batchmeter_reconcile.judge import Terms, compare
from batchmeter_reconcile.names import Names
from batchmeter_reconcile.ours import Window
from batchmeter_reconcile.runs import Run, runs

from .world import DAY, MINI, World, at, rows, statuses


def day(number: int) -> date:
    return date(2026, 11, number)


RUNS: list[tuple[list[tuple[int, int]], list[int], list[tuple[int, int, bool]]]] = [
    ([], [], []),
    ([(3, 3)], [3], [(3, 3, True)]),
    ([(3, 3), (4, 4)], [], [(3, 3, True), (4, 4, True)]),
    ([(3, 4), (4, 6), (7, 7)], [9], [(3, 6, True), (7, 7, True), (9, 9, True)]),
    ([(1, 2), (2, 2)], [], [(2, 2, False)]),
    ([(8, 12)], [], [(8, 10, False)]),
    ([(1, 20)], [5], [(2, 10, False)]),
]


@pytest.mark.parametrize(("windows", "days", "wanted"), RUNS)
def test_runs_end_where_no_batch_crosses(windows: Any, days: Any, wanted: Any) -> None:
    """Known days are the 2nd to the 10th."""
    found = runs([Window(day(one), day(other)) for one, other in windows], {day(one) for one in days}, day(2), day(10))
    assert found == [Run(day(one), day(other), whole) for one, other, whole in wanted]


async def test_a_batch_at_the_edge_is_whole_with_the_day_beside(world: World) -> None:
    await world.put("11-09 23:00", "11-10 01:00", lines=8)
    beside = await world.run("11-10", "11-12")
    assert statuses(beside) == {"match"}
    assert beside["rows"][0]["from"] == "2026-11-09"
    bounds = await world.run("11-10", "11-12", edge_days=0)
    assert statuses(bounds) == {"explained"}
    (output,) = rows(bounds, kind="output")
    assert (output["at_least"], output["ours"], output["vendor"], output["cause"]) == (
        0,
        8 * 25_000,
        "100000",
        "across_edge",
    )


async def test_more_than_the_upper_bound_is_a_drift(world: World) -> None:
    await world.put("11-09 23:00", "11-10 01:00")
    world.site.books = [type(one)(**{**vars(one), "output": one.output * 3}) for one in world.site.books]
    found = await world.run("11-10", "11-12", edge_days=0)
    assert [row["status"] for row in rows(found, kind="output")] == ["ours_missing"]


async def test_days_of_a_drifting_run_are_shown_with_bounds(world: World) -> None:
    await world.put("11-09 23:00", "11-10 01:00")
    await world.put("11-10 09:00", "11-10 10:00")
    moved = world.site.books[0]
    world.site.books[0] = type(moved)(**{**vars(moved), "output": moved.output + 40_000 + 75_000})
    found = await world.run()
    (output,) = rows(found, kind="output")
    assert output["status"] == "ours_missing"
    assert [(one["day"], one["at_least"], one["at_most"], one["outside"]) for one in output["days"]] == [
        ("2026-11-09", 0, 75_000, True),
        ("2026-11-10", 75_000, 150_000, False),
    ]


async def test_what_is_not_settled_is_pending(world: World) -> None:
    """At noon of the 30th, of a vendor that takes 24 hours."""
    for begun in ("11-28", "11-29"):
        await world.put(f"{begun} 08:00", f"{begun} 09:00")
    world.site.books.clear()
    found = await world.run("11-27", "11-29")
    named = {(row["from"], row["status"], row["cause"]) for row in found["rows"]}
    assert named == {
        ("2026-11-28", "vendor_missing", "less_booked"),
        ("2026-11-29", "pending", "not_settled"),
    }


async def test_an_open_batch_may_be_what_the_vendor_has_more(world: World) -> None:
    await world.put("11-27 08:00", "11-27 09:00")
    open_batch = await world.begin(at("11-27 20:00"))
    settled = await world.put("11-27 10:00", "11-27 11:00", account="another")
    assert settled.account == "another"
    found = await world.run("11-27", "11-28")
    assert statuses(found) == {"pending"}
    assert {(row["cause"], *row["batches"]) for row in found["rows"]} == {("still_open", open_batch.id)}
    assert found["open_batches"] == 1


@pytest.mark.parametrize(("books_at", "booked_on"), [("end", "11-06"), ("create", "11-05")])
async def test_a_vendor_that_books_on_one_day_is_taken_so(world: World, books_at: str, booked_on: str) -> None:
    await world.put("11-05 23:30", "11-06 00:30", book=False)
    await world.put(f"{booked_on} 10:00", f"{booked_on} 11:00", account="elsewhere")
    await world.plugin.shutdown()
    bill = {**world.plugin.settings.bills["openai"].model_dump(), "books_at": books_at}
    world.plugin.settings = world.plugin.settings.model_copy(update={"bills": {}})
    world.plugins.unregister("reconcile")
    bill["admin_key"] = bill["admin_key"].get_secret_value()
    await world.open(openai=bill)
    found = await world.run()
    assert {(row["from"], row["to"], row["status"]) for row in found["rows"]} == {
        (f"2026-{booked_on}", f"2026-{booked_on}", "match")
    }


async def test_empty_days_on_both_sides_are_a_match(world: World) -> None:
    found = await world.run()
    assert (found["status"], found["rows"], found["drift_usd"]) == ("match", [], "0")


async def test_a_long_time_is_asked_a_month_at_a_time(world: World) -> None:
    await world.put("09-03 10:00", "09-03 14:00")
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.buckets = 10
    found = await world.run("09-01", "11-25")
    assert statuses(found) == {"match"}
    assert len({row["from"] for row in found["rows"]}) == 2
    usage = [one for one in world.site.received if "usage" in one.path]
    assert len(usage) == 4 + 4 + 3, "31, 31 and 26 days, each in pages of ten"


def test_terms_have_no_say_over_an_empty_comparison() -> None:
    from batchmeter_reconcile.figures import Figures
    from batchmeter_reconcile.ours import Ours

    names = Names.of([MINI], [], lambda name: name)
    terms = Terms(day(1), day(2), datetime(2026, 11, 30, tzinfo=UTC), timedelta(hours=24))
    assert compare(Ours(), Figures(day(1) - DAY, day(2) + DAY), names, terms).rows == []
