"""Tenants of a proxy, in front of a served sandbox (as in `tests/proxy`) or of a vendor that keeps what it was sent;
and both HTTP libraries.
"""

import json
from dataclasses import dataclass

import httpx2
import pytest
from tests.proxy.conftest import (
    Caller,
    app,
    caller,
    client,
    clock,
    ended,
    http,
    ledger,
    lines,
    recorder,
    sandbox,
    sdk,
    used_ledger,
)

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.models import FileObject
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

__all__ = [
    "app",
    "caller",
    "client",
    "clock",
    "ended",
    "http",
    "ledger",
    "lines",
    "recorder",
    "sandbox",
    "sdk",
    "used_ledger",
]

CHAT = "/v1/chat/completions"
_BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": CHAT,
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "validating",
    "created_at": 1_800_000_000,
}


@dataclass
class Vendor:
    """A server that makes every batch, and what it was sent."""

    script: Script
    client: AsyncClient
    http: httpx2.AsyncClient

    async def tenant(self, **details) -> Caller:
        """A key that has uploaded `file-1`, with two lines in it."""
        key, secret = await create_key(await keyring_of(self.client), **details)
        file = FileObject(id="file-1", created_at=0, bytes=1, filename="in.jsonl", purpose="batch")
        await self.client.ledger.record_file("openai", file, attribution=key.attribution, lines=2)
        return Caller(self.http, key, secret)

    @property
    def sent(self) -> list[dict]:
        """The bodies of creates."""
        return [json.loads(one.body) for one in self.script.received if one.method == "POST"]


@pytest.fixture
async def vendor(ledger):
    answer = Answer(200, json.dumps(_BATCH).encode(), {"content-type": "application/json"})
    script = Script([answer])
    async with serving(script) as address:
        account = {"provider": "openai", "api_base": address, "api_key": "sk-account", "max_retries": 0}
        settings = Settings(
            ledger=ledger,
            accounts={"openai": account},
            track=False,
            load=(),
            proxy={"freshness": 0},
        )
        async with AsyncClient(settings=settings) as client:
            transport = httpx2.ASGITransport(create_app(client))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
                yield Vendor(script, client, opened)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request, monkeypatch):
    monkeypatch.setenv("BATCHMETER_HTTP", request.param)
    return request.param
