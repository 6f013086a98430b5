"""A served sandbox whose clock stands still, and the official OpenAI SDK as its client."""

import json
from collections.abc import Callable

import httpx
import pytest

import openai
from batchmeter.testing.sandbox import manual_clock, serve_sandbox

CHAT = "/v1/chat/completions"


def request(number: int, url: str = CHAT, **body) -> dict:
    given = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"hello {number}"}]} | body
    return {"custom_id": f"r-{number}", "method": "POST", "url": url, "body": given}


def jsonl(requests: list[dict]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in requests)


@pytest.fixture
def clock():
    return manual_clock()


@pytest.fixture
async def sandbox(clock):
    """At speed 1: validated after 60 s, run after 1260 s, completed after 1350 s."""
    async with serve_sandbox(speed=1, clock=clock) as served:
        yield served


@pytest.fixture
async def client(sandbox):
    quick = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(base_url=sandbox.url, api_key="any", max_retries=0, http_client=quick) as opened:
        yield opened


@pytest.fixture
async def http(sandbox):
    async with httpx.AsyncClient(base_url=sandbox.url, headers={"authorization": "Bearer k"}, verify=False) as client:
        yield client


@pytest.fixture
def submit(client) -> Callable:
    """Uploads requests (10 unless told) and creates a batch of them."""

    async def run(requests: list[dict] | bytes | None = None, script: str = "", **more):
        if requests is None:
            requests = [request(number) for number in range(10)]
        content = requests if isinstance(requests, bytes) else jsonl(requests)
        file = await client.files.create(file=("in.jsonl", content), purpose="batch")
        metadata = {"sandbox": script} if script else None
        asked = {"endpoint": CHAT, "completion_window": "24h", "metadata": metadata} | more
        return await client.batches.create(input_file_id=file.id, **asked)

    return run


@pytest.fixture
def lines(client) -> Callable:
    """The lines of a result file, decoded."""

    async def read(file_id: str | None) -> list[dict]:
        if file_id is None:
            return []
        content = await client.files.content(file_id)
        return [json.loads(line) for line in content.content.split(b"\n") if line]

    return read
