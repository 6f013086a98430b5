"""Costs of any time, in any groups, are those of the batches one by one, on either engine."""

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from tests.heavy import heavy

from batchmeter.models import Attribution, Cost, LineCounts, ModelUsage, Usage
from batchmeter.spend import check as spend_check
from batchmeter.spend.prune import prune
from batchmeter.spend.spend import Spend

HOUR = 3_600_000
DAY = 24 * HOUR
TIMES = (
    (None, None),
    (0, 40 * DAY),
    (-1, None),
    (None, 35 * DAY + 5 * HOUR),
    (3 * HOUR, 9 * HOUR),
    (3 * HOUR, 26 * HOUR),
    (20 * HOUR, 70 * DAY + HOUR),
    (9 * DAY, 9 * DAY),
    (9 * DAY, 8 * DAY),
    (8 * DAY + HOUR, 39 * DAY - HOUR),
)
"""From and to, counted from the first day."""
GROUPS = (
    "model",
    "month",
    "week",
    "day,team",
    "day,model",
    "week,status",
    "month,tag",
    "day,tag",
    "tag,week",
    "week,metadata.env",
    "team,model",
    "metadata.env,tag",
    "provider,status",
)


@pytest.fixture
async def book(ledger, make, clock):
    """Batches of two months and more, of one model each, with teams, tags and a metadata key."""
    clock.now = begin = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
    await Spend(ledger).label(["env"])
    for number in range(25):
        owner = Attribution(team=(None, "search", "ads")[number % 3], tags=(("x",), ("x", "y"), ())[number % 3 - 1])
        metadata = {"env": "prod"} if number % 4 else {}
        await make.record(ledger, batch=make.batch(f"b{number:02}"), loggers=(), attribution=owner, metadata=metadata)
    found = []
    claims = await ledger.claim_due(owner="w", limit=25, lease_seconds=90 * DAY / 1000)
    for number, claim in enumerate(sorted(claims, key=lambda one: one.tracked.batch_id)):
        clock.now = begin + number * 71 * HOUR  # of every hour of the day
        tracked = claim.tracked
        batch = tracked.batch.model_copy(update={"status": "completed"})
        amount = Decimal(number + 1) / 10**6
        outcome = {
            "cost": Cost(total=amount, known=amount),
            "models": {"ab"[number % 2]: ModelUsage(lines=1, usage=Usage(input_tokens=number), cost=amount)},
            "usage": Usage(input_tokens=number),
            "request_counts": LineCounts(total=1, succeeded=1),
        }
        settlement = make.settlement("openai", batch).model_copy(update=outcome)
        assert await ledger.settle(claim, settlement, {}, make.ending("openai", batch))
        found.append((tracked.submission, settlement, clock.now))
    return begin, found


async def test_any_time_is_summed_as_if_batch_by_batch(ledger, book):
    begin, found = book
    every = list(itertools.product(TIMES, GROUPS))
    for (since, until), group_by in every[:: heavy(1, 3)]:  # 13 groups: each time and each group has its turns
        start, end = (None if moment is None else begin + moment for moment in (since, until))
        inside = [one for one in found if (start is None or one[2] >= start) and (end is None or one[2] < end)]
        report = await Spend(ledger).report(group_by=group_by, since=start, until=end)
        expected = Counter()
        for one in inside:
            for names in itertools.product(*(names_of(name, *one) for name in group_by.split(","))):
                expected[names] += one[1].cost.known
        assert {tuple(row.groups.values()): row.known for row in report.data} == expected, (since, until, group_by)
        whole = sum(settlement.cost.known for _, settlement, _ in inside)
        assert (report.total.batches, report.total.known) == (len(inside), whole)


def names_of(name, submission, settlement, at):
    time = datetime.fromtimestamp(at / 1000, UTC)
    year, week, _ = time.isocalendar()
    return {
        "model": list(settlement.models),
        "team": [submission.attribution.team],
        "tag": list(submission.attribution.tags) or [None],
        "metadata.env": [submission.metadata.get("env")],
        "provider": ["openai"],
        "status": ["completed"],
        "day": [time.date().isoformat()],
        "week": [f"{year}-W{week:02}"],
        "month": [f"{time:%Y-%m}"],
    }[name]


async def test_filters_count_only_what_has_the_name(ledger, book):
    begin, found = book

    async def known(group_by="day", **asked):
        return (await Spend(ledger).report(group_by=group_by, **asked)).total.known

    def sum_of(test):
        return sum(settlement.cost.known for submission, settlement, _ in found if test(submission))

    assert await known(where={"team": "search"}) == sum_of(lambda one: one.attribution.team == "search")
    assert await known(where={"team": None, "tag": "x"}) == sum_of(
        lambda one: one.attribution.team is None and "x" in one.attribution.tags
    )
    assert await known(where={"metadata.env": None}) == sum_of(lambda one: not one.metadata)
    part = {"since": begin + HOUR, "until": begin + 50 * DAY + HOUR}
    for where in ({"tag": None}, {"model": "a", "metadata.env": "prod"}):
        whole = await known(where=where)
        assert 0 < await known(where=where, **part) < whole
    assert await known(where={"key": ""}) == 0, "no name is empty"


async def test_pruned_batches_are_in_the_report(ledger, book, clock):
    before = await Spend(ledger).report(group_by="team,model")
    clock.advance(1)
    assert await prune(ledger, settled_before=clock.now) == len(book[1])
    assert await Spend(ledger).report(group_by="team,model") == before


async def test_days_of_one_thing_are_those_of_its_filter(ledger, book):
    for by, name in (("team", "search"), ("team", None), ("model", "a"), ("status", "completed")):
        days = await Spend(ledger).report(group_by="day", where={by: name})
        both = await Spend(ledger).report(group_by=f"day,{by}")
        expected = {row.groups["day"]: row.known for row in both.data if row.groups[by] == name}
        assert {row.group: row.known for row in days.data} == expected, (by, name)
        assert expected


async def test_an_update_adds_the_sums_up_anew_once(ledger, book):
    before = await Spend(ledger).report(group_by="day,team")
    await ledger.database.write(lambda session: session.run(session.statement(OLDER), least=32))
    await ledger.database.write(lambda session: session.run("move_spend_mark", seq=-1))
    assert await spend_check.check(ledger.database) == []
    first, second = await asyncio.gather(*(Spend(ledger).report(group_by="day,team") for _ in range(2)))
    assert first == second == before
    assert await spend_check.check(ledger.database) == []
    assert await Spend(ledger).metadata_keys() == ["env"]


OLDER = "DELETE FROM batchmeter.spend_sum WHERE kind >= %(least)s"
"""As before there were sums by one thing alone."""
