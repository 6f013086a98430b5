"""read_upload and estimate_batch: a plugin reads an upload as it passes, may refuse it, and prices what it left."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

import batchmeter
from batchmeter.config import Settings
from batchmeter.errors import InvalidInputError, Problem
from batchmeter.inputs.estimate import Estimate
from batchmeter.testing.requests import lines_of
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_proxy import create_app

CHAT = "/v1/chat/completions"
CONTENT = lines_of(3, "gpt-5-mini")


class Reader:
    """Counts bytes; refuses, or fails, at `at`."""

    def __init__(self, at: str = "", error: Exception | None = None) -> None:
        self.at, self.error, self.size = at, error, 0

    def _reach(self, at: str) -> None:
        if self.at == at and self.error is not None:
            raise self.error

    def feed(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._reach("feed")

    def close(self) -> str:
        self._reach("close")
        return f"{self.size} bytes"


class Counter:
    """A stranger's plugin: it stands in for the estimates that come with batchmeter."""

    def __init__(self, at: str = "", error: Exception | None = None) -> None:
        self.at, self.error = at, error
        self.uploads: list[Any] = []
        self.estimates: list[Any] = []

    @batchmeter.hookimpl
    def read_upload(self, upload: Any) -> Reader:
        self.uploads.append(upload)
        return Reader(self.at, self.error)

    @batchmeter.hookimpl
    async def estimate_batch(self, query: Any) -> Estimate | None:
        return Estimate(requests=int(query.document.split()[0]), expected=Decimal(7)) if self.at == "" else None

    @batchmeter.hookimpl
    async def before_submit(self, submission: Any, estimate: Any) -> None:
        self.estimates.append(estimate)


def opened(sandbox: Any, tmp_path: Any, plugin: Any) -> batchmeter.AsyncClient:
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts={"openai": account}, track=False, load=())
    return batchmeter.AsyncClient(settings=settings, plugins=[plugin])


async def test_a_plugin_s_text_is_kept_and_priced_by_it(tmp_path):
    plugin = Counter()
    async with serve_sandbox() as sandbox, opened(sandbox, tmp_path, plugin) as client:
        file = await client.files.create(file=("in.jsonl", CONTENT))
        await client.batches.create(input_file_id=file.id, endpoint=CHAT)
        assert await client.ledger.file_estimate("openai", file.id) == f"{len(CONTENT)} bytes"
    (upload,) = plugin.uploads
    assert (upload.account, upload.purpose, upload.filename, upload.guarded) == ("openai", "batch", "in.jsonl", True)
    assert [(one.requests, one.expected) for one in plugin.estimates] == [(len(CONTENT), Decimal(7))]


@pytest.mark.parametrize("at", ["feed", "close"])
async def test_a_refusal_leaves_no_file_anywhere(tmp_path, at):
    """By the SDK, and through the proxy."""
    plugin = Counter(at, InvalidInputError("in.jsonl", [Problem("bad_words", "a word that is not sent", 2)]))
    async with serve_sandbox() as sandbox, opened(sandbox, tmp_path, plugin) as client:
        with pytest.raises(InvalidInputError, match="line 2: a word that is not sent"):
            await client.files.create(file=("in.jsonl", CONTENT))
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            answer = await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", CONTENT)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_words")
        assert [file async for file in client.files.iterate()] == []


@pytest.mark.parametrize("at", ["feed", "close"])
async def test_a_reader_that_fails_leaves_the_upload_alone(tmp_path, caplog, at):
    """And the estimates that come with batchmeter are still made."""
    plugin = Counter(at, RuntimeError("out of ideas"))
    async with serve_sandbox() as sandbox, opened(sandbox, tmp_path, plugin) as client:
        file = await client.files.create(file=("in.jsonl", CONTENT))
        await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    assert [one.requests for one in plugin.estimates] == [3]
    assert "its reader of an upload failed" in caplog.text


async def test_without_the_plugin_nothing_is_estimated(tmp_path):
    async with serve_sandbox() as sandbox:
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k"}
        settings = Settings(
            ledger=str(tmp_path / "l.db"), accounts={"openai": account}, track=False, disable=("estimates",)
        )
        plugin = Counter("feed", RuntimeError("out of ideas"))
        async with batchmeter.AsyncClient(settings=settings, plugins=[plugin]) as client:
            file = await client.files.create(file=("in.jsonl", CONTENT))
            await client.batches.create(input_file_id=file.id, endpoint=CHAT)
    assert plugin.estimates == [None]
