"""Calls, opening and closing that end half-way: nothing is left half-done, and the next call works."""

import asyncio

import pytest

import batchmeter
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import CreateUnknownError, LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.testing.wire import Answer, serving

CHAT = "/v1/chat/completions"
ASKED = {"endpoint": CHAT, "idempotency_key": "nightly"}


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_create_cancelled_before_it_is_sent_leaves_its_key_free(make_client, sandbox, requests, monkeypatch):
    written, answered = asyncio.Event(), asyncio.Event()
    async with make_client(sandbox.url) as client:
        parts, file = await client.ready(), await client.files.create(requests)
        write = parts.ledger.open_intent

        async def slow(*given, **named):
            await write(*given, **named)
            written.set()
            await answered.wait()

        monkeypatch.setattr(parts.ledger, "open_intent", slow)
        call = asyncio.create_task(client.batches.create(input_file_id=file.id, **ASKED))
        await written.wait()
        await cancelled(call)
        answered.set()
        monkeypatch.setattr(parts.ledger, "open_intent", write)
        await asyncio.gather(*parts.chores)
        made = await client.batches.create(input_file_id=file.id, **ASKED)
        assert [one.id for one in (await client.batches.list()).data] == [made.id]


async def test_a_cancelled_create_whose_record_fails_is_told_in_the_log(
    make_client, sandbox, requests, monkeypatch, caplog
):
    reached, go = asyncio.Event(), asyncio.Event()
    async with make_client(sandbox.url) as client:
        parts, file = await client.ready(), await client.files.create(requests)

        async def away(*_):
            reached.set()
            await go.wait()
            raise LedgerError("away")

        monkeypatch.setattr(parts.ledger, "subscribe", away)
        call = asyncio.create_task(client.batches.create(input_file_id=file.id, **ASKED))
        await reached.wait()
        await cancelled(call)
        go.set()
        await asyncio.gather(*parts.chores)
    assert "was created but not recorded; the tracker will adopt it" in caplog.text


@pytest.mark.parametrize("closing", [False, True])
async def test_a_create_cancelled_after_its_answer_is_recorded(
    make_client, sandbox, requests, log, monkeypatch, closing
):
    reached, go = asyncio.Event(), asyncio.Event()
    async with make_client(sandbox.url) as client:
        parts, file = await client.ready(), await client.files.create(requests)
        subscribe = parts.ledger.subscribe

        async def slow(*given):
            reached.set()
            await go.wait()
            await subscribe(*given)

        monkeypatch.setattr(parts.ledger, "subscribe", slow)
        call = asyncio.create_task(client.batches.create(input_file_id=file.id, **ASKED))
        await reached.wait()
        await cancelled(call)
        recording = list(parts.chores)
        asyncio.get_running_loop().call_soon(go.set)
        if closing:
            await client.aclose()
        await asyncio.gather(*recording)
    async with make_client(sandbox.url) as after:
        (batch,) = (await after.batches.list()).data
        assert (await after.ledger.get_batch(batch.id)).batch_id == batch.id
        await after.deliverer.drain(5)
    assert log.types.count("acreate_batch") == 1


async def test_nobody_waits_for_the_answer_of_a_cancelled_create(make_client):
    sent, slept = asyncio.Event(), []

    async def provider(request):
        if request.method == "POST":
            sent.set()
            await asyncio.Event().wait()
        return Answer(body=b'{"object": "list", "data": [], "has_more": false}')

    async def sleep(seconds):
        slept.append(seconds)

    async with serving(provider) as url, make_client(url) as client:
        parts = await client.ready()
        parts.sleep = sleep
        call = asyncio.create_task(client.batches.create(input_file_id="file-1", **ASKED))
        await sent.wait()
        await cancelled(call)
        with pytest.raises(CreateUnknownError):
            await client.batches.create(input_file_id="file-1", **ASKED)
    assert slept == []


