"""Polls are rare where webhooks tell of every ending, and as frequent as ever once one was missed."""

import pytest

from batchmeter.tracker.schedule import BACKGROUND, LATE, RELIABLE, Hints, next_look

T0 = 1_790_000_000


async def ends_by_webhook(world, provider, tracker, *names):
    """Each ends a second before its webhook comes."""
    for name in names:
        await world.submitted(name, created_at=world.clock.now // 1000 - 100)
        provider.batches[name] = [ended_now(world, name)]
        world.clock.advance(1)
        assert await tracker.tell("openai", name)
        await tracker.once()


def ended_now(world, name):
    now = world.clock.now // 1000
    return world.batch(name, created_at=now - 100, completed_at=now, expires_at=now + 80_000)


async def open_batch(world, provider, name, **fields):
    await world.submitted(name, created_at=world.clock.now // 1000, **fields)
    now = world.clock.now // 1000
    provider.batches[name] = [world.batch(name, "in_progress", created_at=now, expires_at=now + 86_400)]


async def wait_of(world, tracker, name):
    await tracker.once()
    tracked = await world.ledger.get_batch(name)
    return (tracked.next_poll_at - world.clock.now) / 1000


@pytest.fixture
async def told(world):
    """An account whose last twenty endings came by webhook."""
    provider, tracker = world.provider(), world.tracker()
    await ends_by_webhook(world, provider, tracker, *(f"told_{number}" for number in range(RELIABLE)))
    return provider, tracker


async def test_polls_are_rare_after_many_endings_that_webhooks_told(world, told):
    provider, tracker = told
    await open_batch(world, provider, "open")
    assert await wait_of(world, tracker, "open") >= BACKGROUND.with_webhook


async def test_webhooks_for_all_endings_but_a_twentieth_are_not_enough(world):
    provider, tracker = world.provider(), world.tracker()
    await ends_by_webhook(world, provider, tracker, *(f"told_{number}" for number in range(RELIABLE - 1)))
    await open_batch(world, provider, "open")
    assert await wait_of(world, tracker, "open") < 60


async def test_the_first_ending_that_a_webhook_missed_brings_the_polls_back(world, told):
    provider, tracker = told
    await open_batch(world, provider, "missed")
    await tracker.once()
    provider.batches["missed"] = [ended_now(world, "missed")]
    world.clock.now = await world.ledger.next_due_at()
    await tracker.once()
    assert await world.ledger.settlement("missed") is not None
    await open_batch(world, provider, "open")
    assert await wait_of(world, tracker, "open") < 60


async def test_an_ending_polled_before_its_webhook_could_come_proves_nothing(world, told):
    provider, tracker = told
    await open_batch(world, provider, "quick")
    provider.batches["quick"] = [ended_now(world, "quick")]
    world.clock.advance(LATE)
    await tracker.once()
    assert not await tracker.tell("openai", "quick")
    await open_batch(world, provider, "open")
    assert await wait_of(world, tracker, "open") >= BACKGROUND.with_webhook


async def test_another_account_learns_nothing_from_it(world, told):
    _, tracker = told
    other = world.provider("other")
    await world.submitted("theirs", "other")
    other.batches["theirs"] = [world.batch("theirs", "in_progress", created_at=world.clock.now // 1000)]
    assert await wait_of(world, tracker, "theirs") < 60


async def test_a_webhook_about_what_is_settled_or_unknown_wakes_nobody(world, told):
    _, tracker = told
    assert not await tracker.tell("openai", "told_3")
    assert not await tracker.tell("openai", "nobody's")


def test_an_ending_that_was_told_is_no_miss_however_late_it_is_read(world):
    hints = Hints()
    for number in range(RELIABLE):
        hints.note("a", f"b{number}")
        hints.note("a", f"b{number}")
    assert hints.will_tell("a", "next")
    hints.found("a", world.batch("b3", completed_at=T0), T0 + 10_000)
    assert hints.will_tell("a", "next")
    hints.found("a", world.batch("other", completed_at=T0), T0 + 10_000)
    assert not hints.will_tell("a", "next")


async def test_a_webhook_ahead_of_what_a_look_shows_is_followed_by_a_look_soon(world, told):
    """The webhook will not tell again."""
    provider, tracker = told
    now = world.clock.now // 1000
    await world.submitted("slow", created_at=now - 3600)
    finalizing = world.batch("slow", "finalizing", created_at=now - 3600)
    provider.batches["slow"] = [finalizing, finalizing, world.batch("slow", created_at=now - 3600)]
    assert await wait_of(world, tracker, "slow") >= 900
    assert await tracker.tell("openai", "slow")
    assert await wait_of(world, tracker, "slow") < 60


def test_the_deadline_is_looked_at_though_a_webhook_should_tell(world):
    batch = world.batch(status="in_progress", created_at=T0, expires_at=T0 + 86_400)
    assert next_look(batch, T0 + 86_300, lambda: 0.0, with_webhook=True) == 160
    assert next_look(batch, T0 + 86_500, lambda: 0.0, with_webhook=True) == 60
