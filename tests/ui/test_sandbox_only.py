"""A ledger with batches of an embedded sandbox only: its sums are shown, and marked as invented."""

import asyncio

import httpx2
import pytest_asyncio

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter_proxy import create_app

from .conftest import CHAT, lines


@pytest_asyncio.fixture(loop_scope="session")
async def client(tmp_path):
    settings = Settings(
        ledger=str(tmp_path / "sandbox.db"),
        accounts={"sandbox": {"provider": "sandbox", "speed": 30000}},
        default_account="sandbox",
        track=False,
        load=("sandbox",),
    )
    async with AsyncClient(settings=settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def http(client):
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as opened:
        yield opened


async def settle(client, model):
    file = await client.files.create(file=("in.jsonl", lines(3, model)), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    await asyncio.wait_for(client.batches.wait(batch.id), 20)


async def test_sandbox_sums_are_shown_as_invented(client, http):
    await settle(client, "gpt-4o-mini")
    await settle(client, "house-llama")
    for place in ("/ui", "/ui/spend", "/ui/spend?by=team&per=month", "/ui/unknown"):
        page = (await http.get(place)).text
        assert "<b>Invented</b>" in page, place
        assert "No batch was settled in this span" not in page, place
    assert "Saved by batch" in (await http.get("/ui")).text
    assert "unknown_model" in (await http.get("/ui/unknown")).text
    assert "gpt-4o-mini" in (await http.get("/ui/export/spend.csv?by=model")).text
