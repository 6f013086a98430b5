"""The spool: whole files or none, content kept as long as one file has it, several workers over one folder."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.warm_python import WARM

from batchmeter.errors import ConfigError, NotFoundError
from batchmeter.providers import FileUpload
from batchmeter_spool import spool as spools
from batchmeter_spool.notes import BatchNote, IdsDigest, Notes
from batchmeter_spool.record import new_id
from batchmeter_spool.settings import SpoolSettings
from batchmeter_spool.spool import Spool


def spool_at(path, account="a", **settings):
    return Spool(account, SpoolSettings(spool=str(path), **settings))


def upload_of(name="in.jsonl", purpose="batch", **more):
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    return FileUpload(name, purpose, nothing, **more)


async def put(spool, content=b"hello\n", rows=None, **more):
    draft = await spool.draft()
    await draft.write(content)
    if rows is not None:
        await draft.write(rows, "rows")
    return await draft.finish(upload_of(**more), {"k": "v"})


async def text(spool, file_id, part="content"):
    async with spool.read(file_id, part) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


def files(path):
    return [found for found in path.rglob("*") if found.is_file()]


def contents(path):
    return [found.name for found in files(path / "content")]


async def test_a_file_is_written_read_and_deleted(tmp_path):
    spool = spool_at(tmp_path)
    record = await put(spool, rows=b"row\n")
    assert (await text(spool, record.id), await text(spool, record.id, "rows")) == (b"hello\n", b"row\n")
    seen = await spool_at(tmp_path).look(record.id)
    assert (seen.bytes, seen.notes, seen.filename) == (6, {"k": "v"}, "in.jsonl")
    assert len(record.id) == 40
    await spool.delete(record.id)
    with pytest.raises(NotFoundError):
        await text(spool, record.id)
    with pytest.raises(NotFoundError):
        await spool.delete(record.id)
    assert files(tmp_path) == []


async def test_content_is_there_once_and_goes_with_its_last_file(tmp_path):
    mine, others = spool_at(tmp_path), spool_at(tmp_path, "b@x/../..")
    first, second, third = await put(mine), await put(mine), await put(others)
    assert len({first.id, second.id, third.id}) == 3
    assert len(contents(tmp_path)) == 1
    for spool, record in ((mine, first), (others, third)):
        await spool.delete(record.id)
        assert len(contents(tmp_path)) == 1
    assert await text(mine, second.id) == b"hello\n"
    await mine.delete(second.id)
    assert contents(tmp_path) == []


async def test_accounts_see_their_own_files_only(tmp_path):
    mine, others = spool_at(tmp_path), spool_at(tmp_path, "..")
    record = await put(mine)
    with pytest.raises(NotFoundError):
        await others.look(record.id)
    with pytest.raises(NotFoundError):
        await mine.look("../files/x")
    assert len(await others.page(purpose=None, after=None, limit=None, order=None)) == 0
    assert all(tmp_path in found.resolve().parents for found in files(tmp_path))


async def test_lists_go_page_by_page(tmp_path):
    spool = spool_at(tmp_path)
    ids = [(await put(spool, purpose="batch" if n % 2 else "user_data")).id for n in range(5)]
    newest = sorted(ids, reverse=True)
    first = await spool.page(purpose=None, after=None, limit=2, order=None)
    assert ([file.id for file in first], first.has_more) == (newest[:2], True)
    rest = await spool.page(purpose=None, after=newest[1], limit=3, order=None)
    assert ([file.id for file in rest], rest.has_more) == (newest[2:], False)
    assert len(await spool.page(purpose="batch", after=None, limit=None, order="asc")) == 2
    with pytest.raises(NotFoundError):
        await spool.page(purpose=None, after="file-x", limit=1, order=None)


async def test_what_expires_goes(tmp_path, monkeypatch):
    spool = spool_at(tmp_path, keep_inputs_days=2)
    short = await put(spool, b"short", rows=b"r", expires_after={"anchor": "created_at", "seconds": 3600})
    long = await put(spool, b"long")
    assert (short.expires_at - short.created_at, long.expires_at - long.created_at) == (3600, 172_800)
    now = time.time() + 7200
    monkeypatch.setattr(spools.time, "time", lambda: now)
    with pytest.raises(NotFoundError):
        await spool.look(short.id)
    assert spool.prune() == 1
    assert await text(spool, long.id) == b"long"
    assert len(contents(tmp_path)) == 1
    assert len(files(tmp_path)) == 2


async def test_an_upload_that_is_given_up_leaves_nothing(tmp_path):
    spool = spool_at(tmp_path)
    draft = await spool.draft()
    await draft.write(b"half")
    await draft.write(b"row", "rows")
    await draft.abort()
    assert files(tmp_path) == []


async def test_a_deleter_leaves_content_that_another_worker_finishes(tmp_path, monkeypatch):
    """The other's record stands between the two looks: the content is put back."""
    spool = spool_at(tmp_path)
    old = await put(spool)
    looks = []

    def used(self, sha256):
        looks.append(sha256)
        if len(looks) == 2:
            waiting = self.account / "files" / f"{new_id(sha256)}.new"
            waiting.write_bytes(b"{}")
        return genuine(self, sha256)

    genuine = Spool._is_used
    monkeypatch.setattr(Spool, "_is_used", used)
    await spool.delete(old.id)
    assert len(looks) == 2
    assert contents(tmp_path) == [old.sha256]


