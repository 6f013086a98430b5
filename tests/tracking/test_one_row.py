"""One batch is one row and one cost: ids of gateways, copied metadata, ids used again, clocks, one file named twice."""

import asyncio
from decimal import Decimal
from email.utils import formatdate

import pytest

from batchmeter.calls.waiting import wait_for
from batchmeter.cli.ledger_check import check
from batchmeter.errors import NotFoundError
from batchmeter.events import event_id
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Attribution, Batch, Page
from batchmeter.rounds.adoption import Adoption, adopt_id, is_open
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter.tracker.build_events import created_event
from batchmeter.tracker.metadata_tag import tag_of, tagged, without_tag
from batchmeter_openai import OpenAIProvider, OpenAISettings

T0 = 1_790_000_000
TAGGED = {"team": "search", "batchmeter_id": "intent-1"}


def adoption_of(world):
    tracker = world.tracker()
    return Adoption(tracker, [])


async def created(world, batch, intent_id="intent-1", **fields):
    """A create of ours through to its row, as `submit` records it."""
    submission = Submission(
        "openai", "openai", "/v1/chat/completions", input_file_id="in", attribution=Attribution(team="search"), **fields
    )
    await world.ledger.open_intent(Intent(intent_id, submission, created_at=world.clock.now))
    event = created_event(submission, batch, time=world.clock.now)
    return await world.ledger.record_created(
        submission, batch, event, next_poll_at=world.clock.now, intent_id=intent_id
    )


async def rows(world):
    return {one.batch_id: one for one in await world.ledger.list_batches()}


async def test_second_id_of_a_gateway_is_the_same_batch(world):
    """Create and retrieve say one id, lists another; the tag is on both."""
    provider = world.provider()
    await created(world, world.batch("batch_GW", "in_progress", metadata=TAGGED))
    listed = world.batch("batch_raw", metadata=TAGGED)
    provider.listing = [listed]
    provider.batches = {"batch_GW": [listed], "batch_raw": [listed]}
    tracker, adoption = world.tracker(), adoption_of(world)
    world.clock.advance(100)

    assert await adoption.sweep("openai") == 0
    assert await adopt_id(tracker, "openai", "batch_raw") is False
    await tracker.shown(provider, listed)
    await tracker.idle()
    settlement = await wait_for(tracker, "openai", "batch_GW")
    assert await adoption.sweep("openai") == 0

    assert list(await rows(world)) == ["batch_GW"]
    assert settlement.batch_id == settlement.batch.id == "batch_GW"
    assert [event.id for event in await world.endings()] == [event_id("openai", "batch_GW", "batch_success")]
    assert (await check(world.ledger)).sound


async def test_open_batch_is_not_deleted_under_a_second_id(world):
    """Its cost would never be known; `batches.delete` asks this first."""
    provider = world.provider()
    tracker = world.tracker()
    for name in ("batch_raw", "batch_GW", "theirs"):
        tag = {"metadata": {"team": "sales"}} if name == "theirs" else {"metadata": TAGGED}
        provider.batches[name] = [world.batch(name, **tag)]
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    assert await is_open(tracker, provider, "batch_raw"), "a create of ours whose answer was lost"
    await created(world, world.batch("batch_GW", "in_progress", metadata=TAGGED))
    assert await is_open(tracker, provider, "batch_GW")
    assert await is_open(tracker, provider, "batch_raw")
    assert not await is_open(tracker, provider, "theirs")
    with pytest.raises(NotFoundError):
        await is_open(tracker, provider, "gone")
    await wait_for(world.tracker(), "openai", "batch_GW")
    assert not await is_open(tracker, provider, "batch_raw")


