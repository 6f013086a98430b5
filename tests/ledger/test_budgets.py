"""Budgets on both engines: what is reserved, settled, given back and told, case by case."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from batchmeter.access import Access
from batchmeter.cli.ledger_copy import copy_ledger
from batchmeter.errors import BudgetExceededError, QueueFullError, UsageError
from batchmeter.events import DurationTotals, Subscription
from batchmeter.host import Total
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Attribution
from batchmeter.pricebook.book import PriceBook
from batchmeter.spend.prune import prune
from batchmeter_budgets.status import drifts, standings, visible
from batchmeter_proxy.keyring import KeyLimits, Keyring
from batchmeter_proxy.keys import create_key

from .budgets_world import MODEL, Est, Share, World, est, tokens

STORES = ("budgets", "proxy")
EDGES = {
    1: "two submits race for the last dollar: test_edge_01_two_race_for_the_last_dollar",
    2: "64 take from one budget: test_edge_02_sixty_four_take_from_one_budget",
    3: "made while batches are open, adopt_open: test_edge_03_a_budget_made_while_batches_are_open",
    4: "limit lowered below use: test_edge_04_a_limit_lowered_below_use_cancels_nothing",
    5: "day of 23 or 25 hours: test_edge_05_a_day_of_23_or_25_hours",
    6: "period ends between reserve and record: test_edge_06_a_period_ends_between_reserve_and_record",
    7: "clock goes back: test_edge_07_a_clock_that_goes_back",
    8: "limit 0: test_edge_08_a_limit_of_0_lets_only_free_batches_through",
    9: "negative, NaN: test_edge_09_10_wrong_settings_are_refused_by_name",
    10: "another currency: test_edge_09_10_wrong_settings_are_refused_by_name",
    11: "3 models, 2 model budgets: test_edge_11_three_models_in_two_model_budgets",
    12: "model known only after the answer: test_edge_12_a_model_known_only_after_the_answer",
    13: "alias: test_edge_13_an_alias_counts_as_what_it_is_priced_as",
    14: "key revoked: test_edge_14_a_revoked_key_keeps_its_reservations",
    15: "pruned: test_edge_15_pruned_batches_stay_counted",
    16: "copied SQLite <-> PostgreSQL: test_edge_16_a_copied_ledger_goes_on_with_open_reservations",
    17: "settled twice: test_edge_17_an_ending_told_twice_settles_once",
    18: "repriced to unknown: test_edge_18_a_cost_repriced_to_unknown_is_uncertain_again",
    19: "free lines: test_edge_19_free_lines_take_nothing",
    20: "cancelled at once: test_edge_20_a_batch_cancelled_at_once_gives_all_back",
    21: "vendor's queue, then refusal: test_edge_21_a_wait_for_the_vendor_s_queue_keeps_the_money",
    22: "killed between reserve and create: test_edge_22_killed_between_reserve_and_create",
    23: "one hot budget, 8 processes: test_eight_processes_and_kill_9_break_no_limit",
}
"""Of the reference; the rate of the last one is measured by benchmarks/budgets.py."""

D = Decimal
TEAM = {"limit": "10", "scope": {"team": "search"}, "reserve": "upper"}


@pytest.fixture
async def world(ledger, clock):
    made = World(ledger, clock)
    yield made
    await made.close()


def millis(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def test_money_is_reserved_settled_and_given_back(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    assert await world.sums("search") == (0, 4, 0)
    await world.end(batch, "1.234567890123456789")
    assert await world.sums("search") == (D("1.234567890123456789"), 0, 0)
    other = await world.submit(est("4"), team="ads")
    await world.end(other, "3")
    assert (await world.standing("search")).left == D("8.765432109")


async def test_a_refusal_names_what_is_left_and_reserves_nothing(world):
    world.clock.now = millis("2026-11-30T12:00:00")
    await world.open(search=TEAM)
    await world.submit(est("8"), team="search")
    with pytest.raises(BudgetExceededError) as refused:
        await world.reserve(est("3"), team="search")
    error = refused.value
    assert str(error) == (
        "Budget 'search' has $2.00 of $10.00 left until 2026-12-01 00:00 UTC (spent $0.00, reserved $8.00); "
        "this batch may cost up to $3.00."
    )
    assert (error.budget, error.limit, error.spent, error.reserved, error.amount) == ("search", 10, 0, 8, 3)
    assert (error.until, error.retry_after, error.code) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        43_200,
        "budget_exceeded",
    )
    assert await world.sums("search") == (0, 8, 0)
    assert await world.budgets.book.tables.rows("loose", before=world.clock.now + 1, limit=9) == []


async def test_all_budgets_take_it_or_none_does(world):
    await world.open(whole={"limit": "100"}, search=TEAM, small={"limit": "1", "scope": {"account": "openai"}})
    with pytest.raises(BudgetExceededError, match="'small'"):
        await world.reserve(est("2"), team="search")
    assert await world.sums("whole") == await world.sums("search") == (0, 0, 0)
    await world.reserve(est("1"), team="search")
    assert [(await world.sums(name))[1] for name in ("whole", "search", "small")] == [1, 1, 1]


async def test_watch_refuses_nothing_and_alerts(world):
    await world.open(search={**TEAM, "mode": "watch"})
    batch = await world.submit(est("30"), team="search")
    await world.end(batch, "11")
    assert await world.sums("search") == (11, 0, 0)
    told = {(one.kind, one.threshold) for one in await world.alerts()}
    assert told == {*(("threshold", n) for n in (50, 80, 100)), *(("spent", n) for n in (50, 80, 100)), ("exceeded", 0)}


async def test_each_crossing_is_told_once(world):
    await world.open(search=TEAM)
    first = await world.submit(est("6"), team="search")
    await world.end(first, "0")
    await world.submit(est("6"), team="search")
    (alert,) = await world.alerts()
    assert (alert.kind, alert.threshold, alert.limit, alert.reserved, alert.attribution.team) == (
        "threshold",
        50,
        10,
        6,
        "search",
    )
    assert alert.message == "Budget 'search' has 50 % of $10.00 taken: $0.00 spent, $6.00 reserved."


async def test_an_alert_that_a_crash_left_is_told_later(world, monkeypatch):
    await world.open(search=TEAM)

    async def crash(event: object) -> bool:
        raise RuntimeError("killed")

    monkeypatch.setattr(world.budgets.book.host, "record", crash)
    with pytest.raises(RuntimeError):
        await world.reserve(est("6"), team="search")
    monkeypatch.undo()
    assert await world.alerts() == []
    await world.budgets.upkeep.look()
    await world.budgets.upkeep.look()
    assert [one.threshold for one in await world.alerts()] == [50]


async def test_a_dry_run_says_what_would_happen_and_keeps_nothing(world):
    await world.open(search=TEAM, queue={"limit_tokens": 205, "full": "wait"})
    await world.reserve(est("8"), team="search")

    async def asked(estimate, **who):
        await world.budgets.before_submit(replace(world.plan(**who), dry_run=True), estimate)

    await asked(Est({MODEL: Share(D(2), input_tokens=0)}), team="search")
    for estimate, error in (
        (est("3"), BudgetExceededError),
        (None, BudgetExceededError),
        (tokens(150), QueueFullError),
    ):
        with pytest.raises(error):
            await asked(estimate, team="search")
    assert await world.sums("search") == (0, 8, 0)
    assert {one.kind for one in await world.alerts()} == {"threshold"}
    tables = world.budgets.book.tables
    assert await tables.rows("waiting", budget_id=(await world.standing("queue")).budget.id, bucket="", seen=0) == []


CHOSEN = (
    ({"reserve": "upper"}, Est({MODEL: Share(D(5), D(1))}), 5),
    ({"reserve": "expected"}, Est({MODEL: Share(D(5), D(1))}), 1),
    ({}, Est({MODEL: Share(None, D(1))}), D("1.2")),
    ({}, Est({MODEL: Share(D("0.0000000001"), None)}), D("0.000000001")),
    ({"on_unknown": "allow"}, est(gpt="2", other=None), 2),
    ({"on_unknown": {"usd_per_line": "0.5"}}, Est({"a": Share(D(2)), "b": Share(None, requests=3)}), D("3.5")),
)


async def test_what_is_reserved_is_chosen(world):
    """Each case in a bucket of its own."""
    await world.open()
    for number, (settings, estimate, reserved) in enumerate(CHOSEN):
        await world.restart(**{f"b{number}": {"limit": "100", "scope": {"team": f"t{number}"}, **settings}})
        await world.reserve(estimate, team=f"t{number}")
        assert (await world.sums(f"b{number}"))[1] == reserved, (settings, estimate)


UNTOLD = (
    ({}, est(None), "cost_unknown"),
    ({"reserve": "expected"}, est("5"), "cost_unknown"),
    ({}, None, "input_file_not_checked"),
)


async def test_what_nobody_can_tell_is_refused_or_told(world):
    await world.open()
    for number, (settings, estimate, code) in enumerate(UNTOLD):
        name, budget = f"b{number}", {"limit": "100", "scope": {"team": f"t{number}"}, **settings}
        await world.restart(**{name: budget})
        planned = world.plan(team=f"t{number}")
        with pytest.raises(BudgetExceededError, match="cannot tell what this batch may cost") as refused:
            await world.budgets.before_submit(planned, estimate)
        assert (refused.value.code, refused.value.amount) == (code, None)
        assert [one for one in await world.alerts() if one.budget == name] == [], code
        await world.restart(**{name: {**budget, "mode": "watch"}})
        await world.budgets.before_submit(world.plan(team=f"t{number}"), estimate)
        assert [one.kind for one in await world.alerts() if one.budget == name] == ["unreserved"], code


async def test_each_team_has_a_bucket_of_its_own(world):
    await world.open(teams={"limit": "10", "scope": {"team": "*", "tag": "nightly"}})
    await world.reserve(est("9"), team="search", tags=("nightly",))
    await world.reserve(est("9"), team="ads", tags=("nightly",))
    await world.reserve(est("9"), team="ads")
    await world.reserve(est("9"))
    with pytest.raises(BudgetExceededError, match=r"Budget 'teams' has \$1"):
        await world.reserve(est("2"), team="ads", tags=("nightly", "x"))
    assert (await world.standing("teams", "team=ads")).left == 1
    assert (await world.standing("teams", "team=search")).left == 1


async def test_thousands_of_buckets_are_neither_read_nor_judged_one_by_one(world, monkeypatch):
    world.clock.now = millis("2026-11-10T12:00:00")
    await world.open(teams={"limit": "10", "scope": {"team": "*"}, "reserve": "upper"})
    hostile = "a&team=b%\x01'; DROP TABLE x; --\n" + "é" * 300
    for team in ("t1", hostile):
        await world.submit(est("9"), team=team)
    tables, (budget,) = world.budgets.book.tables, await world.budgets.book.live()
    period = budget.period(world.clock.now)
    rows = [
        {"budget_id": budget.id, "bucket": f"team=n{n}", "start": period.start, "ends": period.end} for n in range(2000)
    ]
    await tables.write(lambda session: session.each("add_period", rows))
    found = await standings(world.budgets.book, budget)
    assert (len(found), {one.name for one in found if one.reserved}) == (1000, {"teams (t1)", f"teams ({hostile})"})
    for team, left in (("n1999", 10), (hostile, 1), ("n2000", None), (None, None)):
        mine = await visible(world.budgets.book, Attribution(team=team), None)
        assert [one.left for one in mine] == ([] if left is None else [left])
    asked = []
    rows_of = tables.rows

    async def count(statement, /, **parameters):
        asked.append(statement)
        return await rows_of(statement, **parameters)

    monkeypatch.setattr(tables, "rows", count)
    world.clock.advance(86_400)
    await world.budgets.upkeep.look()
    assert asked.count("days") == 2
    assert sorted(one.bucket for one in await world.alerts("projected")) == sorted(
        one.bucket for one in found if one.reserved
    )
    with pytest.raises(BudgetExceededError):
        await world.reserve(est("2"), team=hostile)


async def test_drift_tells_how_far_reservations_are_off(world):
    await world.open(search={**TEAM, "limit": "100"})
    for cost in ("1", "2"):
        await world.end(await world.submit(est("4"), team="search"), cost)
    await world.end(await world.submit(est("4"), team="search"), None)
    (drift,) = await drifts(world.budgets.book, await world.budgets.book.find("search"))
    assert drift == {"models": [MODEL], "basis": "upper", "batches": 2, "reserved": "8", "spent": "3", "drift": 0.375}


async def test_enqueued_tokens_are_counted_while_batches_are_open(world):
    await world.open(keys={"limit_tokens": 100, "scope": {"key": "*"}})
    batch = await world.submit(tokens(60), key="k1")
    await world.submit(tokens(60), key="k2")
    with pytest.raises(QueueFullError, match="60 tokens of 100 tokens are enqueued") as full:
        await world.reserve(tokens(60), key="k1")
    assert (full.value.waits, full.value.retry_after, full.value.code) == (False, 60, "enqueued_token_limit")
    await world.end(batch, None)
    await world.reserve(tokens(60), key="k1")
    assert (await world.standing("keys", "key=k1")).left == 40


async def test_limits_of_accounts_and_keys_hold_for_their_batches(world):
    await world.open()
    limits = {"gpt-5*": 100}
    batch = await world.submit(tokens(60), enqueued_tokens=limits, key="k1")
    for enqueued, account, fits in (
        (limits, "openai", False),
        ({"gpt-6": 10}, "openai", True),
        ({}, "openai", True),
        (limits, "azure", True),
    ):
        planned = world.plan(enqueued_tokens=enqueued, account=account)
        if fits:
            await world.budgets.before_submit(planned, tokens(60))
        else:
            with pytest.raises(QueueFullError, match="60 tokens of 100 tokens") as full:
                await world.budgets.before_submit(planned, tokens(60))
            assert full.value.waits
            waiting = planned
    await world.budgets.before_submit(world.plan(enqueued_tokens=limits), None)
    assert (await world.standing("account/openai/gpt-5*")).left == 40, "no estimate: the vendor's own limit decides"
    with pytest.raises(QueueFullError, match="never fit: split it") as full:
        await world.reserve(tokens(101), enqueued_tokens=limits)
    assert not full.value.waits
    await world.end(batch, "0")
    await world.budgets.before_submit(waiting, tokens(60))
    await world.reserve(tokens(60), enqueued_tokens={"gpt-5*": 200})
    assert (await world.standing("account/openai/gpt-5*")).left == 80, "another limit, the same sums"
    keyring = await Keyring.open(Access(world.ledger))
    key, _ = await create_key(keyring, limits=KeyLimits(enqueued_tokens=100))
    await world.reserve(tokens(90), key=key.id)
    with pytest.raises(QueueFullError) as full:
        await world.reserve(tokens(20), key=key.id)
    assert (full.value.waits, full.value.code) == (False, "enqueued_token_limit")
    assert [one.source for one in await world.budgets.book.shown()] == ["limit"] * 4
    assert await world.alerts() == []


async def test_who_waits_gets_through_in_turn_by_key(world):
    await world.open(queue={"limit_tokens": 100, "scope": {"account": "openai"}, "full": "wait"})
    batch = await world.submit(tokens(100), key="k0")
    waiting = [world.plan(key=key) for key in ("k1", "k1", "k2")]
    for planned in waiting:
        with pytest.raises(QueueFullError) as full:
            await world.budgets.before_submit(planned, tokens(90))
        assert full.value.waits
        world.clock.advance(1)
    await world.end(batch, "0")
    with pytest.raises(QueueFullError, match="3 submissions wait"):
        await world.reserve(tokens(5), key="k3")
    order = []
    for _ in range(3):
        for planned in reversed(waiting):
            try:
                await world.budgets.before_submit(planned, tokens(90))
            except QueueFullError:
                continue
            order.append(waiting.index(planned))
            await world.end(await world.send(planned), "0")
            break
    assert order[:1] == [0]
    assert sorted(order) == [0, 1, 2]


async def test_unknown_cost_stays_until_it_is_written_off(world):
    await world.open(search=TEAM, alerts={"unknown_cost": "3"})
    batch = await world.submit(est("8"), team="search")
    await world.end(batch, None, known="1.5")
    assert await world.sums("search") == (D("1.5"), 0, D("6.5"))
    (unknown,) = await world.alerts("unknown_cost")
    assert (unknown.subject, unknown.amount) == (batch.id, D("6.5"))
    with pytest.raises(BudgetExceededError):
        await world.reserve(est("3"), team="search")
    world.clock.advance(86_401)
    await world.budgets.upkeep.look()
    (old,) = await world.alerts("uncertain")
    assert old.batch_id == batch.id
    assert await world.budgets.settler.write_off(batch.id, "the vendor will not say") == 1
    assert await world.budgets.settler.write_off(batch.id, "again") == 0
    assert await world.sums("search") == (D("1.5"), 0, 0)
    await world.revise(batch, "2")
    assert await world.sums("search") == (2, 0, 0)


async def test_an_adopted_batch_counts_where_it_was_made(world):
    world.clock.now = millis("2026-12-01T00:10:00")
    await world.open(search={**TEAM, "limit": "1"})
    batch = await world.adopt(team="search", batch={"created_at": millis("2026-12-01T00:05:00") // 1000})
    assert await world.sums("search") == (0, 0, 0)
    await world.end(batch, "3")
    assert await world.sums("search") == (3, 0, 0)
    assert {one.kind for one in await world.alerts()} == {"threshold", "spent", "exceeded"}
    old = await world.adopt(team="search", batch={"created_at": millis("2026-11-30T23:55:00") // 1000})
    await world.end(old, "3")
    assert await world.sums("search") == (3, 0, 0), "it was made before the budget's first period"


async def test_a_raise_lasts_until_its_time(world):
    await world.open(search=TEAM)
    await world.reserve(est("9"), team="search")
    world.clock.advance(1)
    await world.budgets.book.raise_limit("search", 5 * 10**9, world.clock.now + 60_000, "launch", who="k1")
    (raised, made) = await world.budgets.book.changes(await world.budgets.book.find("search"))
    assert (made["action"], made["who"]) == ("made", "configuration")
    assert (raised["who"], raised["settings"]["amount"], raised["settings"]["reason"]) == ("k1", "5", "launch")
    await world.reserve(est("5"), team="search")
    world.clock.advance(61)
    with pytest.raises(BudgetExceededError):
        await world.reserve(est("0.5"), team="search")
    assert (await world.standing("search")).left == 0


async def test_wrong_sums_are_found_and_mended(world):
    await world.open(search=TEAM)
    await world.end(await world.submit(est("4"), team="search"), "1.5")
    await world.submit(est("2"), team="search")
    assert await world.budgets.upkeep.check() == []
    tables = world.budgets.book.tables
    one = await world.standing("search")
    broken = {"budget_id": one.budget.id, "bucket": "", "start": one.period.start}
    zeros = {"uncertain": 0, "spent": 1, "spent_atto": 999_999_999, "batches": 0}
    await tables.write(lambda session: session.each("move", [{**broken, "reserved": 7, **zeros}]))
    (wrong,) = await world.budgets.upkeep.check(repair=True)
    assert wrong.wanted["reserved"] - wrong.found["reserved"] == -7
    assert await world.budgets.upkeep.check() == []
    assert await world.sums("search") == (D("1.5"), 2, 0)


async def test_a_repair_waits_for_what_is_taken_at_one_time(server_url, clock, a_lock_is_waited_for):
    """On PostgreSQL, where writers are many: a reservation that is not committed yet is lost to no repair."""
    async with AsyncExitStack() as stack:
        worlds = []
        for _ in range(2):
            ledger = open_ledger(server_url, clock=clock)
            await ledger.open()
            stack.push_async_callback(ledger.aclose)
            worlds.append(await World(ledger, clock).open(search=TEAM))
            stack.push_async_callback(worlds[-1].close)
        one, other = worlds
        await one.submit(est("4"), team="search")
        where = {"budget_id": (await one.standing("search")).budget.id, "bucket": ""}
        where["start"] = (await one.standing("search")).period.start
        nothing = {"reserved": 0, "uncertain": 0, "spent": 0, "spent_atto": 0, "batches": 0}
        await one.budgets.book.tables.write(lambda session: session.each("move", [{**where, **nothing, "batches": 1}]))

        async def take(session):
            (row,) = await session.rows("reservations", budget_id=where["budget_id"], limit=1)
            await session.each("add_reservation", [{**dict(row), "submission": "late", "amount": 5}])
            await session.each("move", [{**where, **nothing, "reserved": 5, "batches": 1}])
            repair.append(asyncio.create_task(other.budgets.upkeep.check(repair=True)))
            await a_lock_is_waited_for()

        repair = []
        await one.budgets.book.tables.write(take)
        assert len(await repair[0]) == 1
        assert await one.budgets.upkeep.check() == []


async def test_a_delivery_that_was_missed_is_counted_by_a_check(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    await world.end(batch, "1.5", feed=False)
    assert await world.budgets.upkeep.count_endings(0) == 1
    await world.feed()
    assert await world.sums("search") == (D("1.5"), 0, 0)


async def test_a_pace_that_breaks_the_limit_is_told_once_a_day(world):
    world.clock.now = millis("2026-11-01T00:00:00")
    await world.open(search={**TEAM, "limit": "100", "alerts": []})
    for _ in range(4):
        await world.end(await world.submit(est("5"), team="search"), "5")
        world.clock.advance(86_400)
    await world.budgets.upkeep.look()
    await world.budgets.upkeep.look()
    (alert,) = await world.alerts()
    assert (alert.kind, alert.projected) == ("projected", 150)
    world.clock.advance(86_400)
    await world.budgets.upkeep.look()
    assert len(await world.alerts()) == 2


async def test_late_and_failed_batches_are_told_once(world):
    await world.open(alerts={"batch_late": 2, "batch_failed": True})
    late, failed = await world.submit(team="search"), await world.submit(team="search")
    await world.end(failed, "0", status="expired")
    world.clock.advance(3 * 3600)
    for _ in range(2):
        await world.budgets.upkeep.look()
    found = {one.kind: one for one in await world.alerts()}
    assert (found["batch_late"].subject, found["batch_late"].hours) == (late.id, 3)
    assert (found["batch_failed"].subject, found["batch_failed"].attribution.team) == (failed.id, "search")
    assert len(await world.alerts()) == 2
    await world.end(late, "1")
    assert await world.budgets.book.tables.rows("open_since", before=world.clock.now + 1, limit=9) == []


async def test_an_account_s_own_history_says_what_is_late(world):
    await world.open(alerts={"batch_late": "p99"})
    minutes = {"openai": {10: 60, 600: 1}}
    totals = [
        Total("openai", name, "completed", durations=DurationTotals(minutes=one)) for name, one in minutes.items()
    ]

    async def read():
        return totals

    world.budgets.book.host.totals = read
    batch = await world.submit(team="search")
    world.clock.advance(9 * 3600)
    await world.budgets.upkeep.look()
    assert await world.alerts() == []
    world.clock.advance(2 * 3600)
    await world.budgets.upkeep.look()
    assert [one.subject for one in await world.alerts()] == [batch.id]


async def test_owed_loggers_and_old_prices_are_told(world):
    await world.open(alerts={"logger_owed": 1, "prices_old": 30})
    await world.ledger.subscribe((Subscription("slow", frozenset({"acreate_batch"})),))
    await world.submit(team="search")
    world.budgets.book.host._prices = PriceBook.load({})
    world.clock.now = millis("2028-01-01T00:00")
    for _ in range(2):
        await world.budgets.upkeep.look()
    kinds = sorted((one.kind, one.subject) for one in await world.alerts())
    assert [kind for kind, _ in kinds] == ["logger_owed", "prices_old"]
    assert kinds[0][1] == "slow"


def test_every_edge_case_of_the_reference_has_its_test():
    folder = Path(__file__).parents[1]
    files = ("ledger/test_budgets.py", "ledger/test_budgets_promise.py", "proxy/test_budgets.py")
    text = "".join((folder / name).read_text() for name in files)
    assert sorted(EDGES) == list(range(1, 24))
    assert [one for one in EDGES.values() if f"def {one.rpartition(' ')[2]}(" not in text] == []


# Edge cases, by their numbers in the reference.


async def test_edge_01_two_race_for_the_last_dollar(world):
    await world.open(search={**TEAM, "limit": "1"})
    done = await asyncio.gather(*(world.reserve(est("1"), team="search") for _ in range(2)), return_exceptions=True)
    assert sorted(isinstance(one, BudgetExceededError) for one in done) == [False, True]
    assert await world.sums("search") == (0, 1, 0)


async def test_edge_02_sixty_four_take_from_one_budget(world):
    await world.open(search=TEAM)
    done = await asyncio.gather(*(world.reserve(est("0.3"), team="search") for _ in range(64)), return_exceptions=True)
    assert sum(not isinstance(one, Exception) for one in done) == 33
    assert await world.sums("search") == (0, D("9.9"), 0)


@pytest.mark.parametrize("adopt", [False, True])
async def test_edge_03_a_budget_made_while_batches_are_open(world, adopt, monkeypatch):
    await world.open()
    ended, still = await world.submit(team="search"), await world.submit(team="search")
    await world.end(ended, "2")
    world.clock.advance(60)
    await world.restart(search={**TEAM, "adopt_open": adopt})

    async def estimate(account: str, file_id: str) -> Est:
        return est("4")

    monkeypatch.setattr(world.budgets.book.host, "estimate", estimate)
    await world.budgets.upkeep.look()
    await world.budgets.upkeep.look()
    assert await world.sums("search") == (2, 4 if adopt else 0, 0), "what ended in the period counts"
    await world.end(still, "3")
    assert await world.sums("search") == (5, 0, 0)


async def test_edge_04_a_limit_lowered_below_use_cancels_nothing(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("8"), team="search")
    await world.restart(search={**TEAM, "limit": "5"})
    with pytest.raises(BudgetExceededError, match=r"has \$0.00 of \$5.00 left"):
        await world.reserve(est("0.01"), team="search")
    await world.end(batch, "4")
    assert await world.sums("search") == (4, 0, 0)
    await world.reserve(est("1"), team="search")


async def test_two_configurations_of_one_ledger_keep_each_other_s_budgets(world):
    await world.open(search=TEAM)
    await world.reserve(est("4"), team="search")
    other = await World(world.ledger, world.clock).open(ads={"limit": "5", "scope": {"team": "ads"}})
    for one in (world, other):
        await one.budgets.book.reload()
        assert [(await one.sums(name))[1] for name in ("search", "ads")] == [4, 0]
    with pytest.raises(BudgetExceededError):
        await other.reserve(est("7"), team="search")
    book = other.budgets.book
    assert book.unnamed == ["search"]
    with pytest.raises(UsageError, match="stands in the configuration"):
        await book.delete("ads", who="command")
    await book.delete("search", who="command")
    await world.budgets.book.reload()
    await world.reserve(est("7"), team="search")
    await other.close()
    await world.restart(search=TEAM)
    await world.reserve(est("9"), team="search")
    assert await world.sums("search") == (0, 9, 0), "made anew by the process whose configuration names it"


async def test_edge_05_a_day_of_23_or_25_hours(world):
    await world.open(day={"limit": "1", "period": "day", "timezone": "Europe/Berlin"})
    for now, start, end in (
        ("2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("2026-07-01T21:59", "2026-06-30T22:00", "2026-07-01T22:00"),
    ):
        world.clock.now = millis(now)
        period = (await world.standing("day")).period
        assert (period.start, period.end) == (millis(start), millis(end)), now


async def test_edge_06_a_period_ends_between_reserve_and_record(world):
    world.clock.now = millis("2026-11-30T23:59:59")
    await world.open(search=TEAM)
    planned = await world.reserve(est("10"), team="search")
    world.clock.advance(2)
    batch = await world.send(planned)
    await world.reserve(est("10"), team="search")
    await world.end(batch, "7")
    assert await world.sums("search") == (0, 10, 0), "December's is its own"
    rows = await world.budgets.book.tables.rows("periods", since=0)
    assert [(row["start"], row["spent"], row["reserved"]) for row in rows] == [
        (millis("2026-11-01T00:00"), 7 * 10**9, 0),
        (millis("2026-12-01T00:00"), 0, 10 * 10**9),
    ]


async def test_edge_07_a_clock_that_goes_back(world):
    world.clock.now = millis("2026-12-01T00:00:01")
    await world.open(search=TEAM)
    planned = await world.reserve(est("6"), team="search")
    world.clock.advance(-10)
    await world.reserve(est("6"), team="search")
    world.clock.advance(11)
    batch = await world.send(planned)
    await world.end(batch, "5")
    assert await world.sums("search") == (5, 0, 0)
    assert await world.budgets.upkeep.check() == []


async def test_edge_08_a_limit_of_0_lets_only_free_batches_through(world):
    await world.open(search={**TEAM, "limit": "0"})
    await world.reserve(est("0"), team="search")
    with pytest.raises(BudgetExceededError):
        await world.reserve(est("0.000000000000000001"), team="search")


async def test_edge_11_three_models_in_two_model_budgets(world):
    await world.open(
        minis={"limit": "10", "scope": {"model": "gpt-5-mini*"}},
        each={"limit": "10", "scope": {"model": "*"}},
        whole={"limit": "100"},
    )
    batch = await world.submit(est(gpt_5_mini="1", gpt_5="2", gpt_6="3"))
    assert (await world.sums("minis"))[1] == 1
    assert (await world.sums("each", "model=gpt-5"))[1] == 2
    assert (await world.sums("whole"))[1] == 6
    await world.end(batch, models={"gpt-5-mini-2025-08-07": "0.5", "gpt-5": "1", "gpt-6": None})
    assert await world.sums("minis") == (D("0.5"), 0, 0)
    assert await world.sums("each", "model=gpt-5-mini") == (D("0.5"), 0, 0)
    assert await world.sums("each", "model=gpt-6") == (0, 0, 3)
    assert await world.sums("whole") == (D("1.5"), 0, D("4.5"))


async def test_edge_12_a_model_known_only_after_the_answer(world):
    await world.open(
        family={"limit": "10", "scope": {"model": "gpt-5-mini"}},
        dated={"limit": "10", "scope": {"model": "gpt-5-mini-2025-08-07"}},
    )
    batch = await world.submit(est("2"))
    assert [(await world.sums(name))[1] for name in ("family", "dated")] == [2, 0]
    await world.end(batch, models={"gpt-5-mini-2025-08-07": "1"})
    assert [(await world.sums(name)) for name in ("family", "dated")] == [(1, 0, 0), (1, 0, 0)]


async def test_edge_13_an_alias_counts_as_what_it_is_priced_as(world):
    await world.open(each={"limit": "10", "scope": {"model": "*"}})
    batch = await world.submit(Est({"our-deployment": Share(D(2), priced_as="gpt-5-mini")}))
    assert (await world.sums("each", "model=gpt-5-mini"))[1] == 2
    await world.end(batch, models={"gpt-5-mini-2025-08-07": "1"})
    assert await world.sums("each", "model=gpt-5-mini") == (1, 0, 0)


async def test_edge_14_a_revoked_key_keeps_its_reservations(world):
    await world.open(keys={"limit": "10", "scope": {"key": "*"}})
    keyring = await Keyring.open(Access(world.ledger))
    key, _ = await create_key(keyring, name="nightly")
    batch = await world.submit(est("4"), key=key.id)
    assert await keyring.revoke_key(key.id)
    assert (await world.sums("keys", f"key={key.id}"))[1] == 4
    await world.end(batch, "1")
    assert await world.sums("keys", f"key={key.id}") == (1, 0, 0)


async def test_edge_15_pruned_batches_stay_counted(world):
    await world.open(search={**TEAM, "period": "total"})
    await world.end(await world.submit(est("4"), team="search"), "1")
    open_one = await world.submit(est("3"), team="search")
    for stored in await world.events():
        await world.ledger.database.write(_delivered(stored.seq))
    world.clock.advance(86_400)
    assert await prune(world.ledger, settled_before=world.clock.now) == 1
    await world.budgets.upkeep.look()
    assert await world.sums("search") == (1, 3, 0)
    assert await world.budgets.upkeep.check() == []
    await world.end(open_one, "1")
    assert await world.sums("search") == (2, 0, 0)


def _delivered(seq: int):
    async def work(session):
        text = "UPDATE batchmeter.delivery SET state = 'delivered' WHERE event_seq = %(seq)s"
        await session.run(session.statement(text), seq=seq)

    return work


async def test_edge_16_a_copied_ledger_goes_on_with_open_reservations(world, tmp_path, clock, url):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    target = open_ledger(str(tmp_path / "copy.db"), clock=clock)
    await target.open()
    try:
        await copy_ledger(world.ledger, target)
        other = await World(target, clock, fed=world.fed).open(search=TEAM)
        assert await other.sums("search") == (0, 4, 0)
        await other.end(batch, "1")
        assert await other.sums("search") == (1, 0, 0)
        await other.close()
    finally:
        await target.aclose()


async def test_edge_17_an_ending_told_twice_settles_once(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    await world.end(batch, "1.5", feed=False)
    (ending,) = [one.event for one in await world.events("batch_success")]
    await asyncio.gather(*(world.hear(ending) for _ in range(4)))
    await world.revise(batch, "2.5", revision=3)
    await world.revise(batch, "9", revision=2)
    await world.hear(ending)
    assert await world.sums("search") == (D("2.5"), 0, 0)


async def test_edge_18_a_cost_repriced_to_unknown_is_uncertain_again(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    await world.end(batch, "1.5")
    await world.revise(batch, None, known="1")
    assert await world.sums("search") == (1, 0, 3)
    await world.revise(batch, "1.75", revision=3)
    assert await world.sums("search") == (D("1.75"), 0, 0)


async def test_edge_19_free_lines_take_nothing(world):
    await world.open(search={**TEAM, "limit": "0"})
    await world.end(await world.submit(est("0"), team="search"), "0")
    assert await world.sums("search") == (0, 0, 0)
    assert await world.alerts() == []


async def test_edge_20_a_batch_cancelled_at_once_gives_all_back(world):
    await world.open(search=TEAM)
    batch = await world.submit(est("4"), team="search")
    await world.end(batch, "0", status="cancelled")
    assert await world.sums("search") == (0, 0, 0)


async def test_edge_21_a_wait_for_the_vendor_s_queue_keeps_the_money(world):
    await world.open(search=TEAM)
    planned = await world.reserve(est("6"), team="search")
    submission = Submission(account="openai", provider="openai")
    for _ in range(3):
        await world.ledger.open_intent(Intent(planned.id, submission))
        await world.ledger.close_intent(planned.id, "its queue is full")
        world.clock.advance(600)
        await world.budgets.upkeep.look()
        await world.budgets.before_submit(planned, est("6"))
        assert (await world.sums("search"))[1] == 6, "kept, and taken once"
    await world.budgets.submit_dropped(planned, "refused in the end")
    assert await world.sums("search") == (0, 0, 0)


@pytest.mark.parametrize("sent", [False, True])
async def test_edge_22_killed_between_reserve_and_create(world, sent):
    await world.open(search=TEAM)
    planned = await world.reserve(est("6"), team="search")
    submission = Submission(account="openai", provider="openai")
    if sent:
        await world.ledger.open_intent(Intent(planned.id, submission))
    world.clock.advance(121)
    await world.budgets.upkeep.look()
    assert (await world.sums("search"))[1] == (6 if sent else 0)
    if sent:  # nobody knows whether it was made, until the tracker closes it
        await world.ledger.close_intent(planned.id, "no batch was found")
        world.clock.advance(900)
        await world.budgets.upkeep.look()
    assert await world.sums("search") == (0, 0, 0)
    batch = await world.send(planned) if not sent else None
    if batch is not None:  # a process that slept and woke: what it makes is counted all the same
        assert await world.sums("search") == (0, 6, 0)
        await world.end(batch, "2")
        assert await world.sums("search") == (2, 0, 0)
