"""before_submit: asked once a submission with an estimate made at upload, told when nothing came of it."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

import batchmeter
import openai
from batchmeter.config import Settings
from batchmeter.errors import BudgetExceededError, LedgerError, QueueFullError, RateLimitError, SubmissionRefusedError
from batchmeter.inputs.sizes import LONGEST, SizePass, count_sizes
from batchmeter.ledger.records import Intent, Submission
from batchmeter.pricebook.book import PriceBook
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_proxy import create_app

CHAT = "/v1/chat/completions"


def lines(count: int = 3, model: str = "gpt-5-mini", **body: Any) -> bytes:
    rows = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": f"Say {number}."}], **body},
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


class Guard:
    """Notes what it is asked and told; refuses what `refusals` holds, in turn."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []
        self.dropped: list[tuple[str, str]] = []
        self.refusals: list[Exception] = []

    @batchmeter.hookimpl
    async def before_submit(self, submission: Any, estimate: Any) -> None:
        self.asked.append((submission, estimate))
        if self.refusals:
            raise self.refusals.pop(0)

    @batchmeter.hookimpl
    async def submit_dropped(self, submission: Any, reason: str) -> None:
        self.dropped.append((submission.id, reason))


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
async def sandbox() -> Any:
    async with serve_sandbox() as served:
        yield served


def opened(sandbox: Any, tmp_path: Path, *plugins: object) -> batchmeter.AsyncClient:
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts={"openai": account}, track=False, load=())
    return batchmeter.AsyncClient(settings=settings, plugins=list(plugins))


async def create(client: Any, content: bytes | None = None, **more: Any) -> Any:
    file = await client.files.create(file=("in.jsonl", lines(max_tokens=100) if content is None else content))
    return await client.batches.create(input_file_id=file.id, endpoint=CHAT, **more)


async def test_the_estimate_is_counted_at_upload_and_priced_at_submit(sandbox, tmp_path, guard):
    async with opened(sandbox, tmp_path, guard) as client:
        batch = await create(client)
        stored = await client.ledger.file_estimate("openai", batch.input_file_id)
        intent = await client.ledger.intent_of_batch("openai", batch.id)
    ((planned, estimate),) = guard.asked
    assert json.loads(stored) == json.loads(
        count_sizes(lines(max_tokens=100).splitlines(), client_boundaries()).to_json()
    )
    assert len(stored) < 2000
    assert (estimate.requests, estimate.models["gpt-5-mini"].priced_as) == (3, "gpt-5-mini")
    assert estimate.upper > Decimal("0.0003"), "100 output tokens each, at $1 a million in a batch"
    assert (planned.id, planned.batch_id, guard.dropped) == (intent, None, [])


def client_boundaries() -> tuple[int, ...]:
    return PriceBook.load({}).boundaries


async def test_nothing_is_counted_where_no_plugin_asks(sandbox, tmp_path):
    async with opened(sandbox, tmp_path) as client:
        batch = await create(client)
        assert await client.ledger.file_estimate("openai", batch.input_file_id) is None


async def test_a_file_of_another_purpose_is_not_counted(sandbox, tmp_path, guard):
    async with opened(sandbox, tmp_path, guard) as client:
        file = await client.files.create(file=("x.jsonl", lines()), purpose="user_data")
        assert await client.ledger.file_estimate("openai", file.id) is None


async def test_a_repeated_create_is_not_asked_again(sandbox, tmp_path, guard):
    async with opened(sandbox, tmp_path, guard) as client:
        first = await create(client, idempotency_key="k")
        guard.refusals = [SubmissionRefusedError("no money left")]
        again = await client.batches.create(input_file_id=first.input_file_id, endpoint=CHAT, idempotency_key="k")
    assert (again.id, len(guard.asked)) == (first.id, 1)


async def test_racing_creates_of_one_key_keep_one_submission(sandbox, tmp_path, guard):
    async with opened(sandbox, tmp_path, guard) as client:
        file = await client.files.create(file=("in.jsonl", lines(max_tokens=9)))
        calls = [client.batches.create(input_file_id=file.id, endpoint=CHAT, idempotency_key="k") for _ in range(4)]
        await asyncio.gather(*calls, return_exceptions=True)
        kept = {planned.id for planned, _ in guard.asked} - {planned for planned, _ in guard.dropped}
        assert kept == {(await client.ledger.intent_of("openai", "k")).id}


async def test_a_refused_create_is_told_as_dropped(sandbox, tmp_path, guard):
    sandbox.engine.faults.add("quota POST /v1/batches")
    async with opened(sandbox, tmp_path, guard) as client:
        with pytest.raises(RateLimitError):
            await client.batches.create(input_file_id="file-unknown", endpoint=CHAT)
    ((planned, estimate),) = guard.asked
    assert estimate is None
    ((dropped, reason),) = guard.dropped
    assert dropped == planned.id
    assert reason.startswith("refused: ")


