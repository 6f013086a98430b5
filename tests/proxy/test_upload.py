"""Uploads go through while they are checked; whatever is wrong, nothing of it stays at the provider."""

import asyncio
from contextlib import suppress

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import case

from batchmeter.errors import APIConnectionError
from batchmeter.inputs import OPENAI
from batchmeter.models import FileObject
from batchmeter_proxy import create_app
from batchmeter_proxy.errors import Refusal
from batchmeter_proxy.multipart import FormReader
from batchmeter_sandbox.provider import SandboxProvider

BIG = 2200
"""Lines of a file that is on its way before it has all arrived: 330 KB."""


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename else ""
    return b"--xyz\r\n" + f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


async def send(http, body: bytes, *, chunk: int = 64 * 1024, length: bool = True, path: str = "/v1/files", **headers):
    """As a browser would; in chunks of this size, with or without a content-length."""

    async def chunks():
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    given = {"content-type": "multipart/form-data; boundary=xyz", **headers}
    if length:
        given["content-length"] = str(len(body))
    return await http.post(path, content=chunks(), headers=given)


@pytest.fixture
def kept(sandbox, client):
    """The files that the provider has."""

    async def run() -> list[FileObject]:
        return [file async for file in client.files.iterate()]

    return run


@pytest.fixture(params=["http", "in-process"])
def provider(request, client, sandbox):
    """One that takes the caller's own form, and one that takes the file's bytes."""
    if request.param == "http":  # a compatible server is not known to want one model a file
        client.accounts.get("openai").input_limits = OPENAI
    if request.param == "in-process":
        factory = SandboxProvider.Settings
        client.accounts.add(SandboxProvider("openai", factory(), engine=sandbox.engine))
    return request.param


async def test_bytes_arrive_as_they_were_sent(http, kept, client, lines, provider):
    for count in (1, BIG):
        content = lines(count)
        for length in (True, False):
            for purpose_first in (True, False):
                with case("lines", count, "content-length", length, "purpose first", purpose_first):
                    parts = [part("purpose", b"batch"), part("file", content, "in.jsonl")]
                    answer = await send(http, form(*(parts if purpose_first else parts[::-1])), length=length)
                    assert answer.status_code == 200, answer.text
                    (file,) = await kept()
                    assert (file.id, file.filename, file.purpose) == (answer.json()["id"], "in.jsonl", "batch")
                    assert (await client.files.content(file.id)).content == content
                    owner = await client.ledger.owner_of(file.id)
                    assert (owner.account, owner.lines) == ("openai", count)
                    await client.files.delete(file.id)


BAD = {
    "first line": lambda lines: b"oops\n" + lines(BIG),
    "last line": lambda lines: lines(BIG) + lines(1),
    "last line, unended": lambda lines: lines(BIG) + lines(1).rstrip(),
    "middle": lambda lines: lines(BIG) + b'{"custom_id": 1}\n' + lines(BIG).replace(b"r-", b"s-"),
    "not UTF-8": lambda lines: lines(BIG) + b'{"custom_id": "\xff"}\n',
    "two models": lambda lines: lines(BIG) + lines(2, model="gpt-5").replace(b"r-", b"s-"),
    "small": lambda lines: b"{}\n",
    "empty": lambda lines: b"",
}


async def test_a_bad_file_leaves_nothing(http, kept, lines, provider):
    for bad, content in BAD.items():
        for purpose_first in (True, False):
            with case(bad, "purpose first", purpose_first):
                parts = [part("purpose", b"batch"), part("file", content(lines), "in.jsonl")]
                answer = await send(http, form(*(parts if purpose_first else parts[::-1])))
                error = answer.json()["error"]
                assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
                assert error["problems"][0]["message"] in error["message"]
                assert error["problems"][0]["code"] == error["code"]
                assert await kept() == []


async def test_all_first_problems_are_told_by_line(http, lines):
    broken = lines(BIG).splitlines()
    broken[2] = b"{"
    broken[1500] = b"[]"
    broken[2199] = broken[0]
    answer = await send(http, form(part("purpose", b"batch"), part("file", b"\n".join(broken), "in.jsonl")))
    error = answer.json()["error"]
    assert [problem["line"] for problem in error["problems"]] == [3, 1501, 2200]
    assert "line 1501" in error["message"]


