"""Requests on the wire are those that OpenAI's own SDK puts there."""

import json

import pytest

import openai
from batchmeter import errors
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest, CallOptions, FileUpload, Provider
from batchmeter.testing.wire import HANG_UP, Answer, Script, serving
from batchmeter_openai import OpenAIProvider

PLAIN = CallOptions()
FILE = Answer(body=b'{"id": "file-1", "object": "file", "bytes": 21, "purpose": "batch", "created_at": 1}')
BATCH = Answer(body=b'{"id": "batch_1", "object": "batch", "status": "validating", "created_at": 1}')
LINE = b'{"custom_id": "r-1"}\n'


async def lines():
    yield LINE


def upload(**kwargs):
    return FileUpload("a.jsonl", "batch", lines, len(LINE), **kwargs)


def test_it_is_a_provider(account):
    assert isinstance(account(), Provider)
    assert (OpenAIProvider.name, account().account) == ("openai", "openai")


async def test_it_sends_what_the_official_sdk_sends(account):
    """Both clients do the same things; the requests must agree but for the SDK's own marks."""
    script = Script(
        [
            FILE,
            FILE,
            Answer(body=b'{"data": []}'),
            Answer(body=b"{}"),
            Answer(body=LINE),
            BATCH,
            BATCH,
            BATCH,
            Answer(body=b'{"data": []}'),
        ]
    )
    theirs = Script(script.answers)
    expiry = {"anchor": "created_at", "seconds": 3600}
    async with serving(script) as url:
        ours = account(f"{url}/v1")
        await ours.create_file(upload(expires_after=expiry), PLAIN)
        await ours.retrieve_file("file-1", PLAIN)
        await ours.list_files(purpose="batch", after="file-0", limit=7, order="asc", options=PLAIN)
        await ours.delete_file("file-1", PLAIN)
        async with ours.file_content("file-1", PLAIN) as content:
            assert [chunk async for chunk in content.chunks] == [LINE]
        await ours.create_batch(
            BatchRequest("file-1", "/v1/chat/completions", metadata={"team": "s"}, output_expires_after=expiry), PLAIN
        )
        await ours.retrieve_batch("batch_1", PLAIN)
        await ours.cancel_batch("batch_1", PLAIN)
        await ours.list_batches(after="batch_0", limit=3, options=PLAIN)
    async with serving(theirs) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test-0123456789") as sdk:
        await sdk.files.create(file=("a.jsonl", LINE, "application/jsonl"), purpose="batch", expires_after=expiry)
        await sdk.files.retrieve("file-1")
        await sdk.files.list(purpose="batch", after="file-0", limit=7, order="asc")
        await sdk.files.delete("file-1")
        await sdk.files.content("file-1")
        await sdk.batches.create(
            input_file_id="file-1",
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"team": "s"},
            output_expires_after=expiry,
        )
        await sdk.batches.retrieve("batch_1")
        await sdk.batches.cancel("batch_1")
        await sdk.batches.list(after="batch_0", limit=3)
    assert [essence(request) for request in script.received] == [essence(request) for request in theirs.received]


def essence(request):
    """The part of a request that a server acts on: boundary and key order do not count."""
    kept = {name: request.headers.get(name) for name in ("authorization", "accept")}
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind == "multipart/form-data":
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        parts = request.body.split(b"--" + boundary)
        body = sorted(part.replace(b"Content-Type: application/jsonl", b"") for part in parts)
    else:
        body = json.loads(request.body) if request.body else None
    return request.method, request.path, request.query, kept, body


async def test_account_headers(account):
    script = Script([BATCH])
    async with serving(script) as url:
        provider = account(url, organization="org-1", project="proj_1", headers={"x-gateway": "g"})
        await provider.retrieve_batch("batch_1", CallOptions(extra_headers={"x-call": "c"}))
    headers = script.received[0].headers
    assert headers["openai-organization"] == "org-1"
    assert headers["openai-project"] == "proj_1"
    assert (headers["x-gateway"], headers["x-call"]) == ("g", "c")


