"""The meter finds in the sandbox's files exactly what the sandbox says is in them, and can price it."""

from datetime import date

import pytest

from batchmeter import meter
from batchmeter.models import Usage
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import PriceQuery
from batchmeter_sandbox.snapshots import SNAPSHOTS

from .conftest import CHAT, request

LONG = [{"role": "user", "content": "tell me about caches " * 300}]
CASES = {
    "chat": (CHAT, {"model": "gpt-5-mini", "messages": LONG}),
    "responses": ("/v1/responses", {"model": "gpt-5", "input": LONG}),
    "embeddings": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "bb"], "dimensions": 8}),
    "completions": ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon"}),
}


@pytest.mark.parametrize("script", ["fail=0.2", "malformed=2 no_usage=3 tokens=40", "outcome=expired done=0.3"])
@pytest.mark.parametrize("case", CASES)
async def test_the_meter_agrees(sandbox, client, clock, submit, case, script):
    endpoint, body = CASES[case]
    batch = await submit([request(number, url=endpoint, **body) for number in range(40)], script, endpoint=endpoint)
    clock.advance(2000)
    batch = await client.batches.retrieve(batch.id)
    totals = await sandbox.engine.totals(batch.id)
    found = meter((await client.files.content(batch.output_file_id)).content, endpoint=endpoint)
    assert (found.lines.succeeded, found.lines.malformed) == (totals.succeeded, totals.malformed)
    assert found.lines.unpriced == totals.without_usage
    assert sum((model.usage for model in found.models.values()), Usage()) == totals.usage == found.usage
    assert found.cost.known > 0
    assert (found.cost.total is None) == bool(totals.without_usage)


PRICED = {*SNAPSHOTS.values(), "text-embedding-3-small"} - {"omni-moderation-2024-09-26"}  # moderations report no usage


@pytest.mark.parametrize("model", sorted(PRICED))
def test_every_snapshot_has_a_price(model):
    assert PriceBook.load(None).rates(PriceQuery("sandbox", model, date(2026, 11, 22), priced_as="openai")) is not None
