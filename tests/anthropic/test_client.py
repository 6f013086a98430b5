"""The whole of batchmeter over Anthropic: events, exact cost, lost creates, the proxy with OpenAI's SDK, the command line."""

import asyncio
import json
import threading
from decimal import Decimal

import httpx2
import pytest
from click.testing import CliRunner
from tests.vendor_kit import Haste
from tests.warm_python import WARM

import openai
from batchmeter import AsyncClient
from batchmeter.cli import main
from batchmeter.config import Settings
from batchmeter.errors import (
    BadRequestError,
    CreateUnknownError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    UsageError,
)
from batchmeter.providers import CallOptions
from batchmeter.rerun.completeness import check
from batchmeter.rerun.rerun import retry
from batchmeter.runtime.load_settings import load_settings
from batchmeter.testing.recorder import Recorder
from batchmeter_proxy import create_app

from .fake import KEY, USAGE, answer

HALF = Decimal("0.5") / 1_000_000
"""Claude Haiku 4.5's batch price of an input token; output is five times as much."""


@pytest.fixture
def log():
    return Recorder()


@pytest.fixture
async def client(vendor, tmp_path, log):
    account = {"provider": "anthropic", "api_key": KEY, "api_base": vendor.base}
    accounts = {"anthropic": account, "native": {**account, "format": "native"}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), load=(), accounts=accounts, track=False)
    haste = Haste(tmp_path)
    async with AsyncClient(settings=settings, ledger=haste.ledger, plugins=[log, haste], environ={}) as client:
        yield client


@pytest.fixture
def requests(tmp_path, chat):
    """`requests([...])`: their file."""

    def written(rows):
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return written


async def submitted(client, path, account="anthropic", endpoint="/v1/chat/completions", **more):
    file = await client.files.create(file=path, purpose="batch", custom_llm_provider=account)
    return await client.batches.create(input_file_id=file.id, endpoint=endpoint, custom_llm_provider=account, **more)


async def lines_of(client, file_id, account="anthropic"):
    content = await client.files.content(file_id, custom_llm_provider=account)
    return {line["custom_id"]: line for line in map(json.loads, content.text.splitlines())}


ODD = ["plain", "with space", "Nº 7", "bmx-taken", "x" * 65, "ü" * 300, "bml-0"]


async def test_a_batch_settles_exactly_and_its_ids_come_back(client, requests, chat, log, tmp_path):
    metadata = {"Run": "Nº 7", "team": "ops"}
    batch = await submitted(client, requests([*(chat(name) for name in ODD), chat("bad", "FAIL")]), metadata=metadata)
    assert (batch.metadata, batch.request_counts.total) == (metadata, 8)
    settled = await client.batches.wait(batch.id, timeout=20)
    assert (settled.status, settled.request_counts.succeeded, settled.request_counts.failed) == ("completed", 7, 1)
    assert settled.cost.total == 7 * (10 * HALF + 5 * 5 * HALF)
    good = await lines_of(client, settled.batch.output_file_id)
    assert good.keys() == set(ODD)
    body = good["Nº 7"]["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "écho 🎈 hi"
    assert body["usage"]["prompt_tokens"] == 10
    (bad,) = (await lines_of(client, settled.batch.error_file_id)).values()
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("bad", 400)
    while len(log.events) < 2:  # one may be on its way
        await client.deliverer.drain(10)
    assert [event.type for event in log.events] == ["acreate_batch", "batch_success"]
    assert all(event.metadata == metadata for event in log.events)
    found = await check(client.accounts.get("anthropic"), settled.batch, batch.input_file_id)
    assert (found.complete, found.succeeded, found.failed) == (True, 7, 1)
    again = await retry(client, batch.id)
    assert again.requests == 1


async def test_messages_in_openais_envelope_come_back_as_messages(client, requests, chat, vendor):
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    rows = [{"custom_id": "a", "method": "POST", "url": "/v1/messages", "body": body}]
    batch = await submitted(client, requests(rows), endpoint="/v1/messages")
    assert vendor.requests_of[batch.id] == [{"custom_id": "a", "params": body}]
    settled = await client.batches.wait(batch.id, timeout=20)
    lines = await lines_of(client, settled.batch.output_file_id)
    assert lines["a"]["response"]["body"]["type"] == "message"
    assert settled.cost.total == 10 * HALF + 25 * HALF


async def test_native_rows_come_back_as_they_are(client, requests, vendor):
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    rows = [{"custom_id": name, "params": body} for name in ("a", "bmx-b")]
    batch = await submitted(client, requests(rows), "native", "/v1/messages")
    assert vendor.requests_of[batch.id] == rows
    settled = await client.batches.wait(batch.id, custom_llm_provider="native", timeout=20)
    lines = await lines_of(client, settled.batch.output_file_id, "native")
    assert {name: line["result"]["type"] for name, line in lines.items()} == {"a": "succeeded", "bmx-b": "succeeded"}
    assert settled.cost.total is not None


async def test_what_is_billed_beside_the_counters_is_billed(client, requests, chat, vendor):
    written = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}
    compaction = {"type": "compaction", "input_tokens": 1000, "output_tokens": 100}
    own = {"type": "message", "input_tokens": 10, "output_tokens": 5}
    usage = USAGE | {"cache_creation_input_tokens": 300, "cache_creation": written, "cache_read_input_tokens": 50}
    usage |= {"iterations": [compaction, own]}

    def with_more(params):
        result = answer(params)
        return {**result, "message": {**result["message"], "usage": usage}}

    vendor.respond = with_more
    settled = await client.batches.wait((await submitted(client, requests([chat("a")]))).id, timeout=20)
    tokens = (10 + 1000) + 100 * Decimal("1.25") + 200 * 2 + 50 * Decimal("0.1") + (5 + 100) * 5
    assert settled.cost.total == tokens * HALF
    body = (await lines_of(client, settled.batch.output_file_id))["a"]["response"]["body"]
    assert body["usage"]["prompt_tokens"] == 360
    usage["server_tool_use"] = {"web_search_requests": 2}
    settled = await client.batches.wait((await submitted(client, requests([chat("a")]))).id, timeout=20)
    assert (settled.cost.total, settled.cost.known, settled.usage.web_searches) == (None, tokens * HALF, 2)


