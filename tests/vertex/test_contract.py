"""Vertex AI keeps the contract of every provider, and its rows meter to the token and the cent."""

import json
from datetime import date
from decimal import Decimal

import pytest

from batchmeter.metering import Job, meter_outputs
from batchmeter.pricebook.book import embedded
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import ProviderContract

OPTIONS = CallOptions()


class TestGemini(ProviderContract):
    model = "gemini-2.5-flash"
    checks_keys = True
    pause = 0.0

    @pytest.fixture
    async def provider(self, make, vertex):
        vertex.tick = 60
        return make()

    @pytest.fixture
    async def locked_out(self, make):
        return make(token="wrong")


class TestNative(TestGemini):
    @pytest.fixture
    async def provider(self, make, vertex):
        vertex.tick = 60
        return make(format="native")

    def lines(self):
        turns = [{"role": "user", "parts": [{"text": "hi"}]}]
        rows = [{"custom_id": f"r-{i}", "request": {"contents": turns}} for i in range(self.requests)]
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def metered(provider, vertex, upload):
    async def of(rows, endpoint="/v1/chat/completions"):
        file = await provider.create_file(upload(rows), OPTIONS)
        batch = await provider.create_batch(BatchRequest(file.id, endpoint), OPTIONS)
        vertex.advance(120)
        batch = await provider.retrieve_batch(batch.id, OPTIONS)
        job = Job(
            provider=provider.name,
            endpoint=batch.endpoint,
            region=provider.region,
            model=batch.model,
            priced_at=date(2026, 11, 22),
            prices=embedded(),
        )
        return await meter_outputs(await provider.outputs(batch), job)

    return of


async def test_gemini_rows_meter_with_their_thoughts(metered, chat):
    found = await metered([*(chat(f"r{i}") for i in range(10)), chat("bad", "FAIL")])
    assert (found.lines.total, found.lines.succeeded, found.lines.failed) == (11, 10, 1)
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.reasoning_tokens) == (40, 320, 300)
    assert found.cost.total == (40 * Decimal("0.15") + 320 * Decimal("1.25")) / 1_000_000


async def test_claude_rows_meter_with_their_cache(metered, chat):
    found = await metered([chat("a", model="claude-haiku-4-5")])
    assert (found.usage.input_tokens, found.usage.cached_input_tokens, found.usage.output_tokens) == (10, 3, 5)
    assert found.cost.total is not None


async def test_embedding_rows_meter_by_the_jobs_model(metered):
    body = {"model": "gemini-embedding-001", "input": ["aaaa", "bb"]}
    row = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    found = await metered([row], "/v1/embeddings")
    assert found.usage.input_tokens == 6
    assert list(found.models) == ["gemini-embedding-001"]
    assert found.cost.total == 6 * Decimal("0.12") / 1_000_000


async def test_rows_of_both_exports_are_billed_once(provider, vertex, upload, chat, metered):
    shown = vertex._export

    def twice(folder, rows):
        shown(folder, rows)
        vertex.bucket.put(f"{folder}/incremental_predictions.jsonl", json.dumps(rows[0]).encode())

    vertex._export = twice
    found = await metered([chat(f"r{i}") for i in range(4)])
    assert (found.lines.total, found.usage.output_tokens) == (4, 128)