async def test_create_slower_than_the_sweep_keeps_one_row(world):
    """The sweep has recorded the listed id for the lost create; then the create's answer comes with another id."""
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    provider.listing = [world.batch("batch_raw", "in_progress", metadata=TAGGED)]
    assert await adoption_of(world).sweep("openai") == 0, "the create may be about to record it"
    world.clock.advance(61)
    assert await world.tracker().rounds["lost_creates"]() == 1
    made = world.batch("batch_GW", "in_progress", metadata=TAGGED)
    event = created_event(mine, made, time=world.clock.now)
    tracked = await world.ledger.record_created(mine, made, event, next_poll_at=world.clock.now, intent_id="intent-1")
    assert tracked.batch_id == "batch_raw"
    assert list(await rows(world)) == ["batch_raw"]


@pytest.mark.parametrize("copied", [{"input_file_id": "other"}, {"created_at": T0 + 50}], ids=["input", "time"])
async def test_copied_tag_on_another_batch_is_a_stranger(world, copied):
    provider = world.provider()
    await created(world, world.batch("batch_1", "in_progress", metadata=TAGGED))
    provider.listing = [world.batch("batch_2", "in_progress", **({"metadata": {**TAGGED, "mine": "yes"}} | copied))]
    world.clock.advance(200)
    assert await adoption_of(world).sweep("openai") == 1
    stranger = (await rows(world))["batch_2"].submission
    assert stranger.adopted
    assert stranger.attribution == Attribution()
    assert stranger.metadata == {"team": "search", "mine": "yes"}


async def test_lost_create_is_not_its_copy(world):
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    copy = world.batch("copy", "in_progress", input_file_id="other", created_at=T0 + 40, metadata=TAGGED)
    late = world.batch("late", "in_progress", created_at=T0 + 30, metadata=TAGGED)
    provider.listing = [copy, late, world.batch("ours", "in_progress", created_at=T0 + 1, metadata=TAGGED)]
    world.clock.advance(100)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id in {"ours", "late"}
    assert "copy" not in await rows(world)


@pytest.mark.parametrize("behind", [3600, 86400])
async def test_tag_is_found_however_far_the_clock_is_behind(world, behind):
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    world.clock.advance(600)
    others = [
        world.batch(f"other_{n}", "in_progress", created_at=T0 - behind + 600 - n, input_file_id=f"f{n}")
        for n in range(700)
    ]
    others.insert(590, world.batch("ours", "in_progress", created_at=T0 - behind + 5, metadata=TAGGED))
    provider.listing = others
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "ours"
    assert provider.count("list") <= 8


@pytest.mark.parametrize(
    ("dated", "shown", "found"),
    [
        (-3600, -3600, True),  # behind, and its answers say so
        (-3600, 0, True),  # only the server in front of it is behind
        (3600, 3600, True),
        (3600, 0, True),
        (0, -3600, False),  # of the hour before
        (-3600, -7200, False),
        (None, -3600, False),
        (None, -300, True),
        ("Mon, 99 Foo", -3600, False),
        ("Fri, 31 Dec 99999 23:59:59 GMT", -3600, False),
    ],
)
async def test_untagged_create_is_found_by_the_provider_s_own_clock(world, dated, shown, found):
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    provider.listing = [world.batch(status="in_progress", created_at=T0 + shown, metadata=None)]
    provider.date = lambda: formatdate(world.clock.now / 1000 + dated) if isinstance(dated, int) else dated
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == ("batch_1" if found else None)


async def test_clock_of_a_real_server_is_read_from_its_answer(world):
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    world.clock.advance(61)
    made = world.batch(status="in_progress", created_at=T0 - 3600, metadata=None)
    page = Page[Batch](data=[made], has_more=False).model_dump_json()
    date = formatdate(world.clock.now / 1000 - 3600, usegmt=True)
    async with serving(Script([Answer(body=page.encode(), headers={"date": date})])) as url:
        provider = OpenAIProvider("openai", OpenAISettings(api_base=url, api_key="k"))
        world.accounts.add(provider)
        assert await world.tracker().rounds["lost_creates"]() == 1
        await provider.aclose()
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"