async def test_a_create_whose_answer_is_lost_is_found_by_its_end(client, requests, chat, vendor):
    """One batch alone fits; while it runs it may still be a stranger's."""
    vendor.lose, vendor.looks = 1, 100
    path = requests([chat("a"), chat("b")])
    with pytest.raises(CreateUnknownError) as caught:
        await submitted(client, path, metadata={"run": "7"}, idempotency_key="once")
    await client.accounts.get("anthropic").list_batches(after=None, limit=1, options=CallOptions())
    assert client.accounts.get("anthropic").create_wait > 24 * 3600
    (ours,) = vendor.batches
    vendor.end(ours)
    batch = await submitted(client, path, metadata={"run": "7"}, idempotency_key="once")
    assert (list(vendor.batches), batch.id, batch.status) == ([ours], ours, "completed")
    assert (batch.metadata, batch.input_file_id is not None) == ({"run": "7"}, True)
    assert client.accounts.get("anthropic").create_wait == 0
    assert caught.value.intent_id


async def test_a_strangers_only_batch_of_equal_size_is_not_taken(client, requests, chat, vendor):
    """Our create made nothing; theirs was made in the same second, and has as many requests, running and ended."""
    vendor.refuse = [(500, {"type": "error", "error": {"type": "api_error", "message": "broke"}}, {})]
    vendor.create({"requests": [{"custom_id": f"s-{n}", "params": chat("x")["body"]} for n in range(2)]})
    with pytest.raises(InternalServerError):
        await submitted(client, requests([chat("a"), chat("b")]))
    for _ in range(2):
        (theirs,) = await client.batches.list(custom_llm_provider="anthropic")
        assert (theirs.metadata, theirs.input_file_id) == (None, None)
        vendor.end(theirs.id)
    assert await client.tracker.rounds["lost_creates"]() == 0


KILLED = """
import sys
from batchmeter.faces.sync import Client
with Client(config=sys.argv[1]) as client:
    file = client.files.create(file=sys.argv[2], custom_llm_provider="anthropic")
    client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="anthropic",
                          metadata={"run": "7"})
"""


