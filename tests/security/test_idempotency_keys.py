"""An Idempotency-Key gives the first answer to the first request only, and is free again once nothing can come of it."""

import asyncio

import pytest
from tests.proxy.conftest import refused

import openai
from batchmeter.errors import LedgerError

from .conftest import CHAT

KEY = {"Idempotency-Key": "a"}


def create(sdk, file_id, **more):
    asked = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h", "extra_headers": KEY}
    return sdk.batches.create(**asked | more)


def upload(sdk, content, purpose="batch", **more):
    return sdk.files.create(file=("in.jsonl", content), purpose=purpose, extra_headers=KEY, **more)


async def forget(client, scope, name="a"):
    """The answer was never kept, as when its process died."""
    where = {"scope": scope, "name": name}
    assert await client.ledger.database.write(lambda session: session.run("forget_answer", **where)) == 1


@pytest.mark.parametrize("kept", [True, False], ids=["answer_kept", "answer_lost"])
async def test_another_create_with_the_same_key_is_refused(sdk, client, lines, kept):
    file, other = [await sdk.files.create(file=("a", lines(n)), purpose="batch") for n in (1, 2)]
    first = await create(sdk, file.id, metadata={"a": "b"})
    if not kept:
        await forget(client, "batches openai")
    for file_id, changed in (
        (other.id, {"metadata": {"a": "b"}}),
        (file.id, {"metadata": {"a": "c"}}),
        (file.id, {}),
        (file.id, {"metadata": {"a": "b"}, "endpoint": "/v1/responses"}),
    ):
        with pytest.raises(openai.ConflictError) as caught:
            await create(sdk, file_id, **changed)
        assert (caught.value.code, caught.value.type) == ("idempotency_mismatch", "invalid_request_error")
        assert caught.value.response.headers["x-should-retry"] == "false"
    for endpoint in (CHAT, CHAT.removeprefix("/v1")):
        assert (await create(sdk, file.id, metadata={"a": "b"}, endpoint=endpoint)).id == first.id
    assert [batch.id async for batch in sdk.batches.list()] == [first.id]


async def test_the_same_content_uploaded_again_is_the_same_input(sdk, lines):
    """A job that starts over uploads its file again, and then repeats its create."""
    files = [await sdk.files.create(file=("a", lines(3)), purpose="batch") for _ in range(2)]
    assert files[0].id != files[1].id
    made = [await create(sdk, file.id) for file in files]
    assert made[0].id == made[1].id


@pytest.mark.parametrize("size", [1, 4000], ids=["small", "large"])
async def test_another_upload_with_the_same_key_is_refused(sdk, lines, size):
    content = lines(size)
    first = await upload(sdk, content)
    with pytest.raises(openai.ConflictError) as caught:
        await upload(sdk, content + lines(1, "gpt-4o", custom_id="more"))
    assert caught.value.code == "idempotency_mismatch"
    for changed in ({"purpose": "user_data"}, {"expires_after": {"anchor": "created_at", "seconds": 3600}}):
        assert await refused(upload(sdk, content, **changed)) == (409, "idempotency_mismatch")
    assert (await upload(sdk, content)).id == first.id
    assert [file.id async for file in sdk.files.list()] == [first.id]


async def test_a_key_that_another_caller_used_is_one_s_own(caller, lines):
    ada, bob = await caller(owner="ada"), await caller(owner="bob")
    theirs, mine = await upload(ada.sdk, lines(1)), await upload(bob.sdk, lines(2))
    assert theirs.id != mine.id


@pytest.fixture
def patient(client, monkeypatch):
    """The client's own pauses take no time."""

    async def no_time(_):
        await asyncio.sleep(0)

    monkeypatch.setattr(client._open_parts(), "sleep", no_time)


def failing(monkeypatch, ledger, name, times, *, done):
    """The ledger's answer is lost `times` times; its work is `done` all the same, or not."""
    work, left = getattr(ledger, name), [times]

    async def maybe(*arguments, **named):
        if not left[0]:
            return await work(*arguments, **named)
        left[0] -= 1
        if done:
            await work(*arguments, **named)
        raise LedgerError("the connection broke")

    monkeypatch.setattr(ledger, name, maybe)


async def chores(client):
    while tasks := client._open_parts().chores:
        await asyncio.gather(*tasks)


async def test_a_create_that_was_never_sent_leaves_its_key_free(sdk, client, lines, monkeypatch, patient):
    """The intent was written, the ledger's answer lost: nothing was sent, and the next one may be."""
    file = await sdk.files.create(file=("a", lines(1)), purpose="batch")
    failing(monkeypatch, client.ledger, "open_intent", 1, done=True)
    failing(monkeypatch, client.ledger, "close_intent", 3, done=False)
    assert await refused(create(sdk, file.id)) == (503, "ledger_unavailable")
    await chores(client)
    batch = await create(sdk, file.id)
    assert [one.id async for one in sdk.batches.list()] == [batch.id]


async def test_a_refusal_leaves_the_key_free_though_the_ledger_is_away(sdk, client, lines, monkeypatch, patient):
    file = await sdk.files.create(file=("a", lines(1)), purpose="batch")
    failing(monkeypatch, client.ledger, "close_intent", 2, done=False)
    failing(monkeypatch, client.ledger, "drop_answer", 1, done=True)
    refusal = await refused(create(sdk, file.id, metadata={"x": "y" * 600}))
    assert refusal[0] == 400, "what the provider said, not that the ledger was away"
    await chores(client)
    assert (await create(sdk, file.id)).id
