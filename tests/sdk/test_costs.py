"""Sums of settlements: exact to the last digit, parts that add up, and what is unknown stays unknown."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmeter.errors import UsageError
from batchmeter.events import Settlement
from batchmeter.faces.sync import Client
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Submission
from batchmeter.ledger.serialize import dump
from batchmeter.models import Attribution, Batch, Cost, LineCounts, ModelUsage, Usage
from batchmeter.spend.report import GROUPINGS, as_csv, moment
from batchmeter.spend.spend import Spend
from batchmeter.tracker.build_events import created_event, ending_event

MORNING = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)


def settled(number, cost, models=None, *, unknown=None, at=MORNING, written=str, metadata=None, **attribution):
    """A batch with one line a model; `cost` None leaves `known` to the models' costs."""
    shares = {
        name: part
        if isinstance(part, ModelUsage)
        else ModelUsage(lines=1, usage=Usage(input_tokens=1), cost=part, unknown={} if part else {"unknown_model": 1})
        for name, part in (models or {}).items()
    }
    known = cost if cost is not None else sum((part for part in (models or {}).values() if part), Decimal(0))
    settlement = Settlement(
        account="openai",
        provider="openai",
        batch_id=f"b{number}",
        batch=Batch(id=f"b{number}", status="completed"),
        status="completed",
        settled_at=datetime.fromtimestamp(at / 1000, UTC),
        request_counts=LineCounts(total=len(shares), succeeded=len(shares)),
        usage=Usage(input_tokens=len(shares)),
        cost=Cost(total=None if unknown else known, known=known, unknown=unknown or {}),
        models=shares,
    )
    return (
        Submission("openai", "openai", attribution=Attribution(**attribution), metadata=metadata or {}),
        settlement,
        written,
        at,
    )


async def fill(ledger, clock, found):
    """Batches settled as they say, in a real ledger."""
    for submission, settlement, written, at in sorted(found, key=lambda one: one[-1]):
        clock[0] = at
        created = created_event(submission, settlement.batch, time=at)
        await ledger.record_created(submission, settlement.batch, created, next_poll_at=at)
        claim = await ledger.claim("openai", settlement.batch_id, owner="w", lease_seconds=60)
        assert await ledger.settle(claim, settlement, {}, ending_event(submission, settlement))
        document = {"document": written(dump(settlement)), "id": settlement.batch_id}
        await ledger.database.write(lambda session: session.run(session.statement(REWRITE), **document))  # noqa: B023


REWRITE = """UPDATE batchmeter.settlement SET settlement = %(document)s
WHERE batch_pk = (SELECT pk FROM batchmeter.batch WHERE batch_id = %(id)s)"""


@asynccontextmanager
async def filled(*found):
    clock = [MORNING]
    ledger = open_ledger(":memory:", clock=lambda: clock[0])
    await ledger.open()
    try:
        await fill(ledger, clock, found)
        yield ledger
    finally:
        await ledger.aclose()


async def rows(*found, **asked):
    async with filled(*found) as ledger:
        report = await Spend(ledger).report(**asked)
    return {row.group: row for row in report.data}, report


def older(document):
    """As written before a model's share told what is known of it."""
    kept = json.loads(document)
    for share in kept["models"].values():
        del share["known"], share["unknown"]
    return json.dumps(kept)


async def test_a_models_share_tells_what_is_known_of_it():
    share = ModelUsage(lines=2, known=Decimal("0.2"), unknown={"missing_rate": 1})
    by_model, _ = await rows(settled(1, Decimal("0.5"), {"a": Decimal("0.3"), "b": share}, unknown={"missing_rate": 1}))
    assert (by_model["b"].total, by_model["b"].known, by_model["b"].unpriced_lines) == (None, Decimal("0.2"), 1)
    assert None not in by_model


async def test_what_is_known_of_a_partly_priced_model_goes_to_it():
    models = {"a": Decimal("0.3"), "b": None}
    by_model, report = await rows(settled(1, Decimal("0.5"), models, unknown={"missing_rate": 1}, written=older))
    assert (by_model["a"].total, by_model["a"].known) == (Decimal("0.3"), Decimal("0.3"))
    assert (by_model["b"].total, by_model["b"].known, by_model["b"].unpriced_lines) == (None, Decimal("0.2"), 1)
    assert (report.total.total, report.total.known, report.total.unpriced_lines) == (None, Decimal("0.5"), 1)


async def test_what_could_be_several_models_is_nobody_s():
    models = {"a": None, "b": None}
    by_model, _ = await rows(settled(1, Decimal("0.5"), models, unknown={"missing_rate": 2}, written=older))
    assert {name: row.known for name, row in by_model.items()} == {"a": 0, "b": 0, None: Decimal("0.5")}


async def test_a_batch_whose_output_is_gone_is_unknown():
    by_model, report = await rows(settled(1, Decimal(0), unknown={"output_unavailable": 7}), settled(2, Decimal(0)))
    assert (by_model[None].total, by_model[None].unpriced_lines, by_model[None].batches) == (None, 7, 1)
    assert report.total.batches == 2


