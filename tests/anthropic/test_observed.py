"""Anthropic's own client, sync and async, observed: its batches are tracked and settled under its account."""

import pytest
from tests.later import Later

import batchmeter
from batchmeter.config import Settings
from batchmeter.faces.sync import Client
from batchmeter.testing.recorder import Recorder

from .fake import KEY

anthropic = Later("anthropic")

PARAMS = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
REQUESTS = [{"custom_id": "a", "params": PARAMS}]


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
def meter(vendor, tmp_path, log):
    accounts = {"claude": {"provider": "anthropic", "api_key": KEY, "api_base": vendor.base}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=("anthropic",), accounts=accounts)
    with Client(settings=settings, plugins=[log], environ={}) as client:
        yield client


def test_a_batch_of_the_official_client_is_settled_under_its_account(vendor, meter, log):
    with batchmeter.observe(anthropic.Anthropic(base_url=vendor.base, api_key=KEY), using=meter) as client:
        made = client.messages.batches.create(requests=REQUESTS)
        assert [one.id for one in client.messages.batches.list()] == [made.id]
        while client.messages.batches.retrieve(made.id).processing_status != "ended":
            pass
        assert [one.custom_id for one in client.messages.batches.results(made.id)] == ["a"]
    settled = meter.batches.wait(made.id, custom_llm_provider="claude", timeout=20)
    assert (settled.status, settled.cost.total is not None) == ("completed", True)
    while len(log.events) < 2:  # one may be on its way
        meter.engine.call(lambda inner: inner.deliverer.drain(10))
    assert [(event.type, event.account) for event in log.events] == [
        ("acreate_batch", "claude"),
        ("batch_success", "claude"),
    ]


async def test_the_async_client_with_a_key_of_its_own(vendor, meter):
    vendor.looks = 100
    async with anthropic.AsyncAnthropic(base_url=vendor.base, api_key=KEY) as client:
        batchmeter.observe(client, using=meter)
        made = await client.messages.batches.create(requests=REQUESTS)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.retrieve("msgbatch_nobody")
    (tracked,) = meter.engine.call(lambda inner: inner.ledger.list_batches())
    assert (tracked.batch_id, tracked.account, tracked.batch.endpoint) == (made.id, "claude", "/v1/messages")