async def test_a_create_of_a_killed_process_is_adopted_by_another(requests, chat, vendor, tmp_path, monkeypatch, log):
    """Its answer never came to anybody: the note in the spool and the intent in the ledger are all there is."""
    path, config = requests([chat("a"), chat("b")]), tmp_path / "batchmeter.toml"
    config.write_text(
        f'ledger = "{tmp_path}/ledger.db"\nload = ["anthropic"]\n'
        f'[accounts.anthropic]\napi_key = "{KEY}"\napi_base = "{vendor.base}"\n'
    )
    vendor.hang = made, go_on = threading.Event(), threading.Event()
    worker = await asyncio.create_subprocess_exec(WARM, "-c", KILLED, str(config), str(path))
    assert await asyncio.to_thread(made.wait, 60)
    worker.kill()
    await worker.wait()
    go_on.set()
    vendor.hang = None
    vendor.create({"requests": [{"custom_id": "s", "params": chat("x")["body"]}]})
    monkeypatch.setattr("batchmeter.rounds.lost_creates.GRACE_SECONDS", -1.0)
    async with AsyncClient(settings=load_settings(config, track=False), plugins=[log], environ={}) as client:
        assert await client.tracker.rounds["lost_creates"]() == 0
        ours = next(iter(vendor.batches))
        vendor.end(ours)
        assert await client.tracker.rounds["lost_creates"]() == 1
        settled = await client.batches.wait(ours, timeout=20)
        assert (settled.status, settled.request_counts.succeeded) == ("completed", 2)
        while len(log.events) < 2:
            await client.deliverer.drain(10)
    assert [(event.type, event.metadata) for event in log.events] == [
        ("acreate_batch", {"run": "7"}),
        ("batch_success", {"run": "7"}),
    ]


async def test_workers_share_a_spool(client, requests, chat, vendor, tmp_path):
    """One takes the file, another makes the batch, a third reads its answers."""
    file = await client.files.create(file=requests([chat("with space")]), custom_llm_provider="anthropic")
    settings = client.accounts._settings
    async with (
        AsyncClient(settings=settings, environ={}) as second,
        AsyncClient(settings=settings, environ={}) as third,
    ):
        batch = await second.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
        settled = await third.batches.wait(batch.id, timeout=20)
        assert (await lines_of(third, settled.batch.output_file_id)).keys() == {"with space"}
        assert (await third.batches.retrieve(batch.id)).input_file_id == file.id
        await third.files.delete(file.id, custom_llm_provider="anthropic")
    with pytest.raises(NotFoundError):
        await client.files.retrieve(file.id, custom_llm_provider="anthropic")


async def test_an_overloaded_create_made_nothing(client, requests, chat, vendor):
    """A stranger's batch of that minute is not taken for it."""
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    vendor.refuse = [(529, busy, {})]
    with pytest.raises(InternalServerError, match="Overloaded"):
        await submitted(client, requests([chat("a")]))
    vendor.create({"requests": [{"custom_id": "a", "params": chat("x")["body"]}]})
    (theirs,) = await client.batches.list(custom_llm_provider="anthropic")
    assert (theirs.metadata, theirs.input_file_id) == (None, None)


async def test_results_that_are_archived_are_not_found(client, requests, chat, vendor):
    batch = await submitted(client, requests([chat("a")]))
    vendor.end(batch.id)
    vendor.results.clear()
    vendor.batches[batch.id]["archived_at"] = vendor.batches[batch.id]["ended_at"]
    ended = await client.batches.retrieve(batch.id)
    assert ended.status == "completed"
    with pytest.raises(NotFoundError):
        await client.files.content(ended.output_file_id, custom_llm_provider="anthropic")
    (output,) = await client.accounts.get("anthropic").outputs(ended)
    with pytest.raises(NotFoundError):
        async with output.open():
            pass


async def test_two_alike_are_told_apart_by_their_answers(client, requests, chat, vendor):
    """A stranger's batch of as many requests, made in the same second: nothing is guessed before they end."""
    stranger = [{"custom_id": f"s-{n}", "params": chat("x")["body"]} for n in range(2)]
    vendor.create({"requests": stranger})
    vendor.lose = 1
    file = await client.files.create(file=requests([chat("a"), chat("b")]), custom_llm_provider="anthropic")
    asked = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "custom_llm_provider": "anthropic"}
    with pytest.raises(CreateUnknownError, match="its input file-"):
        await client.batches.create(**asked, idempotency_key="once")
    ours = list(vendor.batches)[1]
    for batch_id in vendor.batches:
        vendor.end(batch_id)
    batch = await client.batches.create(**asked, idempotency_key="once")
    assert (batch.id, batch.status) == (ours, "completed")
    assert len(vendor.batches) == 2


