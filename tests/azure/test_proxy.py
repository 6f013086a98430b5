"""An upload through the proxy to an Azure account is judged by Azure's limits."""

import json
from dataclasses import replace

import httpx2
import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.inputs import OPENAI
from batchmeter_azure import AzureProvider
from batchmeter_proxy import create_app


@pytest.fixture
async def http(azure, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "azure")
    azure.pending = 0
    account = {"endpoint": azure.url, "api_key": "azure-key-0123456789"}
    settings = Settings(
        ledger=str(tmp_path / "ledger.db"), default_account="azure", accounts={"azure": account}, track=False
    )
    async with AsyncClient(settings=settings) as client:
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
            yield opened


def lines(count, url="/chat/completions", **body):
    body = {"model": "batch4o", "messages": [{"role": "user", "content": "hi"}]} | body
    rows = ({"custom_id": f"r-{n}", "method": "POST", "url": url, "body": body} for n in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def send(http, content):
    return await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)})


async def test_azures_own_spelling_and_number_of_lines(http, azure, monkeypatch):
    limits = AzureProvider.input_limits
    assert (limits.lines, limits.bytes) == (100_000, OPENAI.bytes)
    monkeypatch.setattr(AzureProvider, "input_limits", replace(limits, lines=3))
    answer = await send(http, lines(3))
    assert answer.status_code == 201, "as Azure answers an upload"
    answer = await send(http, lines(4))
    assert answer.status_code == 400
    assert "more than 3 requests" in answer.json()["error"]["message"]
    assert len(azure.files) == 1


async def test_azures_spelling_has_the_same_rules(http, azure):
    answer = await send(http, lines(1, messages=None))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "body.messages"
    answer = await send(http, lines(1) + lines(1, "/v1/chat/completions").replace(b"r-0", b"r-1"))
    assert answer.json()["error"]["code"] == "url_mismatch"
    assert azure.files == {}