async def test_a_bad_form_leaves_nothing(http, kept):
    for parts, code, param in [
        ([part("purpose", b"batch")], "missing_required_parameter", "file"),
        ([part("file", b"x", "a")], "missing_required_parameter", "purpose"),
        ([part("file", b"x" * 600_000, "a")], "missing_required_parameter", "purpose"),
        ([part("purpose", b"p" * 100_000), part("file", b"x", "a")], None, "purpose"),
        ([part(f"f{n}", b"x") for n in range(40)], "invalid_multipart", None),
        ([part("file", b"x", "a"), part("file", b"x", "b")], "invalid_multipart", "file"),
        (
            [part("file", b"x" * 600_000, "a"), part("provider", b"other"), part("purpose", b"vision")],
            "field_after_file",
            "provider",
        ),
        ([b"--xyz\r\n" + b"h" * 20_000 + b": x\r\n\r\n"], "invalid_multipart", None),
        ([b"no boundary at all"], "invalid_multipart", None),
    ]:
        with case(code, param):
            answer = await send(http, form(*parts))
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
            assert await kept() == []


async def test_a_body_that_ends_early_leaves_nothing(http, kept, lines, provider):
    whole = form(part("purpose", b"batch"), part("file", lines(BIG), "in.jsonl"))
    for cut in (10, 2000, len(whole) - 8):
        answer = await send(http, whole[:cut])
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_multipart")
    assert await kept() == []


async def test_a_late_purpose_other_than_batch(http, kept, client, provider):
    """A provider that takes the form learns of it in time; another one has to know before."""
    content = (b"plain text " * 60 + b"\n") * 1000
    answer = await send(http, form(part("file", content, "notes.txt"), part("purpose", b"user_data")))
    if provider == "http":
        assert (answer.status_code, [file.purpose for file in await kept()]) == (200, ["user_data"])
    else:
        assert (answer.json()["error"]["code"], await kept()) == ("field_after_file", [])


async def test_fields_reach_the_provider(http, kept, lines):
    for content in (lines(1), lines(BIG)):
        fields = [part("purpose", b"batch"), part("expires_after.seconds", b"7200"), part("provider", b"other")]
        fields.append(part("expires_after.anchor", b"created_at"))
        answer = await send(http, form(*fields, part("file", content, 'naïve "name".jsonl')))
        file = answer.json()
        assert file["expires_at"] == file["created_at"] + 7200


async def test_the_providers_refusal_comes_through(http, sandbox, lines, kept):
    for content in (lines(1), lines(BIG)):
        sandbox.engine.faults.add("rate_limit*1 POST /v1/files retry_after=9")
        answer = await send(http, form(part("purpose", b"batch"), part("file", content, "in.jsonl")))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")
    assert await kept() == []


async def test_who_leaves_leaves_nothing(app, kept, lines, provider):
    whole = form(part("purpose", b"batch"), part("file", lines(BIG), "in.jsonl"))
    headers = [(b"content-type", b"multipart/form-data; boundary=xyz"), (b"content-length", b"%d" % len(whole))]
    scope = {"type": "http", "method": "POST", "path": "/v1/files", "query_string": b"", "headers": headers}
    messages, answered = [], []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def answer(message):
        answered.append(message)

    for sent in (20, 3000, 300_000):
        with case(sent):
            messages.append({"type": "http.request", "body": whole[:sent], "more_body": True})
            await app(dict(scope), receive, answer)
            assert (answered, await kept()) == ([], [])


def app_with(client, **options):
    settings = client.settings.model_copy(update={"proxy": options})
    client.settings = settings
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(client)), base_url="http://proxy")


