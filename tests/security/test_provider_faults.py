"""A provider plugin that hangs, exits or answers nonsense: other accounts go on, and closing ends."""

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager

import pytest

from batchmeter import AsyncClient, errors, hook_calls, hookimpl, provider_guard
from batchmeter.config import Settings
from batchmeter.hook_calls import within
from batchmeter.models import Batch, FileDeleted, FileObject, Page
from batchmeter.providers import AccountSettings, Capabilities, ContentStream, OutputFile
from batchmeter.rounds import lost_creates as intents
from batchmeter.testing.recorder import Recorder

NOW = 1_790_000_000
LOST = 2
"""The create whose answer is lost; while no fault is set, no list shows any batch either."""
LINE = {"custom_id": "r-1", "response": {"status_code": 200, "body": {"model": "gpt-4o-mini", "usage": {}}}}


class OddError(BaseException):
    pass


async def hang():
    """A call that takes no notice of being cancelled."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def leave():
    raise SystemExit(3)


async def odd():
    raise OddError


async def cancel():
    raise asyncio.CancelledError


async def nothing():
    return None


async def mapping():
    return {"id": "batch_1", "status": "completed"}


FAULTS = [hang, leave, odd, cancel, nothing, mapping]


class BareProvider:
    """A provider in memory: every batch has ended when it is first looked at. Account `bad` misbehaves."""

    name = "bare"
    Settings = AccountSettings
    capabilities = Capabilities()
    region = None
    endpoint = "memory://"
    fault = None

    def __init__(self, account, settings):
        self.account = account
        self.batches = {}
        self.made = 0

    async def _fault(self):
        return await type(self).fault() if self.account == "bad" and type(self).fault is not None else self

    async def create_file(self, upload, options):
        return FileObject(id="file-1")

    async def retrieve_file(self, file_id, options):
        return FileObject(id=file_id)

    async def list_files(self, **_):
        return Page(data=[])

    async def delete_file(self, file_id, options):
        return FileDeleted(id=file_id)

    @asynccontextmanager
    async def file_content(self, file_id, options):
        yield await self._stream()

    async def _stream(self):
        return ContentStream(self._chunks())

    async def _chunks(self):
        yield json.dumps(LINE).encode() + b"\n"

    async def create_batch(self, request, options):
        self.made += 1
        name = f"{self.account}_{self.made}"
        self.batches[name] = Batch(id=name, status="validating", created_at=NOW, metadata=request.metadata)
        if self.made == LOST:
            raise errors.APITimeoutError("no answer in time")
        return self.batches[name]

    async def retrieve_batch(self, batch_id, options):
        if (answer := await self._fault()) is not self:
            return answer
        counts = {"total": 1, "completed": 1, "failed": 0}
        return Batch(id=batch_id, status="completed", output_file_id="file-2", request_counts=counts, completed_at=2)

    async def cancel_batch(self, batch_id, options):
        return self.batches[batch_id]

    async def list_batches(self, *, after, limit, options):
        if (answer := await self._fault()) is not self:
            return answer
        shown = [] if type(self).fault is None else list(self.batches.values())[::-1]
        return Page(data=[] if after else shown)

    async def outputs(self, batch):
        return [OutputFile("file-2", "output", lambda: self.file_content("file-2", None))]

    def price_model(self, model):
        return self.named(model)

    def named(self, model):
        return model

    async def aclose(self):
        await self._fault()


def later():
    """An hour after the creates, and from then on a hundred times as fast as here."""
    return (NOW + 3600) * 1000 + int(time.monotonic() * 100_000)


async def doze(seconds):
    """A sleep by that clock."""
    await asyncio.sleep(seconds / 100)


@pytest.fixture
async def site(ledger, monkeypatch):
    """A client with a bad account and a good one: each has an open batch, and a create whose answer was lost."""

    class Mine(BareProvider):
        pass

    class Plugin:
        @hookimpl
        def register_providers(self, register):
            register(Mine)

    monkeypatch.setattr(hook_calls, "GRACE_SECONDS", 0.02)
    monkeypatch.setitem(provider_guard._SECONDS, "aclose", 0.05)
    accounts = {name: {"provider": "bare"} for name in ("bad", "good")}
    settings = Settings(ledger=ledger, accounts=accounts, track=False, load=())
    client, log = AsyncClient(settings=settings), Recorder()
    for plugin in (Plugin(), log):
        client.plugins.register(plugin)
    await client.open()
    monkeypatch.setattr(client.ledger.database, "_clock", lambda: NOW * 1000)
    monkeypatch.setattr(intents, "MOST_SECONDS", 0.1)
    for account in accounts:
        request = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "custom_llm_provider": account}
        await client.batches.create(**request)
        with pytest.raises(errors.CreateUnknownError):
            await client.batches.create(**request)
    monkeypatch.setattr(client.ledger.database, "_clock", later)
    client.tracker.poller.sleep = doze
    yield client, Mine, log
    await asyncio.wait_for(client.aclose(), 20)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_other_accounts_go_on_and_closing_ends(fault, site):
    client, provider, log = site
    provider.fault = staticmethod(fault)
    await client.tracker.rounds["lost_creates"]()
    tracking = asyncio.create_task(client.tracker.run())
    settled = [await client.batches.wait(f"good_{number}", timeout=30) for number in (1, LOST)]
    tracking.cancel()
    await asyncio.wait({tracking}, timeout=20)
    assert tracking.done()
    assert [one.status for one in settled] == ["completed", "completed"]
    await asyncio.wait_for(client.aclose(timeout=0.5), 20)
    created = sorted(event.batch_id for event in log.events if event.type == "acreate_batch")
    assert created == ["bad_1", "good_1", "good_2"]


async def test_a_call_that_ignores_its_end_does_not_hold_the_loop(monkeypatch):
    """`asyncio.run` waits for every task that it knows of."""
    monkeypatch.setattr(hook_calls, "GRACE_SECONDS", 0.01)

    def in_a_loop():
        async def main():
            with pytest.raises(errors.APITimeoutError, match="mine did not end in 0.01 s"):
                await within(hang(), 0.01, "mine did not end in", errors.APITimeoutError)

        asyncio.run(main())

    await asyncio.wait_for(asyncio.to_thread(in_a_loop), 20)


async def test_a_call_that_ends_well_while_it_is_stopped_counts():
    async def late():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    assert await within(late(), 0.01) == "done"


async def test_the_error_names_plugin_method_and_answer(site):
    client, provider, _ = site
    for fault, error, text in (
        (leave, RuntimeError, "retrieve_batch raised SystemExit: 3"),
        (odd, RuntimeError, "raised OddError"),
        (cancel, RuntimeError, "cancelled itself"),
        (nothing, errors.APIResponseError, "provider 'bare': retrieve_batch gave NoneType where .* a Batch"),
        (mapping, errors.APIResponseError, "gave dict"),
    ):
        provider.fault = staticmethod(fault)
        with pytest.raises(error, match=text):
            await client.batches.retrieve("bad_1")


def after_a_line(fault):
    async def chunks(self):
        yield json.dumps(LINE).encode() + b"\n"
        yield await fault()

    return chunks


async def text():
    return "text"


def no_stream(self):
    yield b"x"


STREAMS = [
    (after_a_line(leave), "file_content raised SystemExit: 3"),
    (after_a_line(odd), "file_content raised OddError"),
    (after_a_line(cancel), "file_content cancelled itself"),
    (after_a_line(nothing), "file_content gave NoneType where the contract wants bytes"),
    (after_a_line(text), "file_content gave str where the contract wants bytes"),
    (no_stream, "file_content gave generator where the contract wants an async iterator of bytes"),
]


@pytest.mark.parametrize(("chunks", "said"), STREAMS, ids=[said for _, said in STREAMS])
async def test_faults_in_the_middle_of_an_answer_file_are_named(chunks, said, site, monkeypatch):
    """The batch is looked at again, and says why; no task of the tracker ends without a word."""
    client, provider, _ = site
    monkeypatch.setattr(provider, "_chunks", chunks)
    with pytest.raises((RuntimeError, errors.APIResponseError), match=said):
        await (await client.files.content("file-2", custom_llm_provider="bad")).aread()
    tracking = asyncio.create_task(client.tracker.run())
    async with asyncio.timeout(20):
        said = said.partition(" where")[0]
        while said not in str((await client.ledger.get_batch("bad_1", "bad")).last_error):  # noqa: ASYNC110 - of a look that failed nobody is told
            await asyncio.sleep(0.01)
    assert not tracking.done()
    tracking.cancel()
    await asyncio.wait({tracking})


@pytest.mark.parametrize(
    ("fault", "said"),
    [(lambda *_: exec("raise SystemExit(3)"), "price_model raised SystemExit: 3"), (lambda *_: {}, "gave dict")],
    ids=["exit", "dict"],
)
async def test_a_model_s_name_of_a_plugin_is_text(fault, said, site, monkeypatch):
    client, provider, _ = site
    monkeypatch.setattr(provider, "named", fault)
    with pytest.raises((RuntimeError, errors.APIResponseError), match=said):
        client.accounts.get("bad").price_model("gpt-5")
