"""One key's heavy question: rows are bounded, and the loop gets its turns, whatever ledger and provider hold."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cases import case
from tests.heavy import heavy

from batchmeter import Attribution
from batchmeter.access import access_of
from batchmeter.models import FileObject, Page
from batchmeter.spend import report as report_module
from batchmeter.testing.wire import Answer, serving
from batchmeter_proxy.answers import page_answer

BATCHES, TAGS = heavy((25, 1_000), (4, 500))


@pytest.fixture
async def many_tags(client, clock, lines):
    """Batches with thousands of tags each, as the SDK takes them, or as an older proxy did."""
    file = await client.files.create(("a.jsonl", lines(1)))
    made = []
    for number in range(BATCHES):
        tags = tuple(f"{number}-{tag}" for tag in range(TAGS))
        who = Attribution(key="key_1", tags=("all", *tags))
        made.append(
            await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", attribution=who)
        )
    clock.advance(60)
    for batch in made:
        await client.batches.retrieve(batch.id)
    clock.advance(1400)
    for batch in made:
        await client.batches.wait(batch.id, timeout=10)


async def test_thousands_of_tags_give_a_bounded_report(many_tags, client, http):
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    access = await access_of(client)
    beside = asyncio.create_task(others())
    report = await access.costs(group_by="tag", since=None, until=None, key="key_1", limit=10)
    beside.cancel()
    assert turns >= BATCHES * TAGS / report_module._SLICE, "others run after every slice"
    assert (len(report.data), report.truncated) == (10, True)
    assert (report.data[0].group, report.data[0].batches, report.total.batches) == ("all", BATCHES, BATCHES)

    answer = (await http.get("/v1/costs", params={"group_by": "tag"})).json()
    assert (len(answer["data"]), answer["truncated"]) == (1000, True)
    assert answer["total"]["batches"] == BATCHES


async def test_a_report_of_more_rows_is_refused(http):
    for limit in ["0", "1001", "-1", "ten"]:
        with case(limit):
            answer = await http.get("/v1/costs", params={"group_by": "tag", "limit": limit})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


async def test_days_keep_the_latest(client, http, clock, lines, ended):
    for _ in range(3):
        file = await client.files.create(("a.jsonl", lines(1)))
        batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
        await ended(batch.id)
    whole = (await http.get("/v1/costs", params={"group_by": "day"})).json()
    assert whole["truncated"] is False
    last = (await http.get("/v1/costs", params={"group_by": "day", "limit": 1})).json()
    assert last["data"] == whole["data"][-1:]
    assert last["truncated"] is (len(whole["data"]) > 1)


@pytest.mark.parametrize("rights", [{"owner": "ada"}, {"admin": True}], ids=["plain", "admin"])
async def test_long_lists_are_read_and_written_in_slices(caller, client, rights):
    """Providers give 10,000 files in one answer, which nobody else could be served beside."""
    ids = [f"file-{number:05}" for number in range(1_200)][::-1]
    limits = []

    async def answer(request):
        query = parse_qs(urlsplit(request.target).query)
        limits.append(int(query["limit"][0]))
        first = ids.index(query["after"][0]) + 1 if "after" in query else 0
        page = ids[first : first + limits[-1]]
        listed = {"object": "list", "data": [{"id": one, "object": "file", "purpose": "batch"} for one in page]}
        return Answer(body=json.dumps({**listed, "has_more": page[-1] != ids[-1]}).encode())

    ada = await caller(**rights)
    async with serving(answer) as address:
        client.accounts._settings.accounts["long"] = {"provider": "openai", "api_base": address, "api_key": "k"}
        for file_id in ids[::-1]:
            await client.ledger.record_file("long", FileObject(id=file_id), attribution=ada.key.attribution)
        page = (await ada.get("/long/v1/files")).json()
        assert ([file["id"] for file in page["data"]], page["has_more"]) == (ids, False)
        assert limits == [500, 500, 500]
        page = (await ada.get("/long/v1/files?limit=600")).json()
        assert ([file["id"] for file in page["data"]], page["has_more"]) == (ids[:600], True)
        assert page["last_id"] == ids[599]


async def test_a_long_page_is_written_in_slices():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    files = [FileObject(id=f"file-{number}", filename="ü") for number in range(1_000)]
    written = await page_answer(Page[FileObject](data=files, has_more=True))
    beside.cancel()
    assert turns >= 4
    assert json.loads(written.body) == Page[FileObject](data=files, has_more=True).model_dump(mode="json")