async def test_half_a_character_in_a_tag_is_no_obstacle():
    by_tag, _ = await rows(settled(1, Decimal(1), {"a": Decimal(1)}, tags=("\ud83d",)), group_by="tag")
    assert list(by_tag) == [r"\ud83d"]


async def test_days_are_in_order_and_tags_overlap():
    later = MORNING + 86_400_000
    found = [
        settled(1, Decimal(1), {"a": Decimal(1)}, at=later, tags=("x", "y", "x")),
        settled(2, Decimal(2), {"a": Decimal(2)}, at=later - 1, tags=("y",)),
    ]
    days, _ = await rows(*found, group_by="day")
    assert list(days) == ["2026-11-22", "2026-11-23"]
    tags, report = await rows(*found, group_by="tag")
    assert {name: (row.known, row.batches) for name, row in tags.items()} == {"x": (1, 1), "y": (3, 2)}
    assert report.total.known == 3


amounts = st.decimals(min_value=0, max_value=10**9, places=15).map(Decimal)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | amounts, max_size=3), max_size=12))
async def test_groups_add_up_to_the_last_digit(batches):
    found = [
        settled(n, None, models, unknown={"unknown_model": 1} if None in models.values() else None)
        for n, models in enumerate(batches)
    ]
    exact = sum((int(settlement.cost.known.scaleb(15)) for _, settlement, *_ in found), 0)
    async with filled(*found) as ledger:
        for group_by in GROUPINGS:
            report = await Spend(ledger).report(group_by=group_by)
            assert int(report.total.known.scaleb(15)) == exact
            assert sum(int(row.known.scaleb(15)) for row in report.data) == exact
            assert (report.total.total is None) == any(None in models.values() for models in batches)
            shown = json.loads(report.model_dump_json())["total"]["known"]
            assert Decimal(shown) == report.total.known
            assert "E" not in shown


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"group_by": "colour"}, "expected one or two of"),
        ({"group_by": "metadata.nobody"}, "metadata_keys"),
        ({"group_by": "day,month"}, "at most one"),
        ({"group_by": "team,team"}, "different"),
        ({"group_by": "team,model,day"}, "one or two"),
        ({"where": {"day": "2026-11-22"}}, "expected one"),
    ],
)
async def test_what_is_not_summed_is_refused(asked, why):
    with pytest.raises(UsageError, match=why):
        await rows(**asked)


async def test_csv_has_a_line_a_row_and_no_formula():
    _, report = await rows(settled(1, Decimal("0.5"), {"a": Decimal("0.5")}, team="=cmd()"), group_by="team,model")
    assert as_csv(report).splitlines() == [
        "team,model,batches,lines,unpriced_lines,total_usd,known_usd,list_price_usd,saved_usd,input_tokens",
        "'=cmd(),a,1,1,0,0.5,0.5,,,1",
    ]


async def test_saved_is_of_lines_whose_list_price_is_known():
    listed = ModelUsage(lines=4, cost=Decimal("0.5"), list_price=Decimal(1))
    both = (
        settled(1, Decimal("2.5"), {"a": listed, "b": Decimal(2)}),
        settled(2, None, {"b": Decimal(3)}),
    )
    by_model, report = await rows(*both)
    assert (by_model["a"].list_lines, by_model["a"].list_price, by_model["a"].saved) == (4, 1, Decimal("0.5"))
    assert (by_model["b"].list_lines, by_model["b"].list_price, by_model["b"].saved) == (0, None, None)
    assert (report.total.list_lines, report.total.list_price, report.total.saved) == (4, 1, Decimal("0.5"))


async def test_filters_take_several_names():
    three = [settled(number, Decimal(number), {"a": Decimal(number)}, team=f"t{number}") for number in (1, 2, 3)]
    for where, known in (
        ({"team": ("t1", "t3")}, 4),
        ({"team": ()}, 0),
        ({"team": ("", "t2")}, 2),
        ({"tag": ("x",)}, 0),
    ):
        _, report = await rows(*three, where=where)
        assert report.total.known == known, where


def test_moments():
    assert moment(None) is moment("") is None
    assert moment("2026-11-22") == MORNING
    assert moment("2026-11-22", end=True) == MORNING + 86_400_000
    assert moment("2026-11-22T00:00:00", end=True) == MORNING
    assert moment("2026-11-22T02:00:00+02:00") == MORNING
    for wrong in ("soon", "2026-02-30", "2026-11-22T25:00"):
        with pytest.raises(UsageError, match="not a time"):
            moment(wrong)


def test_the_client_tells_costs(tmp_path):
    today = datetime.now(UTC).date()
    with Client(ledger=tmp_path / "ledger.db", track=False) as client:
        report = client.costs(group_by="team", since=today, until=today)
        assert (report.data, report.total.batches, report.total.total) == ((), 0, 0)
        assert client.costs(since=datetime.now(UTC), until="2999-01-01").group_by == "model"
        with pytest.raises(UsageError):
            client.costs(since="soon")
