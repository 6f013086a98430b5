"""Recorded traffic through the proxy: the official SDK makes the same of it as without the proxy in between."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter_proxy import create_app

from .conftest import OPENAI, Answer, Exchange, Replay

AZURE = (
    "azure-01-chat-completed",
    "azure-03-cancel",
    "azure-05-upload-expires-delete",
    "azure-06-delete-false",
    "azure-07-files-list",
    "azure-09-404-deployment",
    "azure-10-401",
    "azure-12-output-lines",
)
ASKED = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
"""Of a create that was recorded without its body."""
HEADS = ("x-request-id", "apim-request-id", "deployment-enqueued-tokens", "deployment-maximum-enqueued-tokens")
PROCESSED = {"status": "processed"}
VERSION = "2025-01-01-preview"
Call = Callable[[Any], Any]


@asynccontextmanager
async def proxied(playing: Replay, folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a proxy over accounts `openai` and `azure` at the replay; every look asks the provider."""
    settings = Settings(
        ledger=str(folder / "proxy.db"),
        track=False,
        load=(),
        proxy={"freshness": 0, "check_inputs": False},
        accounts={
            "openai": {"api_key": "sk-test", "api_base": f"{playing.url}/v1", "max_retries": 0},
            "azure": {
                "api_key": "key",
                "endpoint": playing.url,
                "api_version": VERSION,
                "max_retries": 0,
                "file_wait": 0,
            },
        },
    )
    async with AsyncClient(settings=settings, environ={}) as client:
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            yield http


def call_of(exchange: Exchange) -> Call:
    """The same request as a call of the official SDK."""
    kind, _, rest = exchange.path.rpartition("/openai/")[2].removeprefix("/v1/").partition("/")
    name, _, action = rest.partition("/")
    if exchange.method == "GET" and not rest:
        after = {"after": exchange.page} if exchange.page else {}
        return lambda sdk: getattr(sdk, kind).with_raw_response.list(**after)
    if exchange.method == "GET":
        method = "content" if action else "retrieve"
        return lambda sdk: getattr(getattr(sdk, kind).with_raw_response, method)(name)
    if exchange.method == "DELETE":
        return lambda sdk: getattr(sdk, kind).with_raw_response.delete(name)
    if action == "cancel":
        return lambda sdk: sdk.batches.with_raw_response.cancel(name)
    if kind == "files":
        return lambda sdk: sdk.files.with_raw_response.create(file=("in.jsonl", b"{}\n"), purpose="batch")
    return lambda sdk: sdk.batches.with_raw_response.create(**(json.loads(exchange.sent) or ASKED))


async def told(call: Call, sdk: Any) -> tuple[Any, ...]:
    """Status, vendor's headers and outcome, as the SDK shows them."""
    try:
        raw = await call(sdk)
    except openai.APIStatusError as error:
        return error.status_code, heads(error.response.headers), type(error).__name__, error.body
    answer = raw.parse()
    shown = answer.to_dict(mode="json") if hasattr(answer, "to_dict") else answer.content
    return raw.status_code, heads(raw.headers), type(answer).__name__, without_nulls(shown)


def heads(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in HEADS if name in headers}


def without_nulls(shown: Any) -> Any:
    """A member that the vendor left out may come as null, and an empty id is none."""
    if isinstance(shown, dict):
        return {name: without_nulls(value) for name, value in shown.items() if value not in (None, "")}
    return [without_nulls(one) for one in shown] if isinstance(shown, list) else shown


@pytest.mark.parametrize("story", OPENAI)
async def test_the_official_sdk_makes_the_same_of_openai_s_answers(replay, tmp_path, story):
    playing, plain = replay(story), replay(story)
    direct = openai.AsyncOpenAI(base_url=f"{plain.url}/v1", api_key="sk-test", max_retries=0)
    async with proxied(playing, tmp_path) as http, direct:
        through = openai.AsyncOpenAI(base_url="http://proxy/v1", api_key="any", http_client=http, max_retries=0)
        for exchange in plain.exchanges:
            call = call_of(exchange)
            expected = await told(call, direct)
            found = await told(call, through)
            assert like(found, expected) == expected, f"{exchange.method} {exchange.path}"
    assert (playing.strangers, plain.strangers) == ([], [])


@pytest.mark.parametrize("story", AZURE)
async def test_the_official_azure_sdk_makes_the_same_of_azure_s_answers(replay, tmp_path, story):
    playing, plain = replay(story), replay(story)
    playing.exchanges += processed(playing.exchanges)
    options: dict[str, Any] = {"api_key": "key", "api_version": VERSION, "max_retries": 0}
    direct = openai.AsyncAzureOpenAI(azure_endpoint=plain.url, **options)
    async with proxied(playing, tmp_path) as http, direct:
        through = openai.AsyncAzureOpenAI(azure_endpoint="http://proxy/azure", http_client=http, **options)
        for exchange in plain.exchanges:
            call = call_of(exchange)
            expected = await told(call, direct)
            found = await told(call, through)
            assert like(found, expected) == expected, f"{exchange.method} {exchange.path}"


def processed(exchanges: list[Exchange]) -> list[Exchange]:
    """The proxy looks whether an uploaded file can be used yet, which the recorded client did not do."""
    uploads = [one.answer.json for one in exchanges if (one.method, one.path) == ("POST", "/openai/files")]
    return [
        Exchange("GET", f"/openai/files/{file['id']}", "", b"", Answer(200, (), json.dumps(file | PROCESSED).encode()))
        for file in [*uploads, {"id": ASKED["input_file_id"], "object": "file"}]
    ]


def like(found: Any, expected: Any) -> Any:
    """The object found, without members that the vendor did not send and a client does not look at."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return {name: like(value, expected[name]) for name, value in found.items() if name in expected}
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple) and len(found) == len(expected):
        return type(expected)(like(*both) for both in zip(found, expected, strict=True))
    return found
