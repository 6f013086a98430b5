"""Batches that others made: adopted once and for all, or again and again where the account says so."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from batchmeter import AsyncClient
from batchmeter.hookspecs import hookimpl
from batchmeter.rounds.adoption import GRACE_SECONDS, Adoption, adopt_all
from batchmeter.spend.prune import prune
from batchmeter.testing.sandbox import serve_sandbox

REQUEST = (
    b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
    b'"body":{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}}\n'
)


@pytest.fixture
def adoption(world):
    tracker = world.tracker()
    return Adoption(tracker, [])


def listed(world, count, *, age=3600):
    """Newest first."""
    now = world.clock.now // 1000
    return [world.batch(f"b{number}", created_at=now - age - number) for number in range(count)]


async def test_a_sweep_reads_back_to_the_one_before(world, adoption):
    provider = world.provider()
    provider.listing = listed(world, 250)
    assert await adoption.sweep("openai") == 250
    world.clock.advance(60)
    assert await adoption.sweep("openai") == 0
    assert provider.count("list") == 3 + 1
    assert (await world.ledger.get_batch("b249")).submission.adopted


async def test_a_batch_below_many_known_ones_is_found(world, adoption):
    provider = world.provider()
    assert await adoption.sweep("openai") == 0
    world.clock.advance(100)
    theirs = world.batch("theirs", created_at=world.clock.now // 1000, metadata=None)
    ours = [await world.submitted(f"ours{n}", created_at=world.clock.now // 1000 + 1) for n in range(120)]
    provider.listing = [*ours, theirs]
    assert await adoption.sweep("openai") == 0, "both pages are known, or too young"
    world.clock.advance(GRACE_SECONDS)
    assert await adoption.sweep("openai") == 1


async def test_an_account_not_listed_at_first_is_read_as_far_back_later(world, adoption):
    provider = world.provider()
    old = listed(world, 3, age=47 * 3600)
    provider.listing = world.broken()
    assert await adoption.sweep("openai") == 0
    world.clock.advance(60)
    provider.listing = [*[await world.submitted(f"ours{n}") for n in range(150)], *old]
    assert await adoption.sweep("openai") == 3


async def test_what_was_pruned_stays_forgotten(world, adoption):
    provider = world.provider()
    provider.listing = listed(world, 1)
    provider.batches["b0"] = [provider.listing[0]]
    assert await adoption.sweep("openai") == 1
    await world.until_settled(world.tracker(), "b0")
    world.clock.advance(91 * 86400)
    assert await adoption.sweep("openai") == 0
    assert await prune(world.ledger, settled_before=world.clock.now - 90 * 86_400_000) == 1
    assert await adoption.sweep("openai") == 0, "however long the tracker has been running"


async def test_a_list_in_another_order_is_read_to_its_end(world, adoption):
    provider = world.provider()
    provider.listing = [*listed(world, 250, age=30 * 86400)[::-1], *listed(world, 3)]
    assert await adoption.sweep("openai") == 3
    since = datetime.fromtimestamp(world.clock.now / 1000 - 31 * 86400, UTC)
    assert await adopt_all(adoption.tracker, provider, since=since) == 247


async def test_a_list_that_leads_in_a_circle_ends(world, adoption):
    provider = world.provider()
    batches = listed(world, 300)
    provider.listing = [*batches[:299], batches[99], batches[299]]  # the third page ends as the first one did
    assert await adopt_all(adoption.tracker, provider) == 299
    assert provider.count("list") == 3


async def test_batches_of_about_the_same_time_may_be_in_any_order(world, adoption):
    provider = world.provider()
    provider.listing = listed(world, 1000, age=48 * 3600 - 50)
    for at in range(0, 1000, 2):
        provider.listing[at : at + 2] = provider.listing[at : at + 2][::-1]
    assert await adoption.sweep("openai") == 51
    assert provider.count("list") == 1


async def test_a_young_batch_is_left_to_its_own_creator_for_a_minute(world, adoption):
    provider = world.provider()
    provider.listing = [*listed(world, 100, age=-200), world.batch("older", created_at=world.clock.now // 1000 - 3600)]
    assert await adoption.sweep("openai") == 1, "past a page of young ones"
    world.clock.advance(200 + 100 + GRACE_SECONDS)
    assert await adoption.sweep("openai") == 100


async def test_what_is_older_than_asked_for_is_left_alone(world, adoption):
    provider = world.provider()
    provider.listing = listed(world, 10)
    since = datetime.fromtimestamp(world.clock.now / 1000 - 3600 - 4, UTC)
    assert await adopt_all(adoption.tracker, provider, since=since) == 5
    assert await adopt_all(adoption.tracker, provider) == 5


class Keeper:
    def __init__(self) -> None:
        self.ended: asyncio.Queue = asyncio.Queue()

    @hookimpl
    async def batch_success(self, event) -> None:
        self.ended.put_nowait(event)


async def test_an_account_that_adopts_settles_what_others_made(tmp_path):
    keeper = Keeper()
    ago = 3600.0
    async with serve_sandbox(clock=lambda: time.time() - ago) as sandbox:
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k"}
        async with AsyncClient(ledger=":memory:", accounts={"box": account}, track=False) as other:
            file = await other.files.create(file=("in.jsonl", REQUEST), custom_llm_provider="box")
            made = await other.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="box"
            )
        ago = 0.0
        path = tmp_path / "ledger.db"
        async with (
            AsyncClient(ledger=path, accounts={"box": {**account, "adopt": True}}, plugins=[keeper]),
            asyncio.timeout(10),
        ):
            event = await keeper.ended.get()
    assert (event.batch_id, event.adopted, event.request_counts.succeeded) == (made.id, True, 1)
