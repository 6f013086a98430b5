"""Where a key's limits end, for all workers together: requests a minute, open batches, lines a day."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import httpx2
import pytest
from openai.types import Batch

import openai
from batchmeter import AsyncClient
from batchmeter.access import Access
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import KeyLimits

from .conftest import refused

CHAT = "/v1/chat/completions"


async def test_requests_a_minute(caller, client, monkeypatch):
    moment = [1_800_000_000_000]
    monkeypatch.setattr(client.ledger, "now", lambda: moment[0])
    ada = await caller(limits=KeyLimits(requests_per_minute=3))
    bob = await caller()
    moment[0] += 15_000
    assert [(await ada.get("/v1/models")).status_code for _ in range(3)] == [200, 200, 200]
    answer = await ada.get("/v1/models")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "45"
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert (await bob.get("/v1/models")).status_code == 200
    moment[0] += 45_000
    assert (await ada.get("/v1/models")).status_code == 200
    assert (await ada.get("/v1/batches")).status_code == 200
    assert (await ada.get("/v1/files")).status_code == 200
    assert (await ada.get("/v1/models")).status_code == 429, "each request counts once, whatever it does"


async def test_open_batches(caller, lines, ended):
    ada = await caller(limits=KeyLimits(open_batches=2))
    first, _ = await ada.submit(lines(1)), await ada.submit(lines(1))
    file = await ada.upload(lines(1))
    create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    assert await refused(ada.batches.create(**create)) == (429, "rate_limit_exceeded")
    await ended(first.id)
    await ada.batches.create(**create)
    assert await refused(ada.batches.create(**create)) == (429, "rate_limit_exceeded")


async def test_open_batches_hold_for_many_at_once(caller, lines, client):
    ada = await caller(limits=KeyLimits(open_batches=3))
    file = await ada.upload(lines(1))
    create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    wrong = {**create, "endpoint": "/v1/nonsense"}
    tries = [ada.batches.create(**(wrong if number % 3 == 0 else create)) for number in range(20)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    kinds = Counter(type(answer) for answer in answers)
    assert kinds[Batch] == 3
    assert kinds[openai.RateLimitError] + kinds[openai.BadRequestError] == 17
    assert await Access(client.ledger).open_batches(ada.key.id) == 3


async def test_open_batches_hold_for_all_workers_together(caller, client, lines):
    """Each proxy has a client of its own on the same ledger, as processes have."""
    ada = await caller(limits=KeyLimits(open_batches=3))
    file = await ada.upload(lines(1))
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    headers = {"authorization": f"Bearer {ada.secret}"}
    async with AsyncExitStack() as stack:
        workers = []
        for _ in range(3):
            worker = await stack.enter_async_context(AsyncClient(settings=client.settings))
            transport = httpx2.ASGITransport(create_app(worker))
            workers.append(
                await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://proxy"))
            )
        tries = [workers[n % 3].post("/v1/batches", json=body, headers=headers) for n in range(18)]
        answers = await asyncio.gather(*tries)
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 15}
    assert await Access(client.ledger).open_batches(ada.key.id) == 3


async def test_a_list_asks_the_ledger_and_the_provider_once(caller, lines, client, monkeypatch):
    ada, bob = await caller(), await caller()
    mine = [(await ada.submit(lines(1))).id for _ in range(3)]
    for _ in range(6):
        await bob.submit(lines(1))
    asked, provider = [], client.accounts.get("openai")

    def counting(owner, name):
        work = getattr(owner, name)

        async def counted(*arguments, **named):
            asked.append(name)
            return await work(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in (
        (Access, "batches_of_key"),
        (client.ledger, "owner_of"),
        (provider, "list_batches"),
        (provider, "retrieve_batch"),
    ):
        counting(owner, name)
    assert [batch.id for batch in (await ada.batches.list(limit=3)).data] == mine[::-1]
    assert asked == ["batches_of_key", "list_batches"]


async def test_what_was_never_checked_cannot_be_submitted_by_a_key_with_limits(caller, lines):
    for limited in (await caller(models=["gpt-4o-mini"]), await caller(limits=KeyLimits(lines_per_day=5))):
        file = await limited.files.create(file=("a.jsonl", lines(9, model="o3")), purpose="user_data")
        create = limited.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        assert await refused(create) == (403, "input_file_not_checked")


async def test_lines_a_day(caller, lines, client, monkeypatch):
    moment = [1_800_000_000_000]
    monkeypatch.setattr(client.ledger, "now", lambda: moment[0])
    ada = await caller(limits=KeyLimits(lines_per_day=10))
    assert await refused(ada.upload(lines(11))) == (429, "rate_limit_exceeded")
    assert [file async for file in ada.files.list()] == [], "nothing is left at the provider"
    batch = await ada.submit(lines(6))
    again = {"input_file_id": batch.input_file_id, "endpoint": CHAT, "completion_window": "24h"}
    with pytest.raises(openai.RateLimitError) as caught:
        await ada.batches.create(**again)
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 86_400
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert await refused(ada.upload(lines(5))) == (429, "rate_limit_exceeded")
    await ada.submit(lines(4))
    moment[0] += 86_400_000
    await ada.batches.create(**again)


async def test_a_repeated_submission_counts_its_lines_once(caller, lines, client, sandbox):
    ada = await caller(limits=KeyLimits(lines_per_day=10))
    file = await ada.upload(lines(6))
    create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    first = {**create, "extra_headers": {"Idempotency-Key": "a"}}
    sandbox.engine.faults.add("unavailable*1 POST /v1/batches")
    with pytest.raises(openai.InternalServerError):
        await ada.batches.create(**first)
    (intent,) = await client.ledger.open_intents(created_before=client.ledger.now() + 1000)
    await client.ledger.close_intent(intent.id, "the tracker found none")
    batch = await ada.batches.create(**first)
    unkept = {"scope": "batches openai", "name": f"{ada.key.id}:a"}
    assert await client.ledger.database.write(lambda session: session.run("forget_answer", **unkept)) == 1
    assert (await ada.batches.create(**first)).id == batch.id
    assert await refused(ada.batches.create(**create)) == (429, "rate_limit_exceeded"), "6 of 10 are used"
    other = await ada.upload(lines(4))
    assert (await ada.batches.create(**{**create, "input_file_id": other.id})).id != batch.id


async def test_one_idempotency_key_at_two_accounts_counts_twice(caller, lines):
    ada = await caller(limits=KeyLimits(lines_per_day=10))
    answers = []
    for account in ("openai", "other"):
        there = {"extra_headers": {"custom-llm-provider": account, "Idempotency-Key": "a"}}
        file = await ada.files.create(
            file=("in.jsonl", lines(6)), purpose="batch", extra_headers=there["extra_headers"]
        )
        create = ada.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", **there)
        answers.append(create)
    assert (await answers[0]).id
    assert await refused(answers[1]) == (429, "rate_limit_exceeded")


async def test_a_refused_submission_counts_no_lines(caller, lines, sandbox):
    ada = await caller(limits=KeyLimits(lines_per_day=10))
    file = await ada.upload(lines(6))
    create = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    for header in ({}, {"Idempotency-Key": "a"}):
        for _ in range(2):
            with pytest.raises(openai.BadRequestError):
                await ada.batches.create(**{**create, "endpoint": "/v1/nonsense"}, extra_headers=header)
    assert (await ada.batches.create(**create, extra_headers={"Idempotency-Key": "a"})).id