async def test_extras_join_query_json_and_form(account):
    script = Script([FILE, BATCH, BATCH])
    async with serving(script) as url:
        provider = account(url)
        extras = CallOptions(extra_query={"q": 1}, extra_body={"deep": {"flag": True}, "none": None})
        await provider.create_file(upload(), extras)
        await provider.create_batch(BatchRequest("file-1", "/v1/embeddings"), extras)
        await provider.cancel_batch("batch_1", CallOptions(extra_body={"reason": "late"}))
    form, create, cancel = script.received
    assert form.query == {"q": "1"}
    assert b'name="deep[flag]"\r\n\r\ntrue\r\n' in form.body
    assert json.loads(create.body)["deep"] == {"flag": True}
    assert json.loads(cancel.body) == {"reason": "late"}


@pytest.mark.parametrize("answer", [HANG_UP, Answer(500, b"{}"), Answer(429, b"{}")])
async def test_a_create_is_never_repeated(answer, account):
    script = Script([answer, BATCH])
    async with serving(script) as url:
        with pytest.raises(errors.ProviderError):
            await account(url).create_batch(BatchRequest("file-1", "/v1/chat/completions"), PLAIN)
    assert len(script.received) == 1


async def test_an_upload_is_repeated_when_it_can_be(account):
    script = Script([HANG_UP, FILE])
    async with serving(script) as url:
        assert (await account(url).create_file(upload(), PLAIN)).id == "file-1"
    assert all(LINE in request.body for request in script.received)


async def test_ids_are_opaque(account):
    script = Script([BATCH])
    async with serving(script) as url:
        await account(f"{url}/v1").retrieve_batch("bG9uZw/+id==?x#y", PLAIN)
    assert script.received[0].target == "/v1/batches/bG9uZw%2F%2Bid%3D%3D%3Fx%23y"


@pytest.mark.parametrize("bad", ["", ".", ".."])
async def test_an_id_that_would_change_the_address_is_refused(bad, account):
    with pytest.raises(errors.UsageError, match="is not an id"):
        await account("http://127.0.0.1:1").delete_file(bad, PLAIN)


async def test_a_range_of_a_file(account):
    script = Script([Answer(206, LINE[3:9], {"content-range": f"bytes 3-8/{len(LINE)}", "content-type": "text/plain"})])
    async with serving(script) as url:
        options = CallOptions(extra_headers={"Range": "bytes=3-8"})
        async with account(url).file_content("file-1", options) as content:
            got = b"".join([chunk async for chunk in content.chunks])
    assert (got, content.status_code, content.size, content.content_type) == (LINE[3:9], 206, 6, "text/plain")
    assert content.headers["content-range"] == f"bytes 3-8/{len(LINE)}"
    assert script.received[0].headers["range"] == "bytes=3-8"


async def test_outputs_are_output_then_errors(account):
    script = Script([Answer(body=b"good\n"), Answer(body=b"bad\n")])
    batch = Batch(id="batch_1", status="completed", output_file_id="file-out", error_file_id="file-err")
    async with serving(script) as url:
        outputs = await account(f"{url}/v1").outputs(batch)
        read = []
        for output in outputs:
            async with output.open() as content:
                read.append(b"".join([chunk async for chunk in content.chunks]))
    assert [(output.id, output.kind) for output in outputs] == [("file-out", "output"), ("file-err", "error")]
    assert read == [b"good\n", b"bad\n"]
    assert [request.path for request in script.received] == [
        "/v1/files/file-out/content",
        "/v1/files/file-err/content",
    ]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_a_batch_without_files_has_no_outputs(nothing, account):
    batch = Batch(id="batch_1", status="failed", output_file_id=nothing, error_file_id=nothing)
    assert await account().outputs(batch) == []


async def test_an_output_that_is_gone_is_not_found(account):
    (output,) = await account().outputs(Batch(id="b", status="completed", output_file_id="file-gone"))
    gone = Answer(404, b'{"error": {"message": "No such File object: file-gone"}}')
    async with serving(Script([gone])) as url:
        (output,) = await account(url).outputs(Batch(id="b", status="completed", output_file_id="file-gone"))
        with pytest.raises(errors.NotFoundError, match="No such File object"):
            async with output.open():
                pass
