"""The rest of a batch is submitted once, whoever asks for it and however often."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import CreateUnknownError, RateLimitError, UsageError
from batchmeter.providers import ContentStream
from batchmeter.rerun.rerun import retry
from batchmeter.tracker.metadata_tag import RETRY_OF
from batchmeter.tracker.schedule import PATIENCE, Patience

MIXED = "outcome=expired done=0.5 fail=0.2"
"""Of twenty requests eight are answered, two fail, ten are never run."""


@pytest.fixture
async def client(make_client, sandbox):
    async with make_client(sandbox.url) as opened:
        yield opened


async def submitted(client, requests, script="", settle=True, **fields):
    """A batch that has ended."""
    file = await client.files.create(file=requests, purpose="batch")
    fields = {"metadata": {"team": "search"}, "endpoint": "/v1/chat/completions"} | fields
    batch = await client.batches.create(input_file_id=file.id, extra_headers={"x-sandbox-script": script}, **fields)
    if settle:
        await client.batches.wait(batch.id)
    while not batch.ended:
        batch = await client.batches.retrieve(batch.id)
    return batch


async def batches(client):
    return [batch.id async for batch in client.batches.iterate()]


async def files(client):
    return {file.id for file in await client.files.list(limit=100)}


def change(monkeypatch, provider, changed):
    """Make the provider's output files say something else."""
    outputs = provider.outputs

    async def listed(batch):
        return [replace(file, open=lambda file=file: opened(file)) for file in await outputs(batch)]

    @asynccontextmanager
    async def opened(file):
        async with file.open() as stream:
            lines = b"".join([chunk async for chunk in stream.chunks]).splitlines(keepends=True)
        data = b"".join(changed(lines)) if file.kind == "output" else b"".join(lines)
        yield ContentStream(_chunks(data), size=len(data))

    monkeypatch.setattr(provider, "outputs", listed)


async def _chunks(data):
    yield data


async def test_batch_under_its_second_id_is_retried_once(client, requests, monkeypatch):
    """A gateway's lists name it otherwise than its create did."""
    batch = await submitted(client, requests, MIXED)
    provider = client.accounts.get("openai")
    retrieve = provider.retrieve_batch

    async def by_both(batch_id, options):
        shown = await retrieve(batch.id if batch_id == "batch_raw" else batch_id, options)
        return shown.model_copy(update={"id": batch_id})

    monkeypatch.setattr(provider, "retrieve_batch", by_both)
    first = await retry(client, batch.id)
    again = await retry(client, "batch_raw")
    assert (first.new, again.new, again.batch.id) == (True, False, first.batch.id)


async def test_batch_that_two_accounts_see_is_retried_once(sandbox, tmp_path, requests):
    shared = {"provider": "openai", "api_key": "sk-test-key", "api_base": sandbox.url}
    accounts = {"openai": shared, "twin": shared}
    async with AsyncClient(settings=Settings(ledger=str(tmp_path / "l.db"), accounts=accounts, load=())) as client:
        batch = await submitted(client, requests, MIXED)
        first = await retry(client, batch.id, custom_llm_provider="twin")
        again = await retry(client, batch.id)
        assert (first.new, again.new, again.batch.id) == (True, False, first.batch.id)


async def test_answers_that_are_not_listed_yet_are_not_asked_for_again(client, requests):
    batch = await submitted(client, requests, "lag=1000", settle=False)
    with pytest.raises(UsageError, match="lists no file with its answers yet"):
        await retry(client, batch.id)
    assert await batches(client) == [batch.id]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda lines: lines[:5], "counts 13 answers more than its files have"),
        (lambda lines: [line.replace(b'"r-', b'"s-') for line in lines], "18 answers are to no request"),
    ],
    ids=["cut between lines", "other ids"],
)
async def test_answers_that_cannot_be_told_are_not_asked_for_again(client, requests, monkeypatch, changed, told):
    batch = await submitted(client, requests, "fail=0.1", settle=False)
    change(monkeypatch, client.accounts.get("openai"), changed)
    uploaded = await files(client)
    with pytest.raises(UsageError, match=told):
        await retry(client, batch.id)
    assert (await batches(client), await files(client)) == ([batch.id], uploaded)
    assert (await retry(client, batch.id, only=["failed"])).requests == 2


async def test_answers_that_do_not_exist_by_the_settlement_are_asked_for_again(client, requests, monkeypatch):
    monkeypatch.setitem(PATIENCE, "lines_missing", Patience(0, 2, first=0.01))
    change(monkeypatch, client.accounts.get("openai"), lambda lines: lines[:5])
    batch = await submitted(client, requests)
    assert (await client.batches.settlement(batch.id)).missing == 15
    assert (await retry(client, batch.id)).requests == 15


@pytest.mark.parametrize(
    ("calls", "counts"),
    [
        ([["failed"], None, ["expired", "failed"]], [2, 10, 0]),
        ([["expired", "failed"], ["failed"], ["missing", "expired"], None], [12, 0, 0, 0]),
        ([None, ["failed"], ["expired"], ["expired", "missing"]], [12, 0, 0, 0]),
        ([["expired"], ["failed", "failed"], ["failed"], None], [10, 2, 0, 0]),
    ],
)
async def test_no_request_is_submitted_twice(client, requests, calls, counts):
    batch = await submitted(client, requests, MIXED)
    done = [await retry(client, batch.id, **({} if only is None else {"only": only})) for only in calls]
    assert [one.requests for one in done] == counts
    assert [one.new for one in done] == [count > 0 for count in counts]
    made = {one.batch.id: one.requests for one in done if one.new}
    assert set(await batches(client)) == {batch.id, *made}
    for only, one in zip(calls, done, strict=True):
        assert set(one.before) <= set(only or ["failed", "expired", "missing"])
        assert {*one.before.values(), one.batch.id} <= set(made)
        assert one.new or one.batch.id == list(one.before.values())[-1]


