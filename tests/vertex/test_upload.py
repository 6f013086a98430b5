"""Resumable uploads over a line that breaks, and in flat memory."""

import itertools
import json
import re
import tracemalloc
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vendor_kit import BlockingHandler, served

from batchmeter.errors import APIConnectionError, ConflictError, InternalServerError, InvalidInputError
from batchmeter.http import CHUNK, HttpClient
from batchmeter.providers import CallOptions, FileUpload
from batchmeter_translate import lines_in
from batchmeter_vertex import rows
from batchmeter_vertex import upload as uploads
from batchmeter_vertex.names import Blob
from batchmeter_vertex.upload import Piece, Upload

PIECE = 256 * 1024
OPTIONS = CallOptions()


class Session:
    """One object on its way, and the faults to come, one a data request."""

    def __init__(self):
        self.kept = b""
        self.done = False
        self.faults = []
        self.log = []
        self.exists = False
        self.metadata = {}


def handler(session):  # noqa: C901 - a class with one short method a verb
    class Handler(BlockingHandler):
        def reply(self, status, headers=(), body=b""):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):  # noqa: N802 - http.server names them
            assert "ifGenerationMatch=0" in self.path
            session.metadata = json.loads(self.rfile.read(int(self.headers["content-length"])))["metadata"]
            if session.exists:
                self.reply(409, body=b'{"error": {"code": 409, "message": "exists"}}')
            else:
                self.reply(200, [("location", f"http://{self.headers['host']}/session")])

        def do_DELETE(self):  # noqa: N802
            session.log.append("abort")
            self.reply(499)

        def do_PUT(self):  # noqa: N802
            where = self.headers["content-range"]
            session.log.append(where)
            size = int(self.headers["content-length"])
            fault = session.faults.pop(0) if session.faults and where != "bytes */*" else None
            data = self.rfile.read(size)
            if fault == "refuse":
                return self.reply(503)
            if fault == "forget":
                session.kept = b""
                return self.reply(410)
            match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", where)
            if match[1]:
                assert int(match[1]) == len(session.kept)
                session.kept += data[: len(data) // 2] if fault == "half" else data
            session.done = session.done or (match[2] != "*" and int(match[2]) == len(session.kept))
            if fault:
                self.close_connection = True
                return None
            return self.state()

        def state(self):
            if session.done:
                return self.reply(200, body=json.dumps({"size": str(len(session.kept))}).encode())
            kept = [("range", f"bytes=0-{len(session.kept) - 1}")] if session.kept else []
            return self.reply(308, kept)

    return Handler


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", PIECE)
    return Session()


@pytest.fixture
async def http(session):
    async def at_once(_seconds):
        return

    with served(handler(session)) as address:
        client = HttpClient(address, sleep=at_once)
        yield client
        await client.aclose()


def uploading(http):
    return Upload(http, Blob("b", "folder/o"), "text/plain", lambda: {"k": "v"})


async def send(http, data):
    upload = uploading(http)
    for start in range(0, len(data), 100_000):
        await upload.write(data[start : start + 100_000])
    return await upload.finish()


@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["refuse"],
        ["forget"],
        ["half", "forget", "forget"],
        ["half"],
        ["lost"],
        [None, "half", "half", "refuse"],
        [None, None, "lost"],
        [None, None, "half", "lost"],
    ],
)
@pytest.mark.parametrize("size", [0, 1, PIECE, 2 * PIECE + 5])
async def test_every_byte_arrives_once(session, http, faults, size):
    session.faults = list(faults)
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert await send(http, data) == {"size": str(size)}
    assert session.kept == data
    assert session.metadata == {"k": "v"}
    assert all(int(end) - int(start) + 1 <= PIECE for start, end in re.findall(r"(\d+)-(\d+)", " ".join(session.log)))


async def test_it_gives_up_in_the_end(session, http):
    session.faults = ["refuse"] * 20
    with pytest.raises(InternalServerError):
        await send(http, b"x")


