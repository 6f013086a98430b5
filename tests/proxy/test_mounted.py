"""The proxy inside another ASGI app, which owns the client; and alone, under a server that tells start and end."""

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import openai
from batchmeter import AsyncClient
from batchmeter_proxy import create_app


async def hello(request):
    return PlainTextResponse("hello")


async def test_mounted_it_is_below_its_path(client, lines):
    app = Starlette(routes=[Route("/", hello), Mount("/llm", create_app(client))])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app") as http:
        assert (await http.get("/")).text == "hello"
        assert (await http.get("/llm/health/readiness")).json() == {"status": "ready"}
        assert "a/b" in (await http.get("/llm/v1/batches/a%2Fb")).json()["error"]["message"]
        sdk = openai.AsyncOpenAI(base_url="http://app/llm/v1", api_key="k", http_client=http)
        file = await sdk.files.create(file=("in.jsonl", lines(2)), purpose="batch")
        assert (await sdk.files.content(file.id)).content == lines(2)
        other = openai.AsyncOpenAI(base_url="http://app/llm/other/v1", api_key="k", http_client=http)
        assert [one.id async for one in other.files.list()] == [file.id]
    assert client.is_open


async def lifespan(app) -> tuple[list[dict], asyncio.Task, asyncio.Queue]:
    told, said = asyncio.Queue(), []
    started = asyncio.Event()

    async def send(message):
        said.append(message)
        started.set()

    running = asyncio.create_task(app({"type": "lifespan"}, told.get, send))
    await told.put({"type": "lifespan.startup"})
    await started.wait()
    return said, running, told


async def test_served_alone_it_opens_and_closes_its_client(tmp_path):
    client = AsyncClient(ledger=tmp_path / "alone.db", track=True)
    said, running, told = await lifespan(create_app(client))
    assert client.is_open
    await told.put({"type": "lifespan.shutdown"})
    await running
    assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not client.is_open


async def test_a_client_that_was_open_stays_so(client):
    _, running, told = await lifespan(create_app(client))
    await told.put({"type": "lifespan.shutdown"})
    await running
    assert client.is_open


async def test_it_does_not_start_without_its_ledger(tmp_path):
    (tmp_path / "no.db").write_text("this is no database, it is a text that is long enough to be one" * 10)
    said, running, _ = await lifespan(create_app(AsyncClient(ledger=tmp_path / "no.db")))
    await running
    assert said[0]["type"] == "lifespan.startup.failed"
    assert "no.db" in said[0]["message"]


@pytest.mark.parametrize("kind", ["websocket"])
async def test_what_is_not_http_is_closed(client, kind):
    said = []

    async def send(message):
        said.append(message["type"])

    await create_app(client)({"type": kind, "path": "/v1/files"}, None, send)
    assert said == ["websocket.close"]
