"""The proxy in front of a served sandbox: as an app in this process, with the official SDK as its client."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from functools import cache

import httpx2
import pytest

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox, manual_clock, serve_sandbox
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

CHAT = "/v1/chat/completions"


def _lines(count: int, model: str = "gpt-4o-mini", **changed) -> bytes:
    return b"".join(_line(number, model, json.dumps(changed)) for number in range(count))


@cache
def _line(number: int, model: str, changed: str) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": f"hello {number}"}]}
    row = {"custom_id": f"r-{number}", "method": "POST", "url": CHAT, "body": body} | json.loads(changed)
    return json.dumps(row).encode() + b"\n"


@pytest.fixture
def lines():
    """`lines(3)`: an input file of three requests."""
    return _lines


@pytest.fixture
def clock():
    return manual_clock()


@pytest.fixture
async def sandbox(clock) -> AsyncGenerator[Sandbox]:
    """At speed 1: validated after 60 s, run after 1260 s, completed after 1350 s."""
    async with serve_sandbox(speed=1, clock=clock) as served:
        yield served


@pytest.fixture(scope="session")
def used_ledger(tmp_path_factory):
    """The file of a ledger that a proxy has served before, without keys: its tables and views are made."""
    path = tmp_path_factory.mktemp("used") / "proxy.db"

    async def serve():
        account = {"provider": "openai", "api_base": "http://127.0.0.1:1", "api_key": "k"}
        settings = Settings(ledger=str(path), accounts={"openai": account}, track=False, load=())
        async with AsyncClient(settings=settings) as client:
            assert not await (await keyring_of(client)).has_keys()

    asyncio.run(serve())
    return path


@pytest.fixture
def ledger(used_ledger, tmp_path):
    """A copy of it: SQLite needs ten milliseconds to make a proxy's tables and views."""
    return str(shutil.copyfile(used_ledger, tmp_path / "proxy.db"))


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def client(sandbox, ledger, recorder):
    """Two accounts at one sandbox; nothing is tracked but what the proxy sees."""
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
    settings = Settings(
        ledger=ledger,
        accounts={"openai": account, "other": account},
        proxy={"freshness": 0},
        track=False,
        load=(),
    )
    async with AsyncClient(settings=settings, plugins=[recorder]) as opened:
        yield opened


@pytest.fixture
def app(client):
    return create_app(client)


@pytest.fixture
async def http(app):
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
        yield opened


@pytest.fixture
async def sdk(http):
    async with openai.AsyncOpenAI(
        base_url="http://proxy/v1", api_key="sk-1234", http_client=http, max_retries=0
    ) as opened:
        yield opened


class Caller:
    """One key's own SDK client."""

    def __init__(self, http, key, secret):
        self.key, self.secret = key, secret
        self.sdk = openai.AsyncOpenAI(base_url="http://proxy/v1", api_key=secret, http_client=http, max_retries=0)
        self.files, self.batches = self.sdk.files, self.sdk.batches
        self.http = http

    async def upload(self, content, name="in.jsonl"):
        return await self.files.create(file=(name, content), purpose="batch")

    async def submit(self, content, **more):
        file = await self.upload(content)
        return await self.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", **more)

    async def get(self, path, **headers):
        return await self.http.get(path, headers={"authorization": f"Bearer {self.secret}", **headers})


@pytest.fixture
def caller(client, http):
    """`await caller(owner="ada")`: a new key and its client."""

    async def make(**details):
        key, secret = await create_key(await keyring_of(client), **details)
        return Caller(http, key, secret)

    return make


@pytest.fixture
async def ended(clock, client):
    """`await ended(batch)`: the batch has completed and is settled."""

    async def end(batch_id):
        clock.advance(60)
        await client.batches.retrieve(batch_id)
        clock.advance(1400)
        return await client.batches.wait(batch_id, timeout=10)

    return end


async def refused(coroutine):
    with pytest.raises(openai.APIStatusError) as caught:
        await coroutine
    return caught.value.status_code, caught.value.code
