"""Slow readers and writers of one key, and strangers, hold up nobody else."""

import asyncio

import httpx2
import pytest

from batchmeter.models import FileObject
from batchmeter.testing.wire import Answer
from batchmeter_proxy import create_app
from batchmeter_proxy.errors import Refusal
from batchmeter_proxy.transfers import Places, Transfers

from .conftest import CHAT


def served(client, **options):
    settings = client.settings.model_copy(update={"proxy": {"freshness": 0, **options}})
    client.settings = settings
    return create_app(client)


def scope(path, secret, *, method="GET", **headers):
    given = {"authorization": f"Bearer {secret}", "host": "proxy", **headers}
    raw = [(name.encode(), text.encode()) for name, text in given.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": raw,
        "client": ("127.0.0.1", 1),
        "state": {},
    }


class Reader:
    """A client that takes the head of its answer, and nothing more."""

    def __init__(self):
        self.begun, self.status = asyncio.Event(), None

    async def receive(self):
        return await asyncio.Event().wait()

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begun.set()
        else:
            await asyncio.Event().wait()


async def test_unread_downloads_leave_connections_for_other_calls(caller, client, lines):
    """More downloads than a pool for short calls has connections, and nobody reads any of them."""
    app = served(client, transfers=24, transfers_per_key=20, transfer_wait_seconds=0.01)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        ada, bob = await caller(owner="ada"), await caller(owner="bob")
        ada.sdk._client = bob.sdk._client = bob.http = ada.http = http
        file = await ada.upload(lines(4000))
        batch = await ada.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        readers = [Reader() for _ in range(20)]
        path = f"/v1/files/{file.id}/content"
        tasks = [asyncio.create_task(app(scope(path, ada.secret), one.receive, one.send)) for one in readers]
        await asyncio.gather(*(one.begun.wait() for one in readers))
        assert {one.status for one in readers} == {200}
        again = await ada.get(path)
        assert (again.status_code, again.json()["error"]["code"]) == (429, "too_many_transfers")
        assert "retry-after" in again.headers
        assert (await ada.get(f"/v1/batches/{batch.id}")).status_code == 200
        theirs = await bob.upload(lines(2))
        assert (await bob.get(f"/v1/files/{theirs.id}/content")).status_code == 200
        assert (await client.batches.retrieve(batch.id)).id == batch.id, "a tracker's look"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("limit", ["download_idle_seconds", "download_seconds"])
async def test_a_download_that_is_not_read_ends(caller, client, lines, limit):
    app = served(client, **{limit: 0.02})
    ada = await caller(owner="ada")
    file = await ada.upload(lines(4000))
    reader = Reader()
    with pytest.raises(Refusal, match="too slowly"):
        await app(scope(f"/v1/files/{file.id}/content", ada.secret), reader.receive, reader.send)
    assert (await ada.get(f"/v1/files/{file.id}/content")).status_code == 200


@pytest.mark.parametrize("path", ["/v1/export/costs", "/v1/export/focus", "/ui/export/spend.csv"])
async def test_an_export_that_is_not_read_ends(caller, client, path):
    app, reader = served(client, download_seconds=0.02), Reader()
    root = await caller(owner="root", admin=True)
    sending = asyncio.create_task(app(scope(path, root.secret), reader.receive, reader.send))
    await asyncio.wait({sending}, timeout=10)
    assert reader.status == 200
    assert sending.done(), "it waits for ever"
    assert isinstance(sending.exception(), TimeoutError)


async def test_trickling_uploads_hold_up_their_own_key_only(caller, client, lines):
    app = served(client, transfers_per_key=3, transfer_wait_seconds=0.01)
    transport = httpx2.ASGITransport(app)
    ada, bob = await caller(owner="ada"), await caller(owner="bob")

    class Writer(Reader):
        async def receive(self):
            self.begun.set()
            return await asyncio.Event().wait()

    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        ada.http = bob.http = http
        writers = [Writer() for _ in range(3)]
        kind = {"content-type": "multipart/form-data; boundary=x"}
        tasks = [
            asyncio.create_task(app(scope("/v1/files", ada.secret, method="POST", **kind), one.receive, one.send))
            for one in writers
        ]
        await asyncio.gather(*(one.begun.wait() for one in writers))
        for tenant, status in ((ada, 429), (bob, 200)):
            answer = await http.post(
                "/v1/files",
                data={"purpose": "batch"},
                files={"file": ("in.jsonl", lines(1))},
                headers={"authorization": f"Bearer {tenant.secret}"},
            )
            assert answer.status_code == status
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_short_calls_leave_connections_for_other_keys(vendor):
    """The vendor lets one key wait, which asks for more than an account has connections for short calls."""
    app = served(vendor.client, calls_per_key=12, transfer_wait_seconds=0.01)
    vendor.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://proxy")
    slow = Answer(200, vendor.script.answers[0].body, after=asyncio.Event())
    vendor.script.answers = [*[slow] * 12, *vendor.script.answers]
    async with vendor.http:
        ada, bob = await vendor.tenant(owner="ada"), await vendor.tenant(owner="bob")
        asked = [asyncio.create_task(ada.get("/v1/files/file-1")) for _ in range(40)]
        done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 28:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        answers = [one.result() for one in done]
        assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {(429, "too_many_calls")}
        assert "retry-after" in answers[0].headers
        while len(vendor.script.received) < 12:  # noqa: ASYNC110 - turns of the loop, not time
            await asyncio.sleep(0)
        theirs = FileObject(id="file-2", created_at=0, bytes=1, filename="in.jsonl", purpose="batch")
        await vendor.client.ledger.record_file("openai", theirs, attribution=bob.key.attribution, lines=2)
        assert (await bob.get("/v1/files/file-2")).status_code == 200
        assert (await vendor.client.batches.retrieve("batch_1", custom_llm_provider="openai")).id == "batch_1"
        slow.after.set()
        assert {(await one).status_code for one in waiting} == {200}


async def test_all_keys_together_have_a_limit_too():
    transfers = Transfers(2, 2, 0.01)
    async with transfers.turn("a"), transfers.turn(None):
        with pytest.raises(Refusal) as caught:
            await transfers.turn("b").__aenter__()
        assert (caught.value.status, caught.value.code) == (503, "busy")
    async with transfers.turn("b"), transfers.turn("b"):
        pass
    assert transfers.shares._shares == {}, "nothing is kept of a key without transfers"


async def test_a_transfer_waits_for_its_turn():
    transfers = Transfers(8, 1, 30)
    order = []

    async def one(name):
        async with transfers.turn("a"):
            order.append(name)
            await asyncio.sleep(0)
            order.append(name)

    await asyncio.gather(one(1), one(2), one(3))
    assert order == [1, 1, 2, 2, 3, 3]


def test_strangers_without_a_place_are_refused_at_once():
    places = Places(1)
    with places.place(), pytest.raises(Refusal) as caught, places.place():
        pass
    assert (caught.value.status, caught.value.headers["connection"]) == (503, "close")
    with places.place():
        pass
