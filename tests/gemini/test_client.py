"""The whole of batchmeter over Gemini: events, exact cost, lost creates, the proxy with OpenAI's SDK, the command line."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx2
import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook
from tests.vendor_kit import Haste

import openai
from batchmeter import AsyncClient
from batchmeter.cli import main
from batchmeter.config import Settings
from batchmeter.errors import BadRequestError, NotFoundError, RateLimitError, UsageError
from batchmeter.providers import CallOptions
from batchmeter.rerun.completeness import check
from batchmeter.rerun.rerun import retry
from batchmeter.rounds.adoption import adopt_all
from batchmeter.testing.recorder import Recorder
from batchmeter_proxy import create_app

from .fake import KEY, problem

EACH = (8 * Decimal("0.15") + 840 * Decimal("1.25")) / 1_000_000
"""Gemini 2.5 Flash at batch prices: 8 tokens in, 11 out and 829 thoughts."""


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
async def client(vendor, tmp_path, log):
    account = {"provider": "gemini", "api_key": KEY, "api_base": vendor.base}
    accounts = {"gemini": account, "native": {**account, "format": "native"}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=(), accounts=accounts, track=False)
    haste = Haste(tmp_path)
    async with AsyncClient(settings=settings, ledger=haste.ledger, plugins=[log, haste], environ={}) as client:
        yield client


@pytest.fixture
def requests(tmp_path):
    """`requests([...])`: their file."""

    def written(rows):
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return written


async def submitted(client, path, account="gemini", endpoint="/v1/chat/completions", **more):
    file = await client.files.create(file=path, purpose="batch", custom_llm_provider=account)
    return await client.batches.create(input_file_id=file.id, endpoint=endpoint, custom_llm_provider=account, **more)


async def lines_of(client, file_id, account="gemini"):
    content = await client.files.content(file_id, custom_llm_provider=account)
    return [json.loads(line) for line in content.text.splitlines()]


async def test_a_batch_settles_exactly(client, requests, chat, log, vendor):
    metadata = {"Run": "Nº 7", "team": "ops"}
    rows = [*(chat(f"r {n}") for n in range(10)), chat("bad", "FAIL")]
    batch = await submitted(client, requests(rows), metadata=metadata)
    assert batch.metadata == metadata
    assert f"files/{batch.input_file_id}" in vendor.files
    settled = await client.batches.wait(batch.id, timeout=20)
    assert (settled.status, settled.request_counts.succeeded, settled.request_counts.failed) == ("completed", 10, 1)
    assert settled.cost.total == 10 * EACH
    good = await lines_of(client, settled.batch.output_file_id)
    assert {line["custom_id"] for line in good} == {f"r {n}" for n in range(10)}
    assert good[0]["response"]["body"]["choices"][0]["message"]["content"] == "écho 🎈 hi"
    (bad,) = await lines_of(client, settled.batch.error_file_id)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)
    assert bad["response"]["body"]["error"]["code"] == "invalid_argument"
    while len(log.events) < 2:  # one may be on its way
        await client.deliverer.drain(10)
    assert [event.type for event in log.events] == ["acreate_batch", "batch_success"]
    found = await check(client.accounts.get("gemini"), settled.batch, batch.input_file_id)
    assert (found.complete, found.succeeded, found.failed) == (True, 10, 1)
    assert (await retry(client, batch.id)).requests == 1


async def test_embeddings_are_put_together_again(client, requests, embed, vendor):
    rows = [embed("a", "one", "four"), embed("b", "x", dimensions=64, encoding_format="base64"), embed("c", "FAIL")]
    batch = await submitted(client, requests(rows), endpoint="/v1/embeddings")
    assert any("asyncBatchEmbedContent" in path for _, path, _ in vendor.seen)
    settled = await client.batches.wait(batch.id, timeout=20)
    good = {
        line["custom_id"]: line["response"]["body"] for line in await lines_of(client, settled.batch.output_file_id)
    }
    assert [one["embedding"] for one in good["a"]["data"]] == [[3.0, 0.5], [4.0, 0.5]]
    assert isinstance(good["b"]["data"][0]["embedding"], str)
    assert (good["a"]["usage"]["prompt_tokens"], len(good)) == (7, 2)
    assert settled.usage.input_tokens == 8
    assert settled.cost.total == 8 * Decimal("0.075") / 1_000_000
    found = await check(client.accounts.get("gemini"), settled.batch, batch.input_file_id)
    assert (found.succeeded, found.failed) == (2, 1)


async def test_native_rows_come_back_as_they_are(client, requests, vendor):
    turns = [{"role": "user", "parts": [{"text": "hi"}]}]
    rows = [{"key": f"r-{n}", "request": {"contents": turns, "tools": [{"googleSearch": {}}]}} for n in range(2)]
    batch = await submitted(client, requests(rows), "native", model="gemini-2.5-flash")
    assert [json.loads(line) for line in vendor.files[f"files/{batch.input_file_id}"].splitlines()] == rows
    settled = await client.batches.wait(batch.id, custom_llm_provider="native", timeout=20)
    assert [line["key"] for line in await lines_of(client, settled.batch.output_file_id, "native")] == ["r-0", "r-1"]
    assert settled.cost.total == 2 * EACH


async def test_a_create_whose_answer_is_lost_is_found_by_its_name(client, requests, chat, vendor):
    vendor.lose = 1
    batch = await submitted(client, requests([chat("a")]), metadata={"run": "7"})
    assert [name.removeprefix("batches/") for name in vendor.operations] == [batch.id]
    assert batch.metadata == {"run": "7"}


async def test_metadata_that_is_too_long_leaves_the_tag(client, requests, chat, vendor):
    metadata = {f"key-{n}": "x" * 400 for n in range(3)}
    vendor.lose = 1
    batch = await submitted(client, requests([chat("a")]), metadata=metadata)
    (operation,) = vendor.operations.values()
    assert list(json.loads(operation["metadata"]["displayName"])) == ["batchmeter_id"]
    settled = await client.batches.wait(batch.id, timeout=20)
    assert settled.status == "completed"


async def test_rows_that_google_has_forgotten_are_sent_again(client, requests, chat, vendor):
    file = await client.files.create(file=requests([chat("a")]), custom_llm_provider="gemini")
    name = f"files/{file.id}"
    rows = vendor.files.pop(name)
    del vendor.about[name]
    asked = {"endpoint": "/v1/chat/completions", "custom_llm_provider": "gemini"}
    batch = await client.batches.create(input_file_id=file.id, **asked)
    assert vendor.files[name] == rows
    await client.batches.wait(batch.id, timeout=20)


async def test_batches_made_inline_elsewhere_settle(client, vendor):
    turns = [{"role": "user", "parts": [{"text": "hi"}]}]
    inline = [{"request": {"contents": turns}, "metadata": {"key": f"r-{n}"}} for n in range(3)]
    body = {"batch": {"displayName": "theirs", "inputConfig": {"requests": {"requests": inline}}}}
    vendor.create("gemini-2.5-flash", "batchGenerateContent", body)
    provider = client.accounts.get("gemini")
    assert await adopt_all(client.tracker, provider) == 1
    (name,) = vendor.operations
    settled = await client.batches.wait(name.removeprefix("batches/"), custom_llm_provider="gemini", timeout=20)
    assert (settled.request_counts.succeeded, settled.cost.total) == (3, 3 * EACH)
    lines = await lines_of(client, settled.batch.output_file_id)
    assert [line["custom_id"] for line in lines] == ["r-0", "r-1", "r-2"]


@pytest.mark.parametrize(("end", "status"), [("FAILED", "failed"), ("EXPIRED", "expired")])
async def test_ends_without_answers(client, requests, chat, vendor, end, status):
    batch = await submitted(client, requests([chat("a")]))
    vendor.finish(f"batches/{batch.id}", end)
    batch = await client.batches.retrieve(batch.id)
    assert (batch.status, batch.ended, batch.output_file_id, batch.error_file_id) == (status, True, None, None)
    assert [error.code for error in batch.errors.data] == ["internal"] if end == "FAILED" else batch.errors is None
    assert await client.accounts.get("gemini").outputs(batch) == []


async def test_errors_are_ours_with_what_google_said(client, requests, chat, vendor):
    path = requests([chat("a")])
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    full = problem(429, "RESOURCE_EXHAUSTED", "Too many enqueued tokens.", **info)
    vendor.refuse = [(":batchGenerateContent", full[0], full[1])]
    with pytest.raises(RateLimitError, match="Too many enqueued tokens") as caught:
        await submitted(client, path)
    assert client.accounts.get("gemini").queue_pause(caught.value, 0) == 7
    with pytest.raises(NotFoundError):
        await client.batches.retrieve("nobody", custom_llm_provider="gemini")
    batch = await submitted(client, path)
    settled = await client.batches.wait(batch.id, timeout=20)
    with pytest.raises(BadRequestError, match="already ended"):
        await client.accounts.get("gemini").cancel_batch(batch.id, CallOptions())
    asked = {"input_file_id": settled.batch.output_file_id, "endpoint": "/v1/chat/completions"}
    with pytest.raises(UsageError, match="holds answers"):
        await client.batches.create(**asked, custom_llm_provider="gemini")
    await client.batches.delete(batch.id)
    assert f"batches/{batch.id}" not in vendor.operations


async def test_openais_own_sdk_through_the_proxy(client, requests, chat, vendor):
    transport = httpx2.ASGITransport(create_app(client))
    http = httpx2.AsyncClient(transport=transport, base_url="http://proxy")
    async with openai.AsyncOpenAI(base_url="http://proxy/gemini/v1", api_key="k", http_client=http) as sdk:
        path = requests([chat(f"r-{i}") for i in range(3)])
        file = await sdk.files.create(file=path, purpose="batch")
        assert (await sdk.files.content(file.id)).content == path.read_bytes()
        assert [listed.id async for listed in sdk.files.list()] == [file.id]
        batch = await sdk.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "7"}
        )
        while batch.status not in ("completed", "failed"):
            batch = await sdk.batches.retrieve(batch.id)
        assert (batch.metadata, batch.request_counts.completed, batch.input_file_id) == ({"run": "7"}, 3, file.id)
        found = [json.loads(line) for line in (await sdk.files.content(batch.output_file_id)).text.splitlines()]
        assert {line["custom_id"] for line in found} == {f"r-{i}" for i in range(3)}
        assert [listed.id async for listed in sdk.batches.list()] == [batch.id]
        broken = json.dumps(chat("a", n=99))
        with pytest.raises(openai.BadRequestError, match="line 1"):
            await sdk.files.create(file=("a.jsonl", broken.encode()), purpose="batch")
        assert (await sdk.files.delete(file.id)).deleted
        assert f"files/{file.id}" not in vendor.files
        with pytest.raises(openai.NotFoundError):
            await sdk.files.retrieve(file.id)


async def test_googles_webhook_settles_its_batch(vendor, tmp_path, requests, chat):
    """Signed by the official library; `data.id` is the batch's name, with or without its folder."""
    vendor.looks = 1  # ended, as the webhook says
    secret = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()
    account = {"api_key": KEY, "api_base": vendor.base, "webhook_secrets": [secret]}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=(), accounts={"gemini": account})
    async with AsyncClient(settings=settings, environ={}) as client:
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            for number, named in enumerate(["batches/{}", "{}"]):
                batch = await submitted(client, requests([chat("a")]))
                name = named.format(batch.id)
                told = {"type": "batch.succeeded", "version": "v1", "data": {"id": name, "output_file_uri": "files/x"}}
                body, now = json.dumps(told), datetime.fromtimestamp(client.ledger.now() // 1000, UTC)
                headers = {"webhook-id": f"w{number}", "webhook-timestamp": str(int(now.timestamp()))}
                signed = {**headers, "webhook-signature": Webhook(secret).sign(f"w{number}", now, body)}
                answer = await http.post("/webhooks/gemini", content=body, headers=signed)
                assert (answer.status_code, answer.json()["woken"]) == (200, True)
                assert (await client.batches.wait(batch.id, timeout=20)).cost.total == EACH
            answer = await http.post(
                "/webhooks/gemini", content=body, headers={**signed, "webhook-signature": "v1,eA=="}
            )
            assert answer.status_code == 401


def test_the_command_line(vendor, tmp_path, monkeypatch, requests, chat):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("BATCHMETER_PLUGINS", "gemini")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", vendor.base)
    path = str(requests([chat("a"), chat("b", "FAIL")]))
    arguments = ["submit", path, "--provider", "gemini", "--wait", "--json"]
    ran = json.loads(CliRunner().invoke(main, arguments, catch_exceptions=False).stdout)
    assert (ran["provider"], ran["status"], Decimal(ran["cost"]["total"])) == ("gemini", "completed", EACH)
