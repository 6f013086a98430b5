"""A tenant cannot spend past its budget: by many creates at once, by files that were not counted, by other words."""

import asyncio
import json
from decimal import Decimal

import httpx2
import pytest
from tests.cases import case

from batchmeter import AsyncClient
from batchmeter.access import access_of
from batchmeter.config import Settings
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import Keyring
from batchmeter_proxy.keys import create_key

CHAT = "/v1/chat/completions"
LIMIT = "0.01"


def lines(**body) -> bytes:
    request = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1000, **body}
    rows = ({"custom_id": f"r-{n}", "method": "POST", "url": CHAT, "body": request} for n in range(3))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
async def client(ledger):
    async with serve_sandbox() as sandbox:
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
        settings = Settings(
            ledger=ledger,
            accounts={"openai": account},
            plugins={"budgets": {"teams": {"limit": LIMIT, "scope": {"team": "*"}, "reserve": "upper"}}},
            track=False,
            load=("budgets",),
        )
        async with AsyncClient(settings=settings) as opened:
            yield opened


@pytest.fixture
async def tenant(client):
    _, secret = await create_key(await Keyring.open(await access_of(client)), team="search")
    transport = httpx2.ASGITransport(create_app(client))
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy", headers=headers) as http:
        yield http


async def create(http, file_id, **more):
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h", **more}
    return await http.post("/v1/batches", json=body, headers={"x-batchmeter-tags": "team=other"})


async def upload(http, content):
    answer = await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)})
    return answer.json()["id"]


async def left(http) -> Decimal:
    (mine,) = (await http.get("/v1/budgets/mine")).json()["data"]
    return Decimal(mine["left"])


async def test_many_creates_at_once_never_pass_the_limit(tenant):
    file_id = await upload(tenant, lines())
    answers = await asyncio.gather(*(create(tenant, file_id) for _ in range(8)))
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in answers) == 3, "0.003 dollars each, and the prompts"
    assert await left(tenant) >= 0


async def test_no_wording_makes_a_batch_cheaper_than_it_may_be(tenant):
    for body in [
        {"max_tokens": None},
        {"max_tokens": -1},
        {"max_tokens": "1"},
        {"max_tokens": 1, "n": "2"},
        {"max_completion_tokens": 10_000, "max_tokens": 1},
        {"n": 10},
        {"model": "gpt-unheard-of"},
        {"tools": [{"type": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
    ]:
        with case(body):
            answer = await create(tenant, await upload(tenant, lines(**body)))
            assert answer.status_code == 429
            assert answer.json()["error"]["code"] in ("budget_exceeded", "cost_unknown")


async def test_a_file_that_was_not_counted_is_not_submitted(tenant, monkeypatch):
    file_id = await upload(tenant, lines())

    async def nothing(account: str, file_id: str) -> None:
        """As of a file that was uploaded before budgets were on."""

    monkeypatch.setattr(tenant._transport.app.client.ledger, "file_estimate", nothing)
    answer = await create(tenant, file_id)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "input_file_not_checked")