async def test_no_key_goes_where_an_answer_points(client, requests, chat, vendor):
    vendor.results_url = "http://127.0.0.1:9/steal"
    batch = await submitted(client, requests([chat("a")]))
    settled = await client.batches.wait(batch.id, timeout=20)
    assert settled.cost.total is not None


async def test_partial_ends(client, requests, chat, vendor):
    vendor.looks = 100
    rows = [chat(f"r-{n}") for n in range(4)]
    batch = await submitted(client, requests(rows))
    vendor.end(batch.id, keep=3)
    settled = await client.batches.wait(batch.id, timeout=20)
    assert (settled.status, settled.request_counts.succeeded) == ("expired", 3)
    assert settled.cost.total == 3 * 35 * HALF
    (line,) = (await lines_of(client, settled.batch.error_file_id)).values()
    assert (line["response"], line["error"]["code"]) == (None, "batch_expired")
    batch = await submitted(client, requests(rows))
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    settled = await client.batches.wait(batch.id, timeout=20)
    assert (settled.status, settled.request_counts.succeeded, settled.cost.total) == ("cancelled", 1, 35 * HALF)


async def test_errors_are_ours_with_what_it_said(client, requests, chat, vendor):
    path = requests([chat("a")])
    rate = {"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests in the queue"}}
    vendor.refuse = [(429, rate, {"retry-after": "7"})]
    with pytest.raises(RateLimitError, match="too many requests in the queue") as caught:
        await submitted(client, path)
    assert (caught.value.retry_after, caught.value.request_id) == (7, "req_1")
    provider = client.accounts.get("anthropic")
    assert provider.queue_pause(caught.value, 0) == 7
    spent = RateLimitError("x", status_code=429, content=b'{"details":{"error_code":"enforced_spend_limit_reached"}}')
    assert provider.queue_pause(spent, 0) is None
    with pytest.raises(NotFoundError):
        await client.batches.retrieve("msgbatch_nobody", custom_llm_provider="anthropic")
    batch = await submitted(client, path)
    await client.batches.wait(batch.id, timeout=20)
    with pytest.raises(BadRequestError, match="already ended"):
        await client.accounts.get("anthropic").cancel_batch(batch.id, CallOptions())
    assert KEY not in repr(caught.value.__dict__)


async def test_a_settled_batch_can_be_deleted(client, requests, chat, vendor):
    batch = await submitted(client, requests([chat("a")]))
    with pytest.raises(UsageError, match="not settled"):
        await client.batches.delete(batch.id)
    await client.batches.wait(batch.id, timeout=20)
    await client.batches.delete(batch.id)
    assert vendor.batches == {}


async def test_openais_own_sdk_through_the_proxy(client, requests, chat):
    transport = httpx2.ASGITransport(create_app(client))
    http = httpx2.AsyncClient(transport=transport, base_url="http://proxy")
    async with openai.AsyncOpenAI(base_url="http://proxy/anthropic/v1", api_key="k", http_client=http) as sdk:
        path = requests([chat(f"r {i}") for i in range(3)])
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
        assert {line["custom_id"] for line in found} == {f"r {i}" for i in range(3)}
        assert [listed.id async for listed in sdk.batches.list()] == [batch.id]
        broken = json.dumps(chat("a", n=2))
        with pytest.raises(openai.BadRequestError, match="line 1"):
            await sdk.files.create(file=("a.jsonl", broken.encode()), purpose="batch")
        assert (await sdk.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await sdk.files.retrieve(file.id)


def test_the_command_line(vendor, tmp_path, monkeypatch, requests, chat):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHMETER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setenv("BATCHMETER_PLUGINS", "anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", vendor.base)
    (tmp_path / "batchmeter.toml").write_text('[spool]\npath = "inputs"\n')
    path = str(requests([chat("a"), chat("b", "FAIL")]))
    arguments = ["submit", path, "--provider", "anthropic", "--wait", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    ran = json.loads(result.stdout)
    assert (ran["provider"], ran["status"], ran["cost"]["total"]) == ("anthropic", "completed", "0.0000175")
    assert list((tmp_path / "inputs" / "content").rglob("*"))
    assert (
        load_settings(ledger=str(tmp_path / "x" / "ledger.db"), environ={"BATCHMETER_SPOOL": "/s"}).spool_folder == "/s"
    )
