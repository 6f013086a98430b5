"""The whole of batchmeter over Vertex AI: accounts side by side, events, exact cost, a create whose answer is lost."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx2
import pytest
from tests.vendor_kit import Haste

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import NotSupportedError, UsageError
from batchmeter.rerun.completeness import check
from batchmeter.rerun.rerun import retry
from batchmeter.testing.recorder import Recorder
from batchmeter_proxy import create_app


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
async def client(vertex, tmp_path, log):
    vertex.tick = 60
    vertex.now = datetime.now(UTC)
    account = {
        "provider": "vertex_ai",
        "project": "proj",
        "bucket": vertex.bucket.name,
        "token": "test-token",
        "api_base": vertex.base,
        "storage_base": vertex.bucket.base,
    }
    accounts = {
        "vertex_ai": {**account, "location": "us-central1"},
        "vertex-eu": {**account, "location": "eu"},
        "native": {**account, "location": "us-central1", "format": "native"},
        "sandbox": {},
    }
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=(), accounts=accounts, track=False)
    haste = Haste(tmp_path)
    async with AsyncClient(settings=settings, ledger=haste.ledger, plugins=[log, haste], environ={}) as client:
        yield client


@pytest.fixture
def requests(tmp_path, chat):
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"".join(json.dumps(chat(f"r-{i}")).encode() + b"\n" for i in range(10)))
    return path


async def submitted(client, requests, account, **more):
    file = await client.files.create(file=requests, purpose="batch", custom_llm_provider=account)
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider=account, **more
    )


async def test_two_accounts_settle_exactly(client, requests, log):
    metadata = {"Run": "Nº 7", "team": "ops"}
    for account in ("vertex_ai", "vertex-eu"):
        batch = await submitted(client, requests, account, metadata=metadata)
        assert batch.metadata == metadata
        settled = await client.batches.wait(batch.id, custom_llm_provider=account, timeout=20)
        assert (settled.status, settled.request_counts.succeeded) == ("completed", 10)
        assert settled.cost.total == (40 * Decimal("0.15") + 320 * Decimal("1.25")) / 1_000_000
        content = await client.files.content(settled.batch.output_file_id, custom_llm_provider=account)
        assert len(content.text.splitlines()) == 10
    await client.deliverer.drain(10)
    assert [event.type for event in log.events].count("batch_success") == 2
    assert all(event.metadata == metadata for event in log.events)
    assert {event.region for event in log.events} == {"us-central1", "eu"}


def embeddings(custom_id, *texts):
    body = {"model": "gemini-embedding-001", "input": list(texts)}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}


async def checked(client, batch, account):
    ended = await client.batches.retrieve(batch.id, custom_llm_provider=account)
    return await check(client.accounts.get(account), ended, batch.input_file_id)


async def test_what_failed_is_checked_and_submitted_again(client, tmp_path, chat):
    """Rows carry ids that were encoded, and embeddings a row for each input: requests are found by their own ids."""
    for endpoint, requests in {
        "/v1/chat/completions": [chat(f"Nº {i}", "FAIL" if i == 3 else "hi") for i in range(10)],
        "/v1/embeddings": [embeddings(f"r-{i}", "one", "FAIL" if i == 3 else "two") for i in range(10)],
    }.items():
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(request) + "\n" for request in requests))
        file = await client.files.create(file=path, custom_llm_provider="vertex_ai")
        batch = await client.batches.create(input_file_id=file.id, endpoint=endpoint, custom_llm_provider="vertex_ai")
        await client.batches.wait(batch.id, timeout=20)
        found = await checked(client, batch, "vertex_ai")
        assert found.complete
        assert (found.requests, found.succeeded, found.failed) == (10, 9, 1)
        again = await retry(client, batch.id)
        assert again.requests == 1
        sent = await client.files.content(again.batch.input_file_id, custom_llm_provider="vertex_ai")
        assert json.loads(sent.text) == requests[3]


async def test_an_embedding_request_without_rows_is_submitted_again(client, tmp_path, vertex):
    """Rows of the others are more than their requests: nothing of the batch is unread for that."""
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(embeddings(f"r-{i}", "one", "two")) + "\n" for i in range(5)))
    file = await client.files.create(file=path, custom_llm_provider="vertex_ai")
    export = vertex._export
    vertex._export = lambda folder, rows: export(folder, [row for row in rows if "r-3" not in row["key"]])
    batch = await client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", custom_llm_provider="vertex_ai"
    )
    vertex.advance(120)
    found = await checked(client, batch, "vertex_ai")
    assert (found.missing_ids, found.succeeded, found.unread) == (("r-3",), 4, 0)
    assert (await retry(client, batch.id, only=["missing"])).requests == 1


async def test_requests_that_nobody_can_tell_apart_are_not_submitted_again(client, tmp_path):
    row = {"request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "labels": {"team": "search"}}}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    batch = await submitted(client, path, "native", model="gemini-2.5-flash")
    await client.batches.wait(batch.id, timeout=20)
    found = await checked(client, batch, "native")
    assert (found.missing_ids, found.malformed) == (("(line 1)", "(line 2)"), 2)
    with pytest.raises(UsageError, match="without a custom_id"):
        await retry(client, batch.id)
    with pytest.raises(UsageError, match="nothing to retry"):
        await retry(client, batch.id, only=["failed"])


async def test_a_settled_batch_can_be_deleted(client, requests, vertex):
    batch = await submitted(client, requests, "vertex-eu")
    with pytest.raises(UsageError, match="not settled: wait for it first"):
        await client.batches.delete(batch.id)
    await client.batches.wait(batch.id, timeout=20)
    await client.batches.delete(batch.id)
    assert vertex.jobs == {}
    assert (await client.batches.settlement(batch.id)).cost.total is not None
    with pytest.raises(NotSupportedError, match="sandbox cannot delete a batch"):
        await client.batches.delete(batch.id, custom_llm_provider="sandbox")


async def test_a_create_without_an_answer_is_found_by_its_label(client, requests, vertex):
    vertex.lose = 1
    batch = await submitted(client, requests, "vertex_ai", metadata={"run": "7"})
    assert batch.id in vertex.jobs
    assert len(vertex.jobs) == 1


async def test_openais_own_sdk_through_the_proxy(client, requests):
    transport = httpx2.ASGITransport(create_app(client))
    http = httpx2.AsyncClient(transport=transport, base_url="http://proxy")
    async with openai.AsyncOpenAI(base_url="http://proxy/vertex-eu/v1", api_key="k", http_client=http) as sdk:
        file = await sdk.files.create(file=requests, purpose="batch")
        assert (await sdk.files.content(file.id)).content == requests.read_bytes()
        batch = await sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "7"}
        )
        while batch.status not in ("completed", "failed"):
            batch = await sdk.batches.retrieve(batch.id)
        assert (batch.status, batch.metadata, batch.request_counts.completed) == ("completed", {"run": "7"}, 10)
        answers = await sdk.files.content(batch.output_file_id)
        found = [json.loads(line) for line in answers.text.splitlines()]
        assert {line["custom_id"] for line in found} == {f"r-{i}" for i in range(10)}
        assert [listed.id async for listed in sdk.batches.list()] == [batch.id]
        with pytest.raises(openai.NotFoundError):
            await sdk.files.retrieve("file-nobodyhasthis")
        broken = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"n": 9}})
        with pytest.raises(openai.BadRequestError, match="line 1"):
            await sdk.files.create(file=("a.jsonl", broken.encode()), purpose="batch")
        assert (await sdk.files.delete(file.id)).deleted
