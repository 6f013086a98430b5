"""A key's lists of batches and files, however much of others the account has."""

import json

import openai
from batchmeter.models import FileObject
from batchmeter.testing.wire import Answer, serving

from .conftest import refused

CHAT = "/v1/chat/completions"


def put(sandbox, content):
    """A stranger's file, straight into the sandbox: hundreds of requests are the provider's own business."""
    received = sandbox.engine.files.receive("in.jsonl")
    received.write(content)
    return received.finish("batch")["id"]


async def test_lists_hold_only_one_s_own_in_full_pages(caller, lines):
    ada, bob, root = await caller(owner="ada"), await caller(owner="bob"), await caller(owner="root", admin=True)
    mine = []
    for number in range(12):
        if number % 3:
            mine.append((await ada.submit(lines(1))).id)
        await bob.submit(lines(1))
    mine.reverse()
    first = await ada.batches.list(limit=5)
    assert [batch.id for batch in first.data] == mine[:5]
    assert first.has_more is True
    second = await ada.batches.list(limit=5, after=first.data[-1].id)
    assert [batch.id for batch in second.data] == mine[5:]
    assert second.has_more is False
    assert [batch.id async for batch in ada.batches.list(limit=3)] == mine
    assert len([batch.id async for batch in root.batches.list(limit=7)]) == 20
    files = [file.id async for file in ada.files.list(limit=3)]
    assert len(files) == len(set(files)) == 8
    assert len([file async for file in root.files.list(limit=10)]) == 20
    assert (await (await caller(owner="eve")).batches.list()).data == []


async def test_lists_are_found_below_any_number_of_others(caller, lines, sandbox, ended, clock):
    ada = await caller(owner="ada")
    settled = await ada.submit(lines(1))
    await ended(settled.id)
    clock.advance(1)
    mine = [settled.id, *[(await ada.submit(lines(1))).id for _ in range(2)]][::-1]
    file = put(sandbox, lines(1))
    for _ in range(105):
        await sandbox.engine.batches.create({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"})
    page = await ada.batches.list()
    assert [batch.id for batch in page.data] == mine
    assert page.has_more is False
    assert [batch.id async for batch in ada.batches.list(limit=1)] == mine
    clock.advance(1400)
    assert [batch.status for batch in (await ada.batches.list()).data] == ["completed"] * 3


async def test_files_are_found_below_any_number_of_others(caller, lines, sandbox, ended):
    ada = await caller(owner="ada")
    batch = await ada.submit(lines(1))
    settled = (await ended(batch.id)).batch
    mine = [settled.output_file_id, settled.input_file_id]
    for _ in range(55):
        put(sandbox, lines(1))
    assert [file.id async for file in ada.files.list(limit=1)] == mine
    assert [file.id async for file in ada.files.list(limit=1, order="asc")] == mine[::-1]
    assert [file.id async for file in ada.files.list(purpose="batch_output")] == mine[:1]


async def test_lists_show_what_is_still_there(caller, lines, sandbox):
    ada = await caller(owner="ada")
    files = [(await ada.upload(lines(1))).id for _ in range(4)]
    async with openai.AsyncOpenAI(base_url=sandbox.url, api_key="k") as stranger:
        for gone in files[1:3]:
            await stranger.files.delete(gone)
    assert {file.id async for file in ada.files.list(limit=1)} == {files[0], files[3]}


async def test_files_that_a_short_list_does_not_reach_are_asked_for(caller, client, lines):
    """Of a provider whose pages are shorter than what was asked for."""
    ids = [f"file-{number:03}" for number in range(90)]
    gone = set(ids[20:60])
    asked = []

    async def answer(request):
        asked.append(request.path)
        if request.path.partition("?")[0].endswith("/files"):
            return Answer(body=json.dumps({"object": "list", "data": [shown("file-089")], "has_more": True}).encode())
        file_id = request.path.rpartition("/")[2]
        found = file_id not in gone
        return Answer(status=200 if found else 404, body=json.dumps(shown(file_id) if found else {}).encode())

    def shown(file_id):
        return {"id": file_id, "object": "file", "purpose": "user_data" if file_id == "file-000" else "batch"}

    ada = await caller(owner="ada")
    async with serving(answer) as address:
        client.accounts._settings.accounts["short"] = {"provider": "openai", "api_base": address, "api_key": "k"}
        for file_id in ids:
            await client.ledger.record_file("short", FileObject(id=file_id), attribution=ada.key.attribution)
        there = [file_id for file_id in ids[::-1] if file_id not in gone]
        listed = ada.files.list(purpose="batch", extra_query={"provider": "short"})
        assert [file.id async for file in listed] == there[:-1]
        asked.clear()
        page = await ada.files.list(limit=5, extra_query={"provider": "short"})
        assert [file.id for file in page.data] == there[:5]
        assert len(asked) == 1 + 4


async def test_a_page_begins_after_one_s_own_only(caller, lines):
    ada, bob = await caller(owner="ada"), await caller(owner="bob")
    batch = await ada.submit(lines(1))
    for after in (batch.id, "batch_none"):
        assert (await refused(bob.batches.list(after=after)))[0] == 404
    for after in (batch.input_file_id, "file-none"):
        assert (await refused(bob.files.list(after=after)))[0] == 404


async def test_a_page_may_begin_after_a_batch_that_its_provider_lost(caller, lines, sandbox):
    ada = await caller(owner="ada")
    older, old, lost = [(await ada.submit(lines(1))).id for _ in range(3)]
    del sandbox.engine.batches.records.place[lost]
    page = await ada.batches.list(after=lost)
    assert [batch.id for batch in page.data] == [old, older]
