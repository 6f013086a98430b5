"""Reads that do not hammer the provider, and advance the ledger."""

import asyncio

import pytest

from batchmeter.errors import NotFoundError
from batchmeter.ledger.records import Attempts, Reschedule
from batchmeter.models import Batch
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_proxy.read_cache import Reads

BATCH = (
    b'{"id": "batch_1", "object": "batch", "status": "%s", "endpoint": "/v1/responses", "created_at": 1,'
    b' "output_file_id": %s, "request_counts": {"total": 1, "completed": 1, "failed": 0}}'
)
OPEN = Answer(body=BATCH % (b"in_progress", b"null"))
GAP = Answer(body=BATCH % (b"completed", b"null"))
DONE = Answer(body=BATCH % (b"completed", b'"file-out"'))
LINE = (
    b'{"custom_id": "a", "response": {"status_code": 200, "body": {"model": "gpt-4o-mini",'
    b' "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}}}\n'
)
CREATED = Answer(body=BATCH % (b"validating", b"null"))


async def seen_by(reads, account="scripted"):
    return Batch.model_validate_json(await reads.batch(account, "batch_1", lambda account, attribution: None))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at(client):
    """`at(answers)`: the batch `batch_1` at a provider that gives these answers."""

    async def run(address: str):
        account = {"provider": "openai", "api_base": address, "api_key": "k", "max_retries": 0}
        client.accounts._settings.accounts["scripted"] = account
        return await client.batches.create(
            input_file_id="file-1", endpoint="/v1/responses", custom_llm_provider="scripted"
        )

    return run


async def test_a_final_batch_is_answered_from_the_ledger(client, at):
    script = Script([CREATED, OPEN, GAP, DONE])
    async with serving(script) as address:
        await at(address)
        reads = Reads(client, 0)
        seen = [(await seen_by(reads, None)) for _ in range(6)]
    assert [batch.status for batch in seen] == ["in_progress", *["completed"] * 5]
    assert [batch.output_file_id for batch in seen] == [None, None, *["file-out"] * 4]
    gets = [request for request in script.received if request.method == "GET" and "batches" in request.path]
    assert len(gets) >= 3
    await client.tracker.idle()


async def test_late_files_are_asked_for_and_become_a_revision(client, at, recorder):
    """Settled without its output, which the provider lists only later: the proxy shows it to whoever asks next."""
    answers = {"/batches/batch_1": GAP, "/files/file-out/content": Answer(body=LINE)}

    async def provider(request):
        return CREATED if request.method == "POST" else answers.get(request.path, Answer(404, b"{}"))

    async with serving(provider) as address:
        await at(address)
        reads = Reads(client, 0)
        assert (await seen_by(reads)).output_file_id is None
        await client.tracker.idle()
        tracked = await client.ledger.get_batch("batch_1")
        claim = await client.ledger.claim("scripted", "batch_1", owner="t", lease_seconds=60)
        assert (tracked.settled_at, claim is None) == (None, False), "it is looked for"
        long_ago = tuple(Attempts(one.trouble, 0, 99) for one in tracked.attempts)
        await client.ledger.reschedule([Reschedule(claim, 0, attempts=long_ago)])
        await client.tracker.once()
        assert (await client.batches.settlement("batch_1")).cost.total is None

        assert (await seen_by(reads)).output_file_id is None, "asked once more"
        answers["/batches/batch_1"] = DONE
        assert (await seen_by(reads)).output_file_id == "file-out"
        await client.tracker.idle()
        late = await client.batches.settlement("batch_1")
        assert (late.revision, late.request_counts.succeeded, late.cost.unknown) == (2, 1, {})


async def test_who_asks_at_the_same_time_shares_one_call(client, at):
    waiting, held, script = asyncio.Event(), asyncio.Event(), Script([CREATED, OPEN])
    let_through: list[str] = []

    def may_see(account, attribution):
        let_through.append(account)
        if len(let_through) == 50:
            waiting.set()

    async def slow(request):
        if request.method == "GET":
            await held.wait()
        return await script(request)

    async with serving(slow) as address:
        await at(address)
        reads = Reads(client, 0)
        asking = [asyncio.create_task(reads.batch("scripted", "batch_1", may_see)) for _ in range(50)]
        await waiting.wait()
        asking[0].cancel()  # whoever asked first may leave
        held.set()
        assert len(set(await asyncio.gather(*asking[1:]))) == 1
        assert len(script.received) == 2
        await seen_by(reads)
        assert len(script.received) == 3


async def test_an_answer_serves_while_it_is_fresh(client, at):
    script, clock = Script([CREATED, OPEN]), Clock()
    async with serving(script) as address:
        await at(address)
        reads = Reads(client, 1.0, clock=clock)
        for later in (0, 0.5, 0.5, 0.1, 0.2):
            clock.now += later
            await seen_by(reads)
        assert len(script.received) == 3  # the create, the first, and the one that was 1.1 s later
        reads.forget("scripted", "batch_1")
        await seen_by(reads)
        assert len(script.received) == 4


async def test_a_failure_is_not_remembered(client, at):
    missing = Answer(status=404, body=b'{"error": {"message": "no"}}')
    script = Script([CREATED, missing, OPEN])
    async with serving(script) as address:
        await at(address)
        reads = Reads(client, 60)
        with pytest.raises(NotFoundError):
            await seen_by(reads)
        assert (await seen_by(reads)).status == "in_progress"


async def test_what_is_read_advances_the_ledger(http, sdk, client, clock, lines, recorder):
    file = await sdk.files.create(file=("in.jsonl", lines(1)), purpose="batch")
    batch = await sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    clock.advance(2000)
    assert (await http.get("/v1/batches")).json()["data"][0]["status"] == "completed"
    await client.tracker.idle()
    assert (await client.batches.settlement(batch.id)).status == "completed"