async def test_runs_retries_and_jobs_are_asked_too(sandbox, tmp_path, guard):
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(2))
    async with opened(sandbox, tmp_path, guard) as client:
        await batchmeter.arun(["Say 1."], model="gpt-5-mini", provider="openai", using=client)
        failing = await create(client, metadata={"sandbox": "fail=0.4"})
        await client.batches.wait(failing.id)
        await client.batches.retry(failing.id)
        await client.batches.create_many(path, CHAT, custom_llm_provider="openai")
        assert [estimate.requests for _, estimate in guard.asked] == [1, 3, 1, 2]
        sent = len((await client.batches.list(custom_llm_provider="openai")).data)
        path.write_bytes(lines(2, temperature=1))
        guard.refusals.append(SubmissionRefusedError("Not today."))
        with pytest.raises(SubmissionRefusedError, match="Not today"):
            await client.batches.create_many(path, CHAT, custom_llm_provider="openai")
        assert len((await client.batches.list(custom_llm_provider="openai")).data) == sent == 4


async def test_a_full_queue_of_a_plugin_is_waited_for(sandbox, tmp_path, guard):
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    guard.refusals = [QueueFullError("5,000,000 tokens are enqueued")] * 2
    async with opened(sandbox, tmp_path, guard) as client:
        (await client.ready()).sleep = sleep
        await create(client)
        assert (naps, len(guard.asked)) == ([0.5, 1.0], 3)
        assert len({planned.id for planned, _ in guard.asked}) == 1
        guard.refusals = [QueueFullError("full")]
        with pytest.raises(QueueFullError):
            await create(client, wait_for_room=False)


@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_sizes_do_not_depend_on_chunk_borders(step: int) -> None:
    content = lines(20, max_tokens=5) + b"\n  \nno request\n" + lines(1, "gpt-5", n=2).rstrip(b"\n")
    sizes = SizePass((10,))
    for start in range(0, len(content), step):
        sizes.feed(content[start : start + step])
    assert sizes.sizes() == count_sizes(content.splitlines(), (10,))


def test_a_line_too_long_to_be_looked_at_is_no_known_request() -> None:
    sizes = SizePass()
    sizes.feed(lines(1, max_tokens=5) + b'{"body": {"model": "m", "max_tokens": 1, "messages": [{"content": "')
    for _ in range(LONGEST // 1_000_000 + 1):
        sizes.feed(b"x" * 1_000_000)
    found = sizes.sizes()
    assert (found.requests, found.models["unknown"].unknown) == (2, {"no_output_limit": 1})


async def test_a_closed_intent_is_opened_again_by_its_next_try(sandbox, tmp_path):
    async with opened(sandbox, tmp_path) as client:
        await client.ready()
        ledger, submission = client.ledger, Submission(account="openai", provider="openai")
        await ledger.open_intent(Intent("i1", submission, "k"))
        await ledger.close_intent("i1", "refused")
        assert (await ledger.open_intent(Intent("i1", submission, "k"))).state == "open"
        assert (await ledger.intent("i1")).state == "open"
        await ledger.close_intent("i1", "refused")
        other = await ledger.open_intent(Intent("i2", submission, "k"))
        assert (await ledger.open_intent(Intent("i1", submission, "k"))) == other
        assert {name: one.state for name, one in (await ledger.intent_states(["i1", "i2", "i3"])).items()} == {
            "i1": "closed",
            "i2": "open",
        }
        with pytest.raises(LedgerError, match="submit again"):
            await ledger.open_intent(Intent("i4", submission), until=ledger.now() - 1)
        assert await ledger.intent("i4") is None


async def test_the_proxy_counts_an_upload_and_refuses_in_openai_s_words(sandbox, tmp_path, guard):
    until = datetime(2026, 12, 1, tzinfo=UTC)
    dollars = {"limit": Decimal(500), "spent": Decimal(400), "reserved": Decimal(90), "amount": Decimal(31)}
    async with opened(sandbox, tmp_path, guard) as client:
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            content = lines(3000, max_tokens=100)
            form = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", content)}}
            file = (await http.post("/v1/files", **form)).json()
            guard.refusals = [
                BudgetExceededError("Budget 'm' has $10 left", budget="m", until=until, retry_after=3600, **dollars),
                QueueFullError("5,000,000 tokens are enqueued"),
            ]
            asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
            refused = await http.post("/v1/batches", json=asked)
            full = await http.post("/v1/batches", json=asked)
            made = await http.post("/v1/batches", json=asked)
    assert refused.status_code == 429
    assert refused.json()["error"] == {
        "message": "Budget 'm' has $10 left",
        "type": "insufficient_quota",
        "param": None,
        "code": "budget_exceeded",
    }
    assert (refused.headers["x-should-retry"], refused.headers["retry-after"]) == ("false", "3600")
    assert (full.status_code, full.json()["error"]["code"], full.headers["retry-after"]) == (
        429,
        "enqueued_token_limit",
        "60",
    )
    assert (made.status_code, guard.asked[-1][1].requests) == (200, 3000)


async def test_an_observed_batch_is_shown_and_cannot_be_refused(sandbox, tmp_path, guard, caplog):
    guard.refusals = [SubmissionRefusedError("no money left")]
    async with opened(sandbox, tmp_path, guard) as client:
        app = openai.AsyncOpenAI(base_url=sandbox.url, api_key="k", max_retries=0)
        batchmeter.observe(app, using=client)
        file = await app.files.create(file=("in.jsonl", lines()), purpose="batch")
        batch = await app.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        assert (await client.ledger.list_batches())[0].batch_id == batch.id
        await app.close()
    ((planned, estimate),) = guard.asked
    assert (planned.batch_id, estimate) == (batch.id, None)
    assert "would have refused it: no money left" in caplog.text
