"""An observed client sees what a plain one sees, over any wire; whatever fails here, its call does not."""

import asyncio
import gzip
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from tests.cases import case

import batchmeter
import openai
from batchmeter.config import Settings
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
BATCH = {"id": "batch_1", "object": "batch", "status": "in_progress", "endpoint": "/v1/chat/completions", "x": "é"}
BODY = json.dumps(BATCH, ensure_ascii=False).encode()
PACKED = gzip.compress(BODY)
URL = "http://gateway.test/v1/batches"
Handler = Callable[[Any], Any]


def client_of(library: ModuleType, handler: Handler) -> Any:
    return library.Client(transport=library.MockTransport(handler), headers={"authorization": "Bearer sk-secret"})


def chunked(
    library: ModuleType, chunks: list[bytes], headers: dict[str, str], error: Exception | None = None
) -> Handler:
    """Answers with these raw chunks, and then breaks with the error."""

    class Stream(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[bytes]:
            yield from chunks
            if error is not None:
                raise error

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self:
                yield chunk

    return lambda _: library.Response(200, headers=headers, stream=Stream())


def tracked(meter: batchmeter.Client, batch_id: str = "batch_1") -> Any:
    return meter.engine.call(lambda inner: inner.ledger.get_batch(batch_id))


@LIBRARIES
def test_gzip_is_passed_on_packed_and_read_unpacked(meter: batchmeter.Client, library: ModuleType) -> None:
    handler = chunked(library, [PACKED[:20], PACKED[20:]], {"content-encoding": "gzip"})
    with batchmeter.observe(client_of(library, handler), using=meter) as client:
        with client.stream("POST", URL) as response:
            assert list(response.iter_raw()) == [PACKED[:20], PACKED[20:]]
            assert response.num_bytes_downloaded == len(PACKED)
        assert tracked(meter).batch.model_extra["x"] == "é"
        with client.stream("POST", URL) as response:
            assert response.read() == BODY
        assert client.post(URL).content == BODY


@LIBRARIES
async def test_gzip_async(meter: batchmeter.Client, library: ModuleType) -> None:
    transport = library.MockTransport(chunked(library, [PACKED[:9], PACKED[9:]], {"content-encoding": "gzip"}))
    async with batchmeter.observe(library.AsyncClient(transport=transport), using=meter) as client:
        async with client.stream("POST", URL) as response:
            assert [chunk async for chunk in response.aiter_raw()] == [PACKED[:9], PACKED[9:]]
        assert (await client.post(URL)).json() == BATCH
    assert tracked(meter) is not None


@LIBRARIES
def test_a_body_that_breaks_off_breaks_off_in_the_app(
    meter: batchmeter.Client, log: Recorder, library: ModuleType
) -> None:
    handler = chunked(library, [BODY[:10]], {}, library.ReadError("cut"))
    with batchmeter.observe(client_of(library, handler), using=meter) as client:
        with pytest.raises(library.ReadError, match="cut") as raised:
            client.post(URL)
        assert raised.value.request.url == URL
        with client.stream("POST", URL) as response:
            chunks = response.iter_raw()
            assert next(chunks) == BODY[:10]
            with pytest.raises(library.ReadError):
                next(chunks)
    meter.close()
    assert log.events == []


@LIBRARIES
def test_encoding_that_is_a_lie_is_the_app_s_error(meter: batchmeter.Client, library: ModuleType) -> None:
    handler = chunked(library, [b"not gzip"], {"content-encoding": "gzip"})
    observed = batchmeter.observe(client_of(library, handler), using=meter)
    with observed as client, pytest.raises(library.DecodingError):
        client.post(URL)


NO_BATCH = (
    ("POST", "/v1/batches", 400, BODY),
    ("POST", "/v1/chat/completions", 200, BODY),
    ("POST", "/v1/files", 200, BODY),
    ("GET", "/v1/files/file-1/content", 200, BODY),
    ("DELETE", "/v1/batches/batch_1", 200, BODY),
    ("POST", "/v1/messages/batches", 200, b'{"id": "msgbatch_1", "type": "another"}'),
    ("POST", "/v1/messages/batches", 400, b'{"id": "msgbatch_1", "type": "message_batch"}'),
    ("GET", "/v1/messages/batches/msgbatch_1/results", 200, b'{"type": "message_batch"}'),
    ("POST", "/kitchen/batches", 200, b'{"id": "b-1", "status": "in the oven"}'),
    ("POST", "/kitchen/batches", 200, b'["cookies"]'),
    ("POST", "/kitchen/batches", 200, b"<html>"),
    ("POST", "/kitchen/batches", 204, b""),
    ("GET", "/kitchen/batches", 200, b'{"data": "none"}'),
)


def test_what_is_no_batch_is_left_alone(meter: batchmeter.Client) -> None:
    for method, path, status, body in NO_BATCH:
        handler = lambda _, status=status, body=body: httpx2.Response(status, content=body)  # noqa: E731
        with case(method, path, status, body):
            with batchmeter.observe(client_of(httpx2, handler), using=meter) as client:
                response = client.request(method, f"http://gateway.test{path}")
                assert (response.status_code, response.content) == (status, body)
            assert meter.engine.call(lambda inner: inner.ledger.list_batches()) == []


def test_a_ledger_that_cannot_be_opened_is_said_once_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    broken = batchmeter.Client(settings=Settings(ledger=str(tmp_path / "folder"), load=()), environ={})
    answer = lambda _: httpx2.Response(200, content=BODY)  # noqa: E731
    with caplog.at_level(logging.WARNING), batchmeter.observe(client_of(httpx2, answer), using=broken) as client:
        assert [client.post(URL).content for _ in range(3)] == [BODY] * 3
    said = [record for record in caplog.records if record.name == "batchmeter"]
    assert len(said) == 1
    (tmp_path / "folder").rmdir()
    with batchmeter.observe(client_of(httpx2, answer), using=broken) as client:
        client.post(URL)
    assert tracked(broken) is not None, "mended, it works without a restart"
    assert "the app's call did not" in said[0].message
    assert "sk-secret" not in caplog.text
    broken.close()


def test_settings_that_are_wrong_hurt_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("BATCHMETER_TRACK", "perhaps")
    answer = lambda _: httpx2.Response(200, content=BODY)  # noqa: E731
    with caplog.at_level(logging.WARNING), batchmeter.observe(client_of(httpx2, answer)) as client:
        assert client.post(URL).content == BODY
    assert "ConfigError" in caplog.text


def test_an_unrecorded_create_is_recorded_with_the_next_call(
    meter: batchmeter.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = lambda _: httpx2.Response(200, content=BODY)  # noqa: E731
    meter.engine.call(lambda inner: inner.ready())
    ledger = meter.engine.call(_ledger)
    with batchmeter.observe(client_of(httpx2, answer), using=meter) as client:
        with monkeypatch.context() as away:
            away.setattr(ledger, "record_created", _away)
            client.post(URL)
        assert tracked(meter) is None
        assert "batch batch_1 exists and is not tracked yet" in caplog.text
        client.get(f"{URL}/batch_1")
        client.post(f"{URL}/batch_1/cancel")
        _settled(meter)
    assert tracked(meter).submission.adopted is False


@LIBRARIES
def test_a_slow_ledger_holds_the_app_up_for_a_bounded_time(
    meter: batchmeter.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, library: ModuleType
) -> None:
    monkeypatch.setattr("batchmeter.observing.record.CREATE_SECONDS", 0.05)
    meter.engine.call(lambda inner: inner.ready())
    ledger, free = meter.engine.call(_ledger), threading.Event()
    quick = ledger.record_created

    async def slow(*given: Any, **named: Any) -> Any:
        await asyncio.to_thread(free.wait)
        return await quick(*given, **named)

    monkeypatch.setattr(ledger, "record_created", slow)
    with batchmeter.observe(client_of(library, lambda _: library.Response(200, content=BODY)), using=meter) as client:
        assert client.post(URL).content == BODY
    assert tracked(meter) is None
    assert "goes on behind the app" in caplog.text
    free.set()
    _settled(meter)


async def test_the_app_s_loop_is_free_while_a_batch_is_recorded(
    meter: batchmeter.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(meter.engine.call, lambda inner: inner.ready())
    ledger, free = await asyncio.to_thread(meter.engine.call, _ledger), threading.Event()
    quick = ledger.record_created

    async def slow(*given: Any, **named: Any) -> Any:
        await asyncio.to_thread(free.wait)
        return await quick(*given, **named)

    monkeypatch.setattr(ledger, "record_created", slow)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=BODY))
    async with batchmeter.observe(httpx2.AsyncClient(transport=transport), using=meter) as client:
        asyncio.get_running_loop().call_later(0.05, free.set)  # never called, if the loop were held up
        assert (await client.post(URL)).content == BODY
    assert free.is_set()
    assert (await asyncio.to_thread(tracked, meter)) is not None


async def test_what_went_through_our_proxy_is_metered_there(
    meter: batchmeter.Client, sandbox: Sandbox, requests: bytes, tmp_path: Path
) -> None:
    from batchmeter_proxy import create_app

    account = {"openai": {"api_key": "sk-test", "api_base": sandbox.url}}
    async with batchmeter.AsyncClient(ledger=tmp_path / "proxy.db", accounts=account) as behind:
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(create_app(behind)))
        observed = openai.AsyncOpenAI(api_key="sk-any", base_url="http://proxy.test/v1", http_client=http)
        async with batchmeter.observe(observed, using=meter) as client:
            file = await client.files.create(file=("in.jsonl", requests), purpose="batch")
            await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert len(await behind.ledger.list_batches()) == 1
    assert await asyncio.to_thread(meter.engine.call, _recorded) == []


async def _recorded(inner: batchmeter.AsyncClient) -> Any:
    return await (await inner.ready()).ledger.list_batches()


async def _ledger(inner: batchmeter.AsyncClient) -> Any:
    return inner.ledger


async def _away(*_: object, **__: object) -> None:
    raise batchmeter.BatchmeterError("the ledger is away")


def _settled(meter: batchmeter.Client) -> None:
    """Work posted to the client's loop before has run when this returns."""
    while tracked(meter) is None:
        pass


@pytest.mark.parametrize("thing", [object(), "client", None])
def test_what_cannot_be_observed_says_so(thing: object) -> None:
    with pytest.raises(batchmeter.BatchmeterError, match="cannot observe"):
        batchmeter.observe(thing)
