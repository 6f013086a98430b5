"""The account of an observed request: the configured one where address and key are its own, else an ad-hoc one."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import batchmeter

BATCH = {"id": "batch_1", "object": "batch", "status": "in_progress", "endpoint": "/v1/chat/completions"}
OPENAI = {"api_key": "sk-one", "api_base": "https://api.openai.com/v1"}
AZURE = {"provider": "azure", "endpoint": "https://res.openai.azure.com", "api_version": "2024-10-21"}
Make = Callable[..., batchmeter.Client]


def seen(meter: batchmeter.Client, url: str, headers: dict[str, str], answer: dict[str, Any] = BATCH) -> Any:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=json.dumps(answer).encode()))
    with batchmeter.observe(httpx2.Client(transport=transport), using=meter) as client:
        client.post(url, headers=headers)
    return meter.engine.call(lambda inner: inner.ledger.get_batch(answer["id"]))


@pytest.mark.parametrize(
    ("accounts", "url", "headers", "account"),
    [
        ({"openai": OPENAI}, "https://api.openai.com/v1/batches", {"authorization": "Bearer sk-one"}, "openai"),
        ({"mine": {"provider": "openai", **OPENAI}}, "https://api.openai.com/v1/batches",
         {"authorization": "bearer sk-one"}, "mine"),
        ({"a": {**AZURE, "api_key": "az"}}, "https://res.openai.azure.com/openai/batches?api-version=2024-10-21",
         {"api-key": "az"}, "a"),
        ({"a": {**AZURE, "api_key": "az"}}, "https://res.openai.azure.com/openai/batches?api-version=2024-10-21",
         {"authorization": "Bearer token-of-this-hour"}, "a"),
    ],
)  # fmt: skip
def test_a_configured_account(
    make_meter: Make, accounts: dict[str, Any], url: str, headers: dict[str, str], account: str
) -> None:
    assert seen(make_meter(accounts), url, headers).account == account


@pytest.mark.parametrize(
    ("accounts", "url", "headers", "start"),
    [
        ({"openai": OPENAI}, "https://api.openai.com/v1/batches", {"authorization": "Bearer sk-two"}, "openai#"),
        ({"openai": OPENAI}, "https://api.openai.com/v1/batches",
         {"authorization": "Bearer sk-one", "openai-project": "p"}, "openai#"),
        ({"openai": OPENAI}, "http://localhost:8000/v1/batches", {"authorization": "Bearer sk-one"},
         "openai@localhost:8000"),
        ({"openai": OPENAI}, "http://user:pw@localhost:8000/v1/batches", {}, "openai@localhost:8000#"),
        ({}, "https://res.services.ai.azure.com/openai/v1/batches", {"api-key": "az"}, "azure@res.services.ai.azure"),
    ],
)  # fmt: skip
def test_an_ad_hoc_account(
    make_meter: Make, accounts: dict[str, Any], url: str, headers: dict[str, str], start: str
) -> None:
    name = seen(make_meter(accounts), url, headers).account
    assert name.startswith(start)
    assert not [secret for secret in ("sk-one", "sk-two", "az-", "pw") if secret in name]


def test_the_environment_s_key_never_goes_to_another_host(make_meter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    meter = make_meter({"openai": {"headers": {"x-gateway-key": "secret"}}})
    account = seen(meter, "http://elsewhere.test/v1/batches", {}).account
    settings = meter.engine.call(lambda inner: _settings(inner, account))
    assert settings.api_key.get_secret_value() == "none"
    assert settings.headers == {}


async def _settings(inner: batchmeter.AsyncClient, account: str) -> Any:
    return inner.accounts.get(account)._settings  # type: ignore[attr-defined]


def test_an_entra_token_of_the_next_hour_is_the_same_account(make_meter: Make) -> None:
    meter = make_meter()
    url = "https://res.openai.azure.com/openai/v1/batches"
    first = seen(meter, url, {"authorization": "Bearer eins"})
    second = seen(meter, url, {"authorization": "Bearer zwei"}, {**BATCH, "id": "batch_2"})
    settings = meter.engine.call(lambda inner: _settings(inner, first.account))
    assert first.account == second.account == "azure@res.openai.azure.com"
    assert settings.ad_token_provider() == "zwei"


def test_a_batch_of_a_key_that_was_rotated_is_followed_with_the_new_one(make_meter: Make, tmp_path: Any) -> None:
    url = "http://gateway.test/v1/batches"
    before = make_meter()
    account = seen(before, url, {"authorization": "Bearer sk-old"}).account
    before.close()
    after = make_meter()  # another process, over the same ledger
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={**BATCH, "status": "finalizing"}))
    with batchmeter.observe(httpx2.Client(transport=transport), using=after) as client:
        client.get(f"{url}/batch_1", headers={"authorization": "Bearer sk-new"})
    while (tracked := after.engine.call(lambda inner: inner.ledger.get_batch("batch_1"))).batch.status != "finalizing":
        pass
    assert tracked.account == account
    settings = after.engine.call(lambda inner: _settings(inner, account))
    assert settings.api_key.get_secret_value() == "sk-new"