@pytest.mark.parametrize(
    ("calls", "sent"),
    [
        ([["failed"], ["expired", "failed"]], [[2, 10], [12, 0]]),
        ([["failed", "missing"], None], [[2, 10], [12, 0]]),
        ([["expired"], ["failed"]], [[10, 2]]),
    ],
)
async def test_retries_at_one_time_share_no_request(make_client, sandbox, requests, monkeypatch, calls, sent):
    """Two processes' clients; each uploads before either has submitted."""
    both = asyncio.Barrier(2)
    async with make_client(sandbox.url) as one, make_client(sandbox.url) as other:
        batch = await submitted(one, requests, MIXED)
        for client in (one, other):
            gate(monkeypatch, client.accounts.get("openai"), both)
        asked = zip((one, other), calls, strict=True)
        done = await asyncio.gather(
            *(retry(client, batch.id, **({"only": only} if only else {})) for client, only in asked)
        )
        counts = [each.requests for each in done]
        assert counts in sent or counts[::-1] in sent
        made = {each.batch.id: each.batch.input_file_id for each in done if each.new}
        assert set(await batches(one)) == {batch.id, *made}
        inputs = {file.id for file in await one.files.list(limit=100, purpose="batch")}
        assert inputs == {batch.input_file_id, *made.values()}, "no input file is left over"


def gate(monkeypatch, provider, both):
    """The first upload of each waits for the other's."""
    upload, first = provider.create_file, [True]

    async def waits(*args, **kwargs):
        made = await upload(*args, **kwargs)
        if first:
            first.clear()
            await both.wait()
        return made

    monkeypatch.setattr(provider, "create_file", waits)


async def test_it_says_where_the_others_went(client, requests):
    batch = await submitted(client, requests, MIXED)
    one, other = await retry(client, batch.id, only=["failed"]), await retry(client, batch.id)
    assert other.before == {"failed": one.batch.id}
    last = await retry(client, batch.id)
    assert last.before == {"failed": one.batch.id, "expired": other.batch.id, "missing": other.batch.id}
    with pytest.raises(UsageError, match="nothing to retry"):
        await retry(client, (await submitted(client, requests)).id)


async def test_a_retry_whose_files_are_gone_is_found_all_the_same(client, requests):
    batch = await submitted(client, requests, MIXED)
    made = await retry(client, batch.id)
    for file in await files(client):
        await client.files.delete(file)
    assert (await retry(client, batch.id)).batch.id == made.batch.id


async def test_metadata_without_room_goes_as_it_was(client, requests):
    metadata = {f"key-{number}": "x" for number in range(16)}
    batch = await submitted(client, requests, "fail=0.1", metadata=metadata)
    made = await retry(client, batch.id)
    assert (await client.batches.retrieve(made.batch.id)).metadata == metadata
    tracked = await client.ledger.get_batch(made.batch.id)
    assert tracked.submission.metadata == {**metadata, RETRY_OF: batch.id}, "the ledger has room"


async def test_a_refused_create_leaves_no_file(client, sandbox, requests):
    batch = await submitted(client, requests, "fail=0.1")
    uploaded = await files(client)
    sandbox.engine.faults.add("quota POST /v1/batches")
    with pytest.raises(RateLimitError):
        await retry(client, batch.id)
    assert await files(client) == uploaded
    sandbox.engine.faults.add("quota POST /v1/batches", "unavailable*9 DELETE * retry_after=0.01")
    with pytest.raises(RateLimitError) as caught:
        await retry(client, batch.id)
    assert "could not be deleted" in caught.value.__notes__[0]
    sandbox.engine.faults.clear()
    assert (await retry(client, batch.id)).new, "a refusal is no retry"


async def test_a_lost_answer_is_looked_for_not_repeated(client, sandbox, requests):
    """Its file is kept: the batch may exist."""
    batch = await submitted(client, requests, "fail=0.1")
    sandbox.engine.faults.add("lose_answer POST /v1/batches", "unavailable*99 GET /v1/batches retry_after=0.01")
    with pytest.raises(CreateUnknownError):
        await retry(client, batch.id)
    with pytest.raises(CreateUnknownError):
        await retry(client, batch.id, only=["failed"])
    sandbox.engine.faults.clear()
    found = await retry(client, batch.id, only=["failed"])
    assert (found.new, len(await batches(client))) == (False, 2)
    assert found.batch.input_file_id in await files(client)


async def test_the_endpoint_is_the_requests_own_where_the_batch_shows_none(
    client, make_client, sandbox, requests, monkeypatch
):
    async with make_client(sandbox.url, ledger=":memory:") as other:
        batch = await submitted(other, requests, "fail=0.1", settle=False)
    retrieve = client.accounts.get("openai").retrieve_batch

    async def shown(batch_id, options):
        return (await retrieve(batch_id, options)).model_copy(update={"endpoint": None})

    monkeypatch.setattr(client.accounts.get("openai"), "retrieve_batch", shown)
    assert (await retry(client, batch.id)).batch.endpoint == "/v1/chat/completions"
