"""Batches that others made: adopted once and for all, or again and again where the account says so."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from batchmeter import AsyncClient
from batchmeter.hookspecs import hookimpl
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter.tracking.adopt import GRACE_SECONDS, Adopter

REQUEST = (
    b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
    b'"body":{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}}\n'
)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def adopter(world):
    return Adopter(world.ledger, world.plugins, lambda: None)


def listed(world, count, *, age=3600):
    """Newest first."""
    now = world.clock.now // 1000
    return [world.batch(f"b{number}", created_at=now - age - number) for number in range(count)]


async def test_a_sweep_ends_at_a_page_that_is_known(world, adopter):
    provider = world.provider()
    provider.listing = listed(world, 250)
    assert await adopter.sweep(provider, since=LONG_AGO, far=True) == 250
    assert await adopter.sweep(provider, since=LONG_AGO, far=False) == 0
    assert provider.count("list") == 3 + 1
    assert (await world.ledger.get_batch("b249")).submission.adopted


async def test_a_young_batch_is_left_to_its_own_creator_for_a_minute(world, adopter):
    provider = world.provider()
    provider.listing = [*listed(world, 100, age=-200), world.batch("older", created_at=world.clock.now // 1000 - 3600)]
    assert await adopter.sweep(provider, since=LONG_AGO, far=False) == 1, "past a page of young ones"
    world.clock.advance(200 + 100 + GRACE_SECONDS)
    assert await adopter.sweep(provider, since=LONG_AGO, far=False) == 100


async def test_what_is_older_than_asked_for_is_left_alone(world, adopter):
    provider = world.provider()
    provider.listing = listed(world, 10)
    since = datetime.fromtimestamp(world.clock.now / 1000 - 3600 - 4, UTC)
    assert await adopter.sweep(provider, since=since, far=True) == 5
    assert await adopter.adopt_all(provider) == 5


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