async def test_many_workers_upload_and_delete_the_same_content(tmp_path):
    """All rows that are listed at the end can be read."""

    async def churn(spool):
        for turn in range(15):
            record = await put(spool)
            assert await text(spool, record.id) == b"hello\n"
            if turn % 3:
                await spool.delete(record.id)

    workers = [spool_at(tmp_path, account) for account in ("a", "a", "b")]
    await asyncio.gather(*map(churn, workers))
    listed = [
        (spool, file)
        for spool in workers[1:]
        for file in await spool.page(purpose=None, after=None, limit=None, order=None)
    ]
    assert len(listed) == 15
    for spool, file in listed:
        assert await text(spool, file.id) == b"hello\n"


KILLED = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from tests.spool.test_spool import spool_at, put
async def main():
    spool = spool_at(sys.argv[1])
    while True:
        record = await put(spool, b"x" * 100_000, rows=b"r" * 100_000)
        print(record.id, flush=True)
asyncio.run(main())
"""


async def test_a_worker_that_is_killed_leaves_whole_files_only(tmp_path):
    root = str(Path(__file__).parents[2])
    worker = await asyncio.create_subprocess_exec(
        WARM, "-c", KILLED, str(tmp_path), root, stdout=asyncio.subprocess.PIPE
    )
    told = [(await worker.stdout.readline()).decode().strip() for _ in range(5)]
    worker.kill()
    await worker.communicate()
    spool = spool_at(tmp_path)
    page = await spool.page(purpose=None, after=None, limit=None, order=None)
    assert set(told) <= {file.id for file in page}
    for file in page:
        assert len(await text(spool, file.id)) == len(await text(spool, file.id, "rows")) == 100_000


async def test_a_folder_that_cannot_be_used_says_how_to_mend_it(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigError, match=r"\[spool\] path"):
        await put(spool_at(tmp_path / "taken"))
    with pytest.raises(ConfigError, match=r"set \[spool\] path"):
        await put(Spool("a", SpoolSettings()))


async def test_notes_are_joined_with_their_batches(tmp_path):
    mine, others = Notes(spool_at(tmp_path)), Notes(spool_at(tmp_path))
    note = BatchNote("file-1", "/v1/chat/completions", 2, "00", time.time(), "m", {"team": "ops"})
    made, refused, lost = [await mine.open(note) for _ in range(3)]
    await mine.close(made, "batch/1")
    await mine.close(refused, None)
    await others.close(refused, None)
    assert list(await others.waiting()) == [lost]
    assert dict(await others.of(["batch/1", "batch_2"])) == {"batch/1": note}
    await mine.forget("batch/1")
    assert await Notes(spool_at(tmp_path)).of(["batch/1"]) == {}


def test_a_digest_of_ids_is_the_same_in_any_order():
    first, second = IdsDigest(), IdsDigest()
    for name in ("a", "b", "b"):
        first.add(name)
    for name in ("b", "a", "b"):
        second.add(name)
    assert (first.text, first.count) == (second.text, 3)
    second.add("b")
    assert first.text != second.text