@pytest.mark.parametrize("trouble", [TimeoutError(), KeyError("data")], ids=["timeout", "bug"])
async def test_lost_create_says_so_where_the_list_fails_too(make_client, monkeypatch, trouble):
    async def silent(request):
        return Answer(body=b"no JSON")

    async def failing(*_, **__):
        raise trouble

    async with serving(silent) as url, make_client(url) as client:
        monkeypatch.setattr(type(client.accounts.get("openai")), "list_batches", failing)
        with pytest.raises(CreateUnknownError, match="may or may not exist"):
            await client.batches.create(input_file_id="file-1", **ASKED)


class Starting:
    """A plugin that takes its time to start, and tells the order of what it is asked."""

    def __init__(self):
        self.reached, self.go, self.heard, self.order = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    @batchmeter.hookimpl
    async def startup(self):
        self.order.append("startup")
        self.reached.set()
        await self.go.wait()
        self.order.append("started")

    @batchmeter.hookimpl
    async def before_submit(self):
        self.order.append("asked")

    @batchmeter.hookimpl
    async def acreate_batch(self):
        self.heard.set()

    @batchmeter.hookimpl
    async def shutdown(self):
        self.order.append("shutdown")


def with_plugin(plugin, sandbox, tmp_path, **given):
    accounts = {"openai": {"api_key": "sk-test-key", "api_base": sandbox.url}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), track=False, load=(), accounts=accounts)
    return AsyncClient(settings=settings, plugins=[plugin], environ={}, **given)


async def test_a_call_while_plugins_start_waits_for_them(sandbox, requests, tmp_path):
    plugin = Starting()
    client = with_plugin(plugin, sandbox, tmp_path)
    opening = asyncio.create_task(client.open())
    await plugin.reached.wait()

    async def submit():
        file = await client.files.create(requests)
        await client.batches.create(endpoint=CHAT, input_file_id=file.id)

    call, ready = asyncio.create_task(submit()), asyncio.create_task(client.ready())
    await asyncio.sleep(0)
    assert (client.is_open, ready.done()) == (False, False)
    plugin.go.set()
    await asyncio.gather(opening, call, ready)
    await client.aclose()
    assert plugin.order == ["startup", "started", "asked", "shutdown"]


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_opening_that_ends_half_way_leaves_nothing_open(sandbox, requests, tmp_path, monkeypatch, how):
    plugin, ledger = Starting(), open_ledger(str(tmp_path / "own.db"))
    client = with_plugin(plugin, sandbox, tmp_path, ledger=ledger)
    if how == "cancelled":
        opening = asyncio.create_task(client.open())
        await plugin.reached.wait()
        await cancelled(opening)
    else:
        plugin.go.set()
        with monkeypatch.context() as patched:

            async def away(_):
                raise LedgerError("away")

            patched.setattr(ledger, "subscribe", away)
            with pytest.raises(LedgerError, match="away"):
                await client.open()
    assert (client.is_open, plugin.order[-1]) == (False, "shutdown")
    plugin.go.set()
    async with client:
        file = await client.files.create(requests)
        await client.batches.create(endpoint=CHAT, input_file_id=file.id)
        async with asyncio.timeout(10):
            await plugin.heard.wait()  # the loop that delivers runs


async def test_closing_that_is_cancelled_stops_and_closes_all(make_client, sandbox, requests):
    class Hangs:
        def __init__(self):
            self.reached = asyncio.Event()

        @batchmeter.hookimpl
        async def acreate_batch(self, event):
            self.reached.set()
            await asyncio.Event().wait()

    plugin, client = Hangs(), make_client(sandbox.url)
    client.plugins.register(plugin)
    file = await client.files.create(requests)
    await client.batches.create(endpoint=CHAT, input_file_id=file.id)
    await plugin.reached.wait()
    closing = asyncio.create_task(client.aclose(timeout=60))
    await asyncio.sleep(0)
    await cancelled(closing)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("batchmeter ")] == []
    assert not client.is_open
    await client.aclose()


def test_a_client_that_was_closed_opens_in_another_loop(make_client):
    client = make_client("http://127.0.0.1:9/v1")

    async def use():
        await asyncio.gather(client.open(), client.open())
        await client.aclose()

    for _ in range(2):
        asyncio.run(use())
