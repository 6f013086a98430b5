"""Creates at once with one idempotency key: one batch, and every caller gets it, in one process and in several."""

import asyncio

import pytest

from batchmeter.errors import BadRequestError, IdempotencyMismatchError

CHAT = "/v1/chat/completions"


async def at_once(clients, file_id, **asked):
    asked = {"input_file_id": file_id, "endpoint": CHAT, "idempotency_key": "nightly"} | asked
    return await asyncio.gather(*(client.batches.create(**asked) for client in clients), return_exceptions=True)


@pytest.mark.parametrize("processes", [1, 2])
async def test_creates_at_once_with_one_key_all_get_the_batch(make_client, sandbox, requests, log, processes):
    async with make_client(sandbox.url) as one, make_client(sandbox.url) as two:
        file = await one.files.create(file=requests, purpose="batch")
        made = await at_once([one, one, two, two, one] if processes == 2 else [one] * 5, file.id)
        assert {batch.id for batch in made} == {(await one.batches.list()).data[0].id}
        assert len((await one.batches.list()).data) == 1
        await one.deliverer.drain(5)
    assert log.types.count("acreate_batch") == 1


async def test_another_request_at_once_with_the_key_is_refused(make_client, sandbox, requests):
    async with make_client(sandbox.url) as client:
        file = await client.files.create(file=requests, purpose="batch")
        first, other = await asyncio.gather(
            at_once([client], file.id), at_once([client], file.id, metadata={"other": "1"})
        )
        kinds = {type(one).__name__ for one in (*first, *other)}
        assert kinds == {"Batch", IdempotencyMismatchError.__name__}


async def test_what_waited_for_a_refused_create_is_sent_itself(make_client, sandbox, requests):
    """The first is refused once: one of the others makes the batch, the rest get it."""
    async with make_client(sandbox.url) as client:
        file = await client.files.create(file=requests, purpose="batch")
        refused = await at_once([client] * 3, file.id, endpoint="/v1/nonsense")
        assert [type(one) for one in refused] == [BadRequestError] * 3
        sandbox.engine.faults.add("quota POST /v1/batches")
        made = await at_once([client] * 4, file.id)
        ids = {one.id for one in made if not isinstance(one, Exception)}
        assert (len(ids), sum(isinstance(one, Exception) for one in made)) == (1, 1)
        assert [one.id for one in (await client.batches.list()).data] == list(ids)