async def test_too_much_is_refused(client, kept, lines):
    async with app_with(client, max_upload_bytes=300_000) as http:
        for length in (True, False):
            answer = await send(
                http, form(part("purpose", b"batch"), part("file", lines(BIG), "in.jsonl")), length=length
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    assert await kept() == []


async def test_too_slow_is_refused(client, kept, lines):
    whole = form(part("purpose", b"batch"), part("file", lines(BIG), "in.jsonl"))

    async def dribble():
        yield whole[:300_000]
        await asyncio.Event().wait()

    async with app_with(client, upload_idle_seconds=0.05) as http:
        headers = {"content-type": "multipart/form-data; boundary=xyz"}
        answer = await http.post("/v1/files", content=dribble(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")
    assert await kept() == []


async def test_checking_can_be_left_to_the_provider(client, kept):
    async with app_with(client, check_inputs=False) as http:
        answer = await send(http, form(part("purpose", b"batch"), part("file", b"oops", "in.jsonl")))
    assert (answer.status_code, len(await kept())) == (200, 1)


async def test_a_file_that_cannot_be_recorded_is_taken_back(http, client, kept, lines):
    """An upload whose answer is an error leaves nothing."""
    await client.ledger.aclose()
    answer = await send(http, form(part("purpose", b"batch"), part("file", lines(1), "in.jsonl")))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_unavailable")
    await client.ledger.open()
    assert await kept() == []


async def test_an_early_answer_is_not_believed(client, http, lines):
    """A provider that answers before it has the whole body may have kept half a file, or a bad one."""

    class Hasty(SandboxProvider):
        async def create_file(self, upload, options):
            async for _ in upload.open():
                return FileObject(id="file-hasty")
            raise APIConnectionError("nothing came")

        async def delete_file(self, file_id, options):
            deleted.append(file_id)

    deleted = []
    client.accounts.add(Hasty("openai", SandboxProvider.Settings()))
    bad = form(part("purpose", b"batch"), part("file", lines(BIG) + b"oops", "in.jsonl"))
    assert (await send(http, bad)).json()["error"]["code"] == "invalid_json_line"
    assert deleted == ["file-hasty"]


FIELDS = st.dictionaries(st.text("abcdefgh[]._", min_size=1, max_size=12).filter(lambda name: name != "file"), st.binary(max_size=60), max_size=4)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    before=FIELDS,
    after=FIELDS,
    content=st.one_of(st.binary(max_size=300), st.text("\r\n-xyz", max_size=80).map(str.encode)),
    cuts=st.lists(st.integers(1, 40), max_size=60),
)
def test_how_a_form_is_cut_does_not_matter(before, after, content, cuts):
    if any(b"\r\n--xyz" in b"\r\n" + value for value in (content, *before.values(), *after.values())):
        return  # no client sends its own boundary
    after = {name: value for name, value in after.items() if name not in before}  # twice is refused
    fields = [part(name, value) for name, value in before.items()]
    start = len(b"".join(fields)) + len(part("file", b"", "f")) - 2
    body = form(*fields, part("file", content, "f"), *[part(name, value) for name, value in after.items()])
    reader, pieces, at, checked = FormReader("multipart/form-data; boundary=xyz"), [], 0, False
    for cut in [*cuts, len(body)]:
        pieces += reader.feed(body[at : at + cut])
        at = min(at + cut, len(body))
        if reader.filename is not None and not checked:
            assert reader.file_start(body[:at]) == start
            checked = True
    assert (reader.ended, reader.filename, b"".join(pieces)) == (True, "f", content)
    expected = {name: value.decode("utf-8", "replace") for name, value in (before | after).items()}
    assert reader.fields == expected


@settings(max_examples=150, deadline=None)
@given(body=st.one_of(st.binary(max_size=200), st.text('\r\n-xyz:;="file name', max_size=200).map(str.encode)))
def test_no_bytes_break_the_reader(body):
    whole, reader = b"--xyz\r\n" + body, FormReader("multipart/form-data; boundary=xyz")
    with suppress(Refusal):
        got = b"".join(piece for byte in whole for piece in reader.feed(bytes([byte])))
        assert got in whole


async def test_numbers_and_depths_beyond_reason_are_refused(client, kept, lines):
    client.settings = client.settings.model_copy(update={"models": {"gpt-4o-mini": "openai"}})
    expiry = (part("expires_after[anchor]", b"created_at"), part("expires_after[seconds]", b"9" * 5000))
    deep = b"[" * 100_000
    async with app_with(client) as http:
        for content, more in ((lines(1), expiry), (deep, ()), (deep + b"]" * 100_000, ())):
            answer = await send(http, form(part("purpose", b"batch"), *more, part("file", content, "in.jsonl")))
            assert answer.status_code == 400
    assert await kept() == []
