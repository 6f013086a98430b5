"""What is left of a batch is submitted once, whoever asks for it and however often."""

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from batchmeter.errors import UsageError
from batchmeter.providers import ContentStream
from batchmeter.retrying import retry


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
    """What its output files hold."""
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
    change(monkeypatch, client.accounts.get("openai"), lambda lines: lines[:5])
    batch = await submitted(client, requests)
    assert (await client.batches.settlement(batch.id)).missing == 15
    assert (await retry(client, batch.id)).requests == 15
