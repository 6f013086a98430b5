"""Arguments of calls: a wrong one is one clear error before anything is sent, and nothing is left in the ledger."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from starlette.datastructures import UploadFile
from tests.cases import case

import batchmeter
from batchmeter import AsyncClient
from batchmeter.calls.uploads import upload_of
from batchmeter.errors import BatchmeterError, IdempotencyMismatchError, UsageError
from batchmeter.models import Attribution
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox
from batchmeter.testing.wire import Answer, Script, serving

from .conftest import write_requests

CHAT = "/v1/chat/completions"
Make = Callable[..., AsyncClient]
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"model": 5}, "model must be a string, not int 5"),
    ({"model": uuid.UUID(int=1)}, "model must be a string, not UUID"),
    ({"traceparent": 5}, "traceparent must be a string, not int 5"),
    ({"idempotency_key": 5}, "idempotency_key must be a string"),
    ({"idempotency_key": ""}, "idempotency_key is empty"),
    ({"idempotency_key": "a\0b"}, "idempotency_key has a character that cannot be kept"),
    ({"idempotency_key": "\ud83d"}, "idempotency_key has a character that cannot be kept"),
    ({"endpoint": None}, "endpoint is missing"),
    ({"endpoint": ""}, "endpoint is empty"),
    ({"endpoint": 5}, "endpoint must be a string"),
    ({"completion_window": 24}, "completion_window must be a string"),
    ({"input_file_id": None}, "input_file_id is None: give the id"),
    ({"input_file_id": ""}, "input_file_id is empty: give the id"),
    ({"input_file_id": " \n"}, "input_file_id is empty: give the id"),
    ({"input_file_id": uuid.UUID(int=1)}, "input_file_id must be a string, not UUID"),
    ({"metadata": {"n": 1}}, "metadata must map strings to strings: 'n' has int 1"),
    ({"metadata": {1: "n"}}, "metadata must have strings as keys"),
    ({"metadata": "n"}, "metadata must be a mapping, not str"),
    ({"output_expires_after": 3600}, "output_expires_after must be a mapping, not int"),
    ({"output_expires_after": {"seconds": {1}}}, "output_expires_after is no JSON"),
    ({"extra_body": {"a": object()}}, "extra_body is no JSON"),
    ({"extra_headers": "Authorization: sk-wrong"}, "extra_headers must be a mapping, not str"),
    ({"extra_headers": {"x": 1}}, "extra_headers must map strings to strings: 'x' has int"),
    ({"extra_query": [1]}, "extra_query must be a mapping"),
    ({"extra_query": {"a": ["\ud83d"]}}, "extra_query cannot be sent"),
    ({"extra_query": {"\ud83d": "a"}}, "extra_query cannot be sent"),
    ({"timeout": "soon"}, "timeout must be a number of seconds above 0, not str 'soon'"),
    ({"timeout": -1}, "timeout must be a number of seconds above 0"),
    ({"timeout": True}, "timeout must be a number of seconds above 0"),
    ({"attribution": {"Team": "search"}}, "unknown key 'Team'; did you mean 'team'"),
    ({"attribution": {"tag": ["nightly"]}}, "unknown key 'tag'; did you mean 'tags'"),
    ({"attribution": {"user_id": "ana"}}, "unknown key 'user_id'; did you mean 'user'"),
    ({"attribution": {"team": 5}}, "attribution: team: Input should be a valid string"),
    ({"attribution": {"team": "a\0b"}}, "attribution: team has a character that cannot be kept"),
    ({"attribution": Attribution(user="\ud83d")}, "attribution: user has a character that cannot be kept"),
    ({"attribution": {"tags": ["x", "\0"]}}, "attribution: tags has a character that cannot be kept"),
    ({"litellm_metadata": {"tags": "nightly"}}, "attribution: tags: Input should be a valid tuple"),
    ({"litellm_metadata": {"tags": 5}}, "attribution: tags: Input should be a valid tuple"),
    ({"attribution": "search"}, "attribution must be a mapping, not str"),
    ({"user": 5}, "user must be a string"),
    ({"custom_llm_provider": 5}, "custom_llm_provider must be a string"),
    ({"metdata": {}}, "unknown key 'metdata'; did you mean 'metadata'"),
)


async def test_a_wrong_argument_is_refused_before_anything_is_sent(make_client: Make, log: Recorder) -> None:
    async with make_client("http://127.0.0.1:9/v1") as client:
        for wrong, message in WRONG:
            with case(wrong):
                with pytest.raises(UsageError) as caught:
                    await client.batches.create(**{"input_file_id": "file-1", "endpoint": CHAT, **wrong})
                assert message in str(caught.value)
                assert "sk-wrong" not in str(caught.value)
                assert await client.ledger.open_intents(created_before=client.ledger.now() + 1) == []
    assert log.events == []


@pytest.mark.parametrize("nothing", [None, ""])
async def test_an_id_of_nothing_is_one_clear_error(make_client: Make, nothing: Any) -> None:
    async with make_client("http://127.0.0.1:9/v1") as client:
        files, batches = client.files, client.batches
        for method in (files.retrieve, files.content, files.delete):
            with pytest.raises(UsageError, match=r"file_id is (None|empty): give the id"):
                await method(nothing)
        for call in (batches.retrieve, batches.cancel, batches.delete, batches.wait, batches.settlement):
            with pytest.raises(UsageError, match=r"batch_id is (None|empty): give the id"):
                await call(nothing)


@pytest.mark.parametrize("name", ["custom_llm_provider", "model"])
async def test_an_account_that_is_no_text_is_one_clear_error(make_client: Make, name: str) -> None:
    wrong: dict[str, Any] = {name: 5}
    async with make_client("http://127.0.0.1:9/v1") as client:
        files, batches = client.files, client.batches
        for call in (files.retrieve, files.content, files.delete, batches.retrieve, batches.cancel, batches.delete):
            with pytest.raises(UsageError, match=f"{name} must be a string, not int 5"):
                await call("some-id", **wrong)
        for listing in (files.list, batches.list):
            with pytest.raises(UsageError, match=f"{name} must be a string, not int 5"):
                await listing(**wrong)


def test_observe_and_on_name_the_nearest_word() -> None:
    with pytest.raises(UsageError, match="'taem'; did you mean 'team'"):
        batchmeter.observe(httpx.Client(), attribution={"taem": "search"})
    with pytest.raises(UsageError, match="'batch_sucess'; did you mean 'batch_success'"):
        batchmeter.on("batch_sucess")  # type: ignore[call-overload]


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_timeout_of_httpx_is_a_timeout(
    make_client: Make, sandbox: Sandbox, requests: Path, library: Any
) -> None:
    async with make_client(sandbox.url) as client:
        file = await client.files.create(requests, timeout=library.Timeout(30))
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, timeout=library.Timeout(5, read=None))
        assert (await client.batches.retrieve(batch.id, timeout=library.Timeout(30))).id == batch.id


async def _submit(client: AsyncClient, file: Path | str, **asked: Any) -> str:
    source = file if isinstance(file, str) else (await client.files.create(file)).id
    made = await client.batches.create(input_file_id=source, endpoint=CHAT, idempotency_key="nightly", **asked)
    return made.id


async def test_a_key_used_for_another_request_is_refused(
    make_client: Make, sandbox: Sandbox, tmp_path: Path, log: Recorder
) -> None:
    monday, tuesday = (write_requests(tmp_path / f"{day}.jsonl", count) for day, count in (("mo", 2), ("tu", 3)))
    async with make_client(sandbox.url) as client:
        first = await _submit(client, monday, metadata={"day": "1"})
        assert await _submit(client, monday, metadata={"day": "1"}) == first  # uploaded again: the same content
        others: tuple[tuple[Path | str, dict[str, Any]], ...] = (
            (tuesday, {"metadata": {"day": "1"}}),
            (monday, {"metadata": {"day": "2"}}),
            (monday, {"metadata": {"day": "1"}, "completion_window": "7d"}),
            (monday, {"metadata": {"day": "1"}, "extra_body": {"priority": 1}}),
            (monday, {"metadata": {"day": "1"}, "output_expires_after": {"anchor": "created_at", "seconds": 3600}}),
            ("file-elsewhere", {"metadata": {"day": "1"}}),
        )
        for file, asked in others:
            with pytest.raises(IdempotencyMismatchError, match=f"'nightly' was used before.*{first}"):
                await _submit(client, file, **asked)
        await client.deliverer.drain(5)
    async with make_client(sandbox.url) as client:  # also after a restart
        with pytest.raises(IdempotencyMismatchError):
            await _submit(client, tuesday)
    assert log.types == ["acreate_batch"]


@pytest.mark.parametrize(
    "spelling", [{"endpoint": "/chat/completions"}, {"output_expires_after": {}}, {"model": ""}, {"metadata": {}}]
)
async def test_key_repeated_in_another_spelling_is_the_same_request(
    make_client: Make, sandbox: Sandbox, requests: Path, spelling: dict[str, Any]
) -> None:
    """Azure's and OpenAI's endpoint; an option that is empty and one that is left out."""
    async with make_client(sandbox.url) as client:
        file = await client.files.create(requests)
        asked = {"input_file_id": file.id, "endpoint": CHAT, "idempotency_key": "nightly"}
        first = await client.batches.create(**asked)
        assert (await client.batches.create(**{**asked, **spelling})).id == first.id


DATA = b'{"custom_id": "1"}\n' * 3


class _AsyncFile:
    """As aiofiles' and anyio's."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self._loop = asyncio.get_running_loop()
        self.name = "/tmp/async.jsonl"

    async def read(self, size: int = -1) -> bytes:
        assert asyncio.get_running_loop() is self._loop, "an async file is read where it was opened"
        return self._file.read(size)

    async def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)