async def test_a_session_that_is_forgotten_later_says_so(session, http):
    session.faults = [None, "forget"]
    with pytest.raises(APIConnectionError, match=r"forgotten the upload at 262144; try again"):
        await send(http, b"x" * (PIECE + 5))


async def test_another_objects_name_is_not_taken(session, http):
    session.exists = True
    with pytest.raises(ConflictError):
        await send(http, b"x")


async def test_abort_forgets_the_session(session, http):
    upload = uploading(http)
    await upload.write(b"x" * (PIECE + 1))
    await upload.abort()
    await upload.abort()
    assert session.log.count("abort") == 1
    assert not session.done


def lines(chat, count, size):
    for i in range(count):
        yield json.dumps(chat(f"id-{i}", "word " * (size // 5))).encode() + b"\n"


async def test_a_large_file_translates_and_uploads_in_flat_memory(provider, vertex, chat, monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", PIECE)

    def upload(name, count):
        async def chunks():
            for line in lines(chat, count, 5000):
                yield line

        return FileUpload(name, "batch", chunks)

    await provider.create_file(upload("first.jsonl", 1), OPTIONS)  # imports what others do
    before = set(vertex.bucket.names("batchmeter/rows/"))
    tracemalloc.start()
    file = await provider.create_file(upload("big.jsonl", 300), OPTIONS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.bytes > 1_500_000
    assert peak < 1_400_000
    [translated] = set(vertex.bucket.names("batchmeter/rows/")) - before
    assert vertex.bucket.get(translated).count(b"\n") == 300


async def test_translating_gives_way_every_millisecond(chat, monkeypatch):
    """Also within a large chunk, and for long enough that another thread does get its turn."""
    now, naps = 0.0, []

    def perf_counter():
        nonlocal now
        now += 0.0003  # as long as a line may take
        return now

    clock = SimpleNamespace(perf_counter=perf_counter, sleep=lambda seconds: naps.append((now, seconds)))
    monkeypatch.setattr(lines_in, "time", clock)
    writer = rows.RowWriter("big.jsonl", [])
    data = b"".join(lines(chat, 1000, 500))
    assert (await writer.feed(data)).count(b"\n") == 1000
    between = [after - before for (before, _), (after, _) in itertools.pairwise(naps)]
    assert max(between) <= 0.002
    assert len(between) > 100
    assert min(seconds for _, seconds in naps) > 0


async def test_a_fault_on_the_last_line_leaves_nothing(provider, vertex, chat, upload, monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", PIECE)
    data = b"".join([*lines(chat, 200, 5000), b"{}"])
    with pytest.raises(InvalidInputError):
        await provider.create_file(upload(data), OPTIONS)
    assert vertex.bucket.names() == []


async def test_a_source_that_breaks_leaves_nothing_and_is_told(provider, vertex, chat):
    async def chunks():
        for line in lines(chat, 2, 10):
            yield line
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await provider.create_file(FileUpload("a.jsonl", "batch", chunks), OPTIONS)
    assert vertex.bucket.names() == []


@given(st.lists(st.binary(max_size=5 * CHUNK // 2), max_size=4), st.integers(0, 5 * CHUNK))
@settings(max_examples=60, deadline=None)
async def test_a_piece_is_sent_from_where_the_server_stands(parts, offset):
    """Chunks of any size: nothing is joined to more than a chunk and a half."""
    whole = b"".join(parts)
    piece = Piece([memoryview(part) for part in parts], len(whole)).after(min(offset, len(whole)))
    chunks = [chunk async for chunk in piece.chunks()]
    assert b"".join(chunks) == whole[offset:]
    assert piece.size == len(whole[offset:])
    assert all(len(chunk) < 2 * CHUNK for chunk in chunks)
    assert all(len(chunk) >= CHUNK for chunk in chunks[:-1])
