"""An upload through the proxy to a Vertex AI account is judged by Vertex AI's limits."""

import json
from dataclasses import replace

import httpx2
import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter_proxy import create_app
from batchmeter_vertex.rows import LIMITS

from .fake import jsonl


@pytest.fixture
async def through(make, tmp_path):
    """`through(rows, **settings)`: the proxy's answer to their upload to such an account."""

    async def send(rows, limits=None, **settings):
        account = make(**settings)
        if limits is not None:
            account.input_limits = limits
        options = Settings(ledger=str(tmp_path / "ledger.db"), default_account="vertex", track=False, load=())
        async with AsyncClient(settings=options) as client:
            client.accounts.add(account)
            transport = httpx2.ASGITransport(create_app(client))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
                files = {"file": ("in.jsonl", jsonl(rows))}
                return await http.post("/v1/files", data={"purpose": "batch"}, files=files)

    return send


def test_the_limits(make):
    assert make().input_limits is LIMITS
    assert (LIMITS.lines, LIMITS.bytes) == (200_000, 1_000_000_000)
    assert make(format="native").input_limits is None


async def test_an_endpoint_without_translation_is_refused_by_line(through, bucket):
    row = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "gemini-2.5-flash"}}
    answer = await through([row])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_url", "url")
    assert "/v1/chat/completions, /v1/embeddings" in error["message"]
    assert bucket.names() == []


async def test_what_it_can_translate_goes_through(through, bucket, chat):
    answer = await through([chat("a"), chat("b")])
    assert answer.status_code == 200, answer.text
    assert len(bucket.names()) == 2, "the file, and its rows"
    assert (await through([chat("a"), chat("b")], replace(LIMITS, lines=1))).status_code == 400


async def test_rows_of_its_own_are_its_own_matter(through, bucket):
    rows = [{"request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}}]
    answer = await through(rows, format="native")
    assert answer.status_code == 200, answer.text
    (name,) = bucket.names()
    assert json.loads(bucket.get(name)) == rows[0]
