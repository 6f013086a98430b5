"""The proxy on the wire: requests that it sends to a provider, and answers that it hands back."""

import gzip

import httpx2
import pytest

from batchmeter.errors import APIConnectionError
from batchmeter.testing.wire import HANG_UP, Answer, Script, serving
from batchmeter_proxy import create_app

FILE = Answer(body=b'{"id": "file-1", "object": "file", "bytes": 1, "filename": "in.jsonl", "purpose": "batch"}')


@pytest.fixture
def over(client):
    """`async with over(*answers) as (http, script)`: the proxy over a provider that gives these answers."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def run(*answers: Answer, retries: int = 1):
        script = Script(answers)
        async with serving(script) as address:
            account = {"provider": "openai", "api_base": address, "api_key": "sk-provider", "max_retries": retries}
            name = f"wired-{len(client.settings.accounts)}"
            client.settings.accounts[name] = account
            transport = httpx2.ASGITransport(create_app(client))
            async with httpx2.AsyncClient(transport=transport, base_url=f"http://proxy/{name}/v1") as http:
                yield http, script

    return run


async def test_a_large_form_goes_on_as_it_is(over, lines):
    content = lines(3000)
    async with over(FILE) as (http, script):
        answer = await http.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", content)})
    assert answer.json()["id"] == "file-1"
    (sent,) = script.received
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert "transfer-encoding" not in sent.headers
    assert sent.body.count(content) == 1
    assert sent.headers["authorization"] == "Bearer sk-provider"


async def test_what_names_the_account_stays_here(over, lines):
    for count in (1, 3000):
        async with over(FILE) as (http, script):
            form = {"purpose": "batch", "custom_llm_provider": "openai", "x_new": "kept"}
            await http.post("/files?provider=openai", data=form, files={"file": ("in.jsonl", lines(count))})
        (sent,) = script.received
        assert b"custom_llm_provider" not in sent.body
        assert b'name="x_new"\r\n\r\nkept' in sent.body
        assert int(sent.headers["content-length"]) == len(sent.body)


async def test_a_small_file_is_sent_again_a_large_one_cannot_be(over, lines):
    busy = Answer(status=503, body=b'{"error": {"message": "busy"}}', headers={"retry-after-ms": "1"})
    async with over(busy, FILE) as (http, script):
        answer = await http.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines(1))})
        assert (answer.status_code, len(script.received)) == (200, 2)
    async with over(busy, FILE) as (http, script):
        answer = await http.post("/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines(3000))})
        assert (answer.status_code, answer.json()["error"]["message"], len(script.received)) == (503, "busy", 1)


async def test_ranges_and_headers_pass(over):
    part = {
        "content-range": "bytes 2-5/10",
        "etag": '"e"',
        "content-type": "application/jsonl",
        "x-request-id": "req_7",
    }
    async with over(Answer(status=206, body=b"cdef", headers=part)) as (http, script):
        answer = await http.get("/files/file-1/content", headers={"range": "bytes=2-5", "if-range": '"e"'})
    assert (answer.status_code, answer.content) == (206, b"cdef")
    assert {name: answer.headers[name] for name in part} == part
    assert answer.headers["content-length"] == "4"
    assert script.received[0].headers["range"] == "bytes=2-5"
    assert script.received[0].headers["if-range"] == '"e"'


async def test_gzip_files_arrive_as_they_are(over):
    """A file that is gzip stays so; one that only travels as gzip is unpacked."""
    packed = gzip.compress(b"line\n" * 1000)
    async with over(Answer(body=packed, headers={"content-type": "application/gzip"})) as (http, _):
        assert (await http.get("/files/file-1/content")).content == packed
    async with over(Answer(body=packed, headers={"content-encoding": "gzip"})) as (http, _):
        answer = await http.get("/files/file-1/content")
        assert answer.content == b"line\n" * 1000
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"line\n", length=1000),
        Answer(body=gzip.compress(b"line\n" * 9)[:-9], headers={"content-encoding": "gzip"}),
    ],
)
async def test_a_download_that_breaks_off_at_once_is_an_error(over, answer):
    async with over(answer) as (http, _):
        got = await http.get("/files/file-1/content")
    assert got.status_code == 502
    assert got.json()["error"]["type"] == "server_error"


async def test_errors_of_a_download_come_before_its_first_byte(over):
    gone = Answer(status=404, body=b'{"error": {"message": "expired"}}', headers={"x-request-id": "req_9"})
    async with over(gone) as (http, _):
        answer = await http.get("/files/file-1/content")
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "req_9")
    assert answer.json() == {"error": {"message": "expired"}}


async def test_a_download_that_breaks_off_does_not_end_well(over):
    async with over(Answer(body=b"half" * 50_000, length=400_000)) as (http, _):
        with pytest.raises(APIConnectionError, match="peer closed"):
            await http.get("/files/file-1/content")


ERRORS = {
    "html": (
        Answer(status=200, body=b"<html>login</html>", headers={"content-type": "text/html"}),
        502,
        "provider_answer",
    ),
    "no answer": (HANG_UP, 502, "provider_unreachable"),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_what_is_no_answer_is_told_as_such(over, name):
    answer, status, code = ERRORS[name]
    async with over(answer, retries=0) as (http, _):
        told = await http.get("/files/file-1")
    assert (told.status_code, told.json()["error"]["code"]) == (status, code)


async def test_an_error_body_of_any_kind_passes(over):
    odd = Answer(
        status=418, body=b"<teapot>", headers={"content-type": "text/html", "x-secret": "no", "retry-after": "5"}
    )
    async with over(odd) as (http, _):
        told = await http.get("/batches/batch_1")
    assert (told.status_code, told.content, told.headers["content-type"]) == (418, b"<teapot>", "text/html")
    assert told.headers["retry-after"] == "5"
    assert "x-secret" not in told.headers


async def test_a_create_without_an_answer_is_not_tried_again(over):
    """A second try could make a second batch: the SDKs are told to leave it."""
    nothing = Answer(body=b'{"object": "list", "data": []}')
    async with over(HANG_UP, nothing) as (http, _):
        told = await http.post("/batches", json={"input_file_id": "file-1", "endpoint": "/v1/responses"})
    assert (told.status_code, told.json()["error"]["code"]) == (502, "create_unknown")
    assert told.headers["x-should-retry"] == "false"


async def test_an_account_without_a_key_says_so(client):
    client.settings.accounts["keyless"] = {"provider": "openai", "api_base": "http://127.0.0.1:9"}
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy/keyless/v1") as http:
        told = await http.get("/batches")
    assert (told.status_code, told.json()["error"]["code"]) == (500, "misconfigured")
    assert "has no API key" in told.json()["error"]["message"]
    assert told.headers["x-should-retry"] == "false"
