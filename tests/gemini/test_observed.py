"""Google's own client, observed: its batches are tracked and settled under its account."""

import httpx2
import pytest
from tests.later import Later

import batchmeter
from batchmeter.config import Settings
from batchmeter.faces.sync import Client
from batchmeter.testing.recorder import Recorder

from .fake import KEY

genai, types = Later("google.genai"), Later("google.genai.types")


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
def meter(vendor, tmp_path, log):
    accounts = {"google": {"provider": "gemini", "api_key": KEY, "api_base": vendor.base}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=("gemini",), accounts=accounts)
    with Client(settings=settings, plugins=[log], environ={}) as client:
        yield client


def test_a_batch_of_the_official_client_is_settled_under_its_account(vendor, meter, log):
    http = batchmeter.observe(httpx2.Client(), using=meter)
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=vendor.base, httpx_client=http))
    made = client.batches.create(model="gemini-2.5-flash", src=[types.InlinedRequest(contents="hi")])
    while not client.batches.get(name=made.name).done:
        pass
    client.close()
    http.close()
    settled = meter.batches.wait(made.name.removeprefix("batches/"), custom_llm_provider="google", timeout=20)
    assert (settled.status, settled.cost.total is not None) == ("completed", True)
    while len(log.events) < 2:  # one may be on its way
        meter.engine.call(lambda inner: inner.deliverer.drain(10))
    assert [(event.type, event.account) for event in log.events] == [
        ("acreate_batch", "google"),
        ("batch_success", "google"),
    ]
