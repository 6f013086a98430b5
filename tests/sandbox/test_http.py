"""The server on the wire, below what an SDK would send."""

import asyncio
import json

import pytest


@pytest.fixture
async def talk(sandbox):
    """Sends raw bytes on one connection and reads what comes back until the server is silent or gone."""
    opened: list[asyncio.StreamWriter] = []

    async def exchange(*pieces: bytes, answers: int = 1) -> bytes:
        host, port = sandbox.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        opened.append(writer)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        received = b""
        while received.count(b"HTTP/1.1 ") < answers or not _whole(received):
            chunk = await asyncio.wait_for(reader.read(65_536), 5)
            if not chunk:
                break
            received += chunk
        return received

    yield exchange
    for writer in opened:
        writer.close()


def _whole(received: bytes) -> bool:
    """Whether the last answer's body has come in."""
    head, _, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b":0")
    return len(body) >= int(length.split(b":")[1])


HEAD = b"Host: x\r\nAuthorization: Bearer k\r\n"


async def test_requests_can_be_pipelined(talk):
    get = b"GET /v1/batches HTTP/1.1\r\n" + HEAD + b"\r\n"
    assert (await talk(get * 3, answers=3)).count(b'"object":"list"') == 3


async def test_an_answer_ends_a_connection_that_wants_to_end(talk):
    received = await talk(b"GET /v1/batches HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n", answers=2)
    assert received.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in received.lower()


async def test_a_client_that_expects_100_is_told_to_go_on(sandbox):
    host, port = sandbox.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"model":"gpt-4o","input":"x"}'
    head = b"POST /v1/responses HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\n" + HEAD
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body))
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 100")
    writer.write(body)
    assert b'"object":"response"' in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_client_that_expects_100_may_be_refused_at_once(talk):
    head = b"POST /v1/nothing HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n" + HEAD
    assert (await talk(head + b"\r\n")).startswith(b"HTTP/1.1 404")


async def test_chunked_bodies(talk):
    body = b'{"model":"gpt-4o","input":"x"}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    received = await talk(b"POST /v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n" + chunks)
    assert b'"object":"response"' in received


async def test_a_refused_body_does_not_disturb_the_next_request(talk):
    body = b"x" * 100_000
    post = b"POST /v1/nothing HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    received = await talk(post + b"GET /v1/batches HTTP/1.1\r\n" + HEAD + b"\r\n", answers=2)
    assert received.startswith(b"HTTP/1.1 404")
    assert b"HTTP/1.1 200" in received


async def test_nonsense_is_a_bad_request(talk):
    received = await talk(b"EHLO sandbox\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400")
    assert b'"error"' in received


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("PUT", "/files", 405),
        ("PATCH", "/batches/x", 405),
        ("POST", "/chat/completions", 400),
    ],
)
async def test_wrong_routes_answer_in_the_envelope(http, method, path, status):
    response = await http.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"].startswith("req_")


async def test_head_has_no_body(talk):
    received = await talk(b"HEAD /v1/nothing HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n", answers=2)
    assert received.startswith(b"HTTP/1.1 404")
    assert received.endswith(b"\r\n\r\n")


async def test_a_client_that_leaves_during_an_upload_leaves_nothing_behind(sandbox, http, caplog):
    host, port = sandbox.url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /v1/files HTTP/1.1\r\nContent-Length: 100000\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    writer.write(head + HEAD + b"\r\n" + (FILE % b"x" * 1000))
    await writer.drain()
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert (await http.get("/files")).json()["data"] == []
    folder = sandbox.engine.batches.records.folder.path
    assert [path.name for path in folder.iterdir()] == ["journal.jsonl"]
    assert not caplog.records


async def test_no_key_is_refused(http):
    response = await http.get("/batches", headers={"authorization": ""})
    assert response.status_code == 401
    assert "API key" in response.json()["error"]["message"]


async def test_a_body_that_is_no_json_is_refused(http):
    for body in (b"{", b"[]", b"\xff"):
        response = await http.post("/batches", content=body)
        assert response.status_code == 400


FORM = b"--B\r\nContent-Disposition: form-data; name=%b\r\n\r\n%b\r\n"
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n%b\r\n'


@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_a_form_in_any_order_and_any_pieces(http, step):
    content = b"line one\r\n--B-\r\nline two" * 3
    body = FILE % content + FORM % (b"purpose", b"user_data")
    body += (
        FORM % (b'"expires_after.anchor"', b"created_at") + FORM % (b'"expires_after.seconds"', b"3600") + b"--B--\r\n"
    )

    async def pieces():
        for start in range(0, len(body), step):
            yield body[start : start + step]

    response = await http.post("/files", content=pieces(), headers={"content-type": "multipart/form-data; boundary=B"})
    made = response.json()
    assert (made["filename"], made["bytes"]) == ("in.jsonl", len(content))
    assert made["expires_at"] - made["created_at"] == 3600
    assert (await http.get(f"/files/{made['id']}/content")).content == content


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (FORM % (b"purpose", b"batch") + b"--B--\r\n", "multipart/form-data; boundary=B"),
        (FILE % b"x" + b"--B--\r\n", "multipart/form-data; boundary=B"),
        (FILE % b"x", "multipart/form-data; boundary=B"),
        (b"nonsense", "multipart/form-data; boundary=B"),
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
    ],
)
async def test_a_bad_form_leaves_nothing_behind(http, sandbox, body, content_type):
    response = await http.post("/files", content=body, headers={"content-type": content_type})
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert (await http.get("/files")).json()["data"] == []


async def test_totals_over_http(http, clock):
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o", "messages": []},
    }
    file = await http.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", json.dumps(line).encode())})
    asked = {"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = (await http.post("/batches", json=asked)).json()
    clock.advance(2000)
    totals = (await http.get(str(http.base_url).replace("/v1/", f"/sandbox/totals/{batch['id']}"))).json()
    assert (totals["succeeded"], list(totals["models"])) == (1, ["gpt-4o-2024-08-06"])
    assert totals["usage"]["output_tokens"] > 0


async def test_a_large_upload_streams(http, sandbox):
    async def chunks():
        for _ in range(400):
            yield b"x" * 65_536

    content = FILE.partition(b"%b")
    form = FORM % (b"purpose", b"user_data")

    async def body():
        yield form + content[0]
        async for chunk in chunks():
            yield chunk
        yield content[2] + b"--B--\r\n"

    response = await http.post("/files", content=body(), headers={"content-type": "multipart/form-data; boundary=B"})
    assert response.json()["bytes"] == 400 * 65_536