def _written() -> io.BytesIO:
    handle = io.BytesIO()
    handle.write(DATA)
    return handle


def _peeked(path: Path) -> Any:
    handle = path.open("rb")
    handle.readline()
    return handle


async def _sent(upload: Any) -> bytes:
    return b"".join([chunk async for chunk in upload.open()])


async def test_a_handle_is_sent_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(DATA)
    with _peeked(path) as peeked:
        for handle in (_written(), peeked):
            upload = upload_of(handle, purpose="batch")
            assert (upload.size, upload.replayable) == (len(DATA), True)
            assert [await _sent(upload), await _sent(upload)] == [DATA, DATA]


async def test_async_files_and_upload_files_are_read(make_client: Make, sandbox: Sandbox) -> None:
    async with make_client(sandbox.url) as client:
        form = UploadFile(_written(), filename="r.jsonl")
        for handle, name in (
            (_AsyncFile(DATA), "async.jsonl"),
            (form, "r.jsonl"),
            (("n.jsonl", _AsyncFile(DATA)), "n.jsonl"),
        ):
            file = await client.files.create(handle)  # type: ignore[arg-type]
            assert (file.bytes, file.filename) == (len(DATA), name)


async def test_the_module_reads_an_async_file_in_the_callers_loop(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    home = asyncio.get_running_loop()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 10):
            assert asyncio.get_running_loop() is home
            yield DATA[start : start + 10]

    for content in (_AsyncFile(DATA), pieces()):
        assert (await batchmeter.acreate_file(file=content)).bytes == len(DATA)


async def test_what_is_no_file_of_bytes_says_so(make_client: Make, sandbox: Sandbox, requests: Path) -> None:
    with requests.open("rb") as closed:
        pass
    cases: tuple[tuple[Any, str], ...] = (
        (closed, "file= is closed"),
        (iter(["text"]), "gives text, not bytes"),
        (iter([1]), "gives int, not bytes"),
        (("a.jsonl",), "as a tuple is"),
        (7, "not int"),
    )
    async with make_client(sandbox.url) as client:
        for content, message in cases:
            with pytest.raises(BatchmeterError, match=message):
                await client.files.create(content)
        odd = await client.files.create(("caf\udce9.jsonl", DATA))
        assert odd.filename == "caf?.jsonl"


async def test_a_provider_that_kept_another_size_is_told_of(
    make_client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Answer(body=b'{"id": "file-1", "object": "file", "bytes": 7}')
    async with serving(Script([kept])) as url, make_client(url) as client:
        await client.files.create(DATA)
    assert f"file file-1: {len(DATA)} bytes were sent, its provider speaks of 7" in caplog.text