async def test_untagged_creates_at_a_clock_ahead_are_told_apart(world):
    """The nearest by the provider's own clock; another program's batch of an hour ago has our time."""
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    provider.listing = [
        world.batch("ours", "in_progress", created_at=T0 + 3601, metadata=None),
        world.batch("theirs", "in_progress", created_at=T0 + 300, metadata=None),
    ]
    provider.date = lambda: formatdate(world.clock.now / 1000 + 3600)
    world.clock.advance(901)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "ours"


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_adoption_takes_no_untagged_create_for_a_stranger_s(world, skew):
    """Neither while its answer is on its way nor once that is lost; others' batches wait no longer than at a right clock."""
    provider, adoption = world.provider(), adoption_of(world)
    provider.date = lambda: formatdate(world.clock.now / 1000 + skew)
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    ours = world.batch("ours", "in_progress", created_at=T0 + skew, metadata=None)
    theirs = world.batch("theirs", "in_progress", created_at=T0 + skew - 100, input_file_id="other", metadata=None)
    provider.listing = [ours, theirs]
    assert await adoption.sweep("openai") == 1
    assert list(await rows(world)) == ["theirs"]
    world.clock.advance(61)
    assert await adoption.sweep("openai") == 1
    assert (await rows(world))["ours"].submission.adopted is False
    assert (await world.ledger.intent("intent-1")).batch_id == "ours"


async def test_adoption_survives_a_clock_that_is_behind(world):
    provider, adoption = world.provider(), adoption_of(world)
    provider.listing = [world.batch("old", created_at=T0 - 90 * 86400)]
    assert await adoption.sweep("openai") == 0
    for number in range(3):
        world.clock.advance(60)
        made = world.batch(f"new_{number}", created_at=world.clock.now // 1000 - 3600, metadata=None)
        provider.listing.insert(0, made)
        assert await adoption.sweep("openai") == 1
    assert await adoption.sweep("openai") == 0
    assert "old" not in await rows(world)


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "open"])
async def test_reused_id_is_a_batch_of_its_own(world, settled):
    provider = world.provider()
    keeper = world.logger()
    await world.submitted()
    tracker = world.tracker()
    if settled:
        provider.batches["batch_1"] = [world.batch()]
        await wait_for(tracker, "openai", "batch_1")
    second = world.batch(created_at=T0 + 100, input_file_id="in-2", output_file_id="out-2", metadata=TAGGED)
    provider.batches["batch_1"] = [second]
    provider.files["out-2"] = [world.line("a") + world.line("b", prompt=2000)]
    await created(world, second.model_copy(update={"status": "validating", "output_file_id": None}))
    await tracker.once()
    await tracker.idle()

    settlement = await wait_for(tracker, "openai", "batch_1")
    assert (settlement.cost.total, settlement.batch.input_file_id) == (Decimal("0.000285"), "in-2")
    events = [stored.event for stored in await world.ledger.events()]
    assert sorted(event.type for event in events) == sorted(
        ["acreate_batch", "batch_success" if settled else "batch_failure", "acreate_batch", "batch_success"]
    )
    assert len({event.id for event in events}) == 4
    assert {event.batch_id for event in events} == {"batch_1"}
    costs = [event.cost.total for event in events if event.type != "acreate_batch"]
    assert costs == [Decimal("0.00021") if settled else None, Decimal("0.000285")]
    assert (await check(world.ledger)).sound
    assert len(await rows(world)) == 2
    assert len(await world.ledger.settlements()) == 2
    await world.deliverer().drain(5)
    assert len(keeper.events) == 4


async def test_look_that_shows_another_batch_settles_nothing(world):
    """The server was restarted and somebody else has made its batch_1: ours is lost, and not at the other's price."""
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(created_at=T0 + 100, input_file_id="in-2")]
    event = await world.until_settled(world.tracker(), most=2000)
    assert (event.type, event.cost.total, event.notes) == ("batch_failure", None, ("batch_unavailable",))


