"""Creates at once with one idempotency key: one batch, and every caller gets it, in one process and in several."""

import asyncio

import pytest

from batchmeter.errors import BadRequestError, IdempotencyMismatchError
from batchmeter.testing.wire import Answer, serving

CHAT = "/v1/chat/completions"

BATCH = (
    b'{"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "status": "validating",'
    b' "input_file_id": "file-1", "completion_window": "24h", "created_at": 1}'
)


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


async def test_who_looks_before_another_process_s_create_is_answered_waits(make_client):
    """The provider lists nothing yet: both calls of the second process wait for the first one's answer."""
    looked, sent = asyncio.Event(), asyncio.Event()
    looks: list[str] = []

    async def provider(request):
        if request.method == "POST":
            sent.set()
            await looked.wait()
            return Answer(body=BATCH)
        looks.append(request.path)
        if len(looks) == 2:
            looked.set()
        return Answer(body=b'{"object": "list", "data": [], "has_more": false}')

    async with serving(provider) as url, make_client(url) as one, make_client(url) as two:
        first = asyncio.create_task(at_once([one], "file-1"))
        await sent.wait()
        made = [*await at_once([two, two], "file-1"), *await first]
    assert [batch.id for batch in made] == ["batch_1"] * 3