async def test_create_at_two_accounts_shares_no_row(world):
    world.provider(), world.provider("other")
    await world.submitted()
    await world.submitted(account="other", created_at=T0 + 50, input_file_id="in-2")
    assert {row.account for row in await world.ledger.batches_of_id("batch_1")} == {"openai", "other"}


async def test_file_that_is_output_and_error_file_is_billed_once(world):
    provider = world.provider()
    await world.submitted()
    provider.batches["batch_1"] = [world.batch(error_file_id="out")]
    event = await world.until_settled(world.tracker())
    assert (event.cost.total, event.request_counts.succeeded) == (Decimal("0.00021"), 2)
    assert provider.count("content") == 1


async def test_event_endpoint_has_its_version_whatever_the_api_says(world):
    provider = world.provider()
    await world.submitted(endpoint="/chat/completions")
    provider.batches["batch_1"] = [world.batch(endpoint="/chat/completions")]
    await world.until_settled(world.tracker())
    assert {stored.event.endpoint for stored in await world.ledger.events()} == {"/v1/chat/completions"}


async def test_untagged_create_is_found_without_the_version_of_its_endpoint(world):
    provider = world.provider()
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    await world.ledger.open_intent(Intent("intent-1", mine, created_at=world.clock.now))
    provider.listing = [world.batch(status="in_progress", endpoint="/chat/completions", metadata=None)]
    world.clock.advance(61)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"


def test_tags_of_two_batchmeters_are_each_their_own(world):
    outer = tagged({"team": "search"}, "sdk")
    inner = world.batch(metadata=tagged(outer, "proxy"))
    assert inner.metadata == {"team": "search", "batchmeter_id": "sdk", "batchmeter_id_2": "proxy"}
    assert tag_of(inner) == "proxy"
    shown = without_tag(inner)
    assert tag_of(shown) == "sdk"
    assert without_tag(shown).metadata == {"team": "search"}


async def test_endless_list_of_one_account_hides_no_lost_create_of_another(world):
    endless, provider = world.provider("endless"), world.provider()
    number = 0

    async def forever(*, after, limit, options):
        nonlocal number
        number += 1
        await asyncio.sleep(0)
        return type(await plain(after=None, limit=limit, options=options))(
            data=[world.batch(f"b{number}", created_at=world.clock.now // 1000 + number, input_file_id="f")],
            has_more=True,
        )

    plain, endless.list_batches = endless.list_batches, forever
    for account in ("endless", "openai"):
        mine = Submission(account, "openai", "/v1/chat/completions", input_file_id="in")
        await world.ledger.open_intent(Intent(f"intent-{account}", mine, created_at=world.clock.now))
    provider.listing = [world.batch(status="in_progress", metadata={"batchmeter_id": "intent-openai"})]
    world.clock.advance(61)
    assert await world.tracker().rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-openai")).batch_id == "batch_1"
    assert (await world.ledger.intent("intent-endless")).state == "open", "nobody has seen the end of the list"


async def test_batch_nested_too_deep_hides_no_lost_create(world):
    provider = world.provider()
    deep = []
    for _ in range(2000):
        deep = [deep]
    mine = Submission("openai", "openai", "/v1/chat/completions", input_file_id="in")
    for number in range(2):
        await world.ledger.open_intent(Intent(f"intent-{number}", mine, created_at=world.clock.now))
    bad = world.batch("bad", "in_progress", metadata={"batchmeter_id": "intent-0"})
    bad.__pydantic_extra__["weird"] = deep
    provider.listing = [bad, world.batch(status="in_progress", metadata={"batchmeter_id": "intent-1"})]
    world.clock.advance(61)
    tracker = world.tracker()
    assert await tracker.rounds["lost_creates"]() == 1
    assert (await world.ledger.intent("intent-1")).batch_id == "batch_1"
    assert (await world.ledger.intent("intent-0")).state == "open"
