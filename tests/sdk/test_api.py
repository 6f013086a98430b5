"""The module-level functions, as users of LiteLLM's batches API write them."""

import asyncio
import inspect
import os
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter.errors import ConfigError, ConflictError, UsageError
from batchmeter.testing.sandbox import Sandbox, sandbox_thread


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox_thread() as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("BATCHMETER_PLUGINS", "file")
        monkeypatch.setenv("BATCHMETER_FILE_PATH", str(tmp_path / "events.jsonl"))
        yield served
        batchmeter.close()


async def test_the_calls_work_as_they_are(sandbox: Sandbox, requests: Path) -> None:
    path = str(requests)
    handle = open(path, "rb")  # noqa: SIM115, PTH123 - as users write it
    file = await batchmeter.acreate_file(file=handle, purpose="batch", custom_llm_provider="openai")
    batch = await batchmeter.acreate_batch(
        completion_window="24h", endpoint="/v1/chat/completions",
        input_file_id=file.id, custom_llm_provider="openai", metadata={"team": "search"},
    )  # fmt: skip
    batch = await batchmeter.aretrieve_batch(batch_id=batch.id, custom_llm_provider="openai")
    while not batch.output_file_id:
        batch = await batchmeter.aretrieve_batch(batch_id=batch.id, custom_llm_provider="openai")
    content = await batchmeter.afile_content(file_id=batch.output_file_id, custom_llm_provider="openai")
    page = batchmeter.list_batches(custom_llm_provider="openai", limit=2)
    assert batch.metadata == {"team": "search"}
    handle.close()
    assert content.text.count("\n") == 20
    assert [listed.id for listed in page.data] == [batch.id]


def test_the_sync_twins(sandbox: Sandbox, requests: Path) -> None:
    with requests.open("rb") as handle:
        file = batchmeter.create_file(file=handle, purpose="batch")
    assert batchmeter.retrieve_file(file.id).id == file.id
    assert [listed.id for listed in batchmeter.list_files(purpose="batch")] == [file.id]
    batch = batchmeter.create_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
    assert batchmeter.retrieve_batch(batch.id).id == batch.id
    settlement = batchmeter.wait_batch(batch.id)
    assert settlement.status == "completed"
    assert batchmeter.file_content(file.id).content == requests.read_bytes()
    with pytest.raises(ConflictError, match="Cannot cancel"):
        batchmeter.cancel_batch(batch.id, num_retries=0)
    assert batchmeter.delete_file(file.id).deleted


async def test_sync_calls_work_inside_a_running_loop(sandbox: Sandbox) -> None:
    assert batchmeter.list_batches().data == []
    results = await asyncio.gather(*(batchmeter.alist_batches(limit=number) for number in range(1, 6)))
    assert [page.data for page in results] == [[]] * 5


def test_two_asyncio_runs_share_the_module_s_client(sandbox: Sandbox, requests: Path) -> None:
    file = asyncio.run(batchmeter.acreate_file(file=requests))
    assert asyncio.run(batchmeter.afile_retrieve(file.id)).id == file.id


def test_an_async_client_in_a_second_loop_says_so(sandbox: Sandbox, requests: Path) -> None:
    client = batchmeter.AsyncClient()

    async def use() -> str:
        try:
            return (await client.files.create(requests)).id
        finally:
            await client.aclose()

    assert asyncio.run(use()) != asyncio.run(use())
    first = asyncio.new_event_loop()
    file = first.run_until_complete(client.files.create(requests))
    for again in (client.files.retrieve(file.id, "openai"), client.batches.list(), client.open(), client.aclose()):
        with pytest.raises(UsageError, match="belongs to another event loop.*open a client in each"):
            asyncio.run(again)
    first.run_until_complete(client.aclose())
    first.close()


def test_trio_is_told_how_to_call(sandbox: Sandbox, requests: Path) -> None:
    client = batchmeter.AsyncClient()
    calls: tuple[Coroutine[Any, Any, object], ...] = (
        batchmeter.acreate_file(file=requests),
        batchmeter.alist_batches(),
        batchmeter.arun(["one"], model="gpt-5-mini"),
        batchmeter.aretry_batch("batch_1"),
        batchmeter.tracking().__aenter__(),
        client.files.create(requests),
        client.files.retrieve("file-1", "openai"),
        client.open(),
    )
    for call in calls:
        with pytest.raises(UsageError, match=r"need asyncio's event loop; under trio .*trio\.to_thread\.run_sync"):
            call.send(None)  # as a loop does that is not asyncio's


def test_calls_from_many_threads_share_one_client(sandbox: Sandbox) -> None:
    pages: list[object] = []
    threads = [threading.Thread(target=lambda: pages.append(batchmeter.list_batches())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pages) == 8
    assert [thread.name for thread in threading.enumerate()].count("batchmeter") == 1


async def test_cancelling_a_call_cancels_its_work(sandbox: Sandbox) -> None:
    with sandbox_thread(speed=1) as slow:
        call = asyncio.ensure_future(batchmeter.await_batch("batch_x", api_base=slow.url))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_the_process_settles_and_delivers_what_it_saw_end_before_it_exits(
    sandbox: Sandbox, requests: Path, tmp_path: Path
) -> None:
    script = f"""
import batchmeter
file = batchmeter.create_file(file={str(requests)!r}, purpose="batch")
batch = batchmeter.create_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
while not batch.ended:
    batch = batchmeter.retrieve_batch(batch.id)
"""
    done = subprocess.run([WARM, "-c", script], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "events.jsonl").read_text()
    assert log.count("dev.batchmeter.acreate_batch.v1") == 1
    assert log.count("dev.batchmeter.batch_success.v1") == 1


def test_a_call_with_its_own_key_and_address(sandbox: Sandbox) -> None:
    with sandbox_thread(api_key="sk-mine") as mine:
        page = batchmeter.list_batches(custom_llm_provider="openai", api_key="sk-mine", api_base=mine.url)
        assert page.data == []
        with pytest.raises(ConfigError, match="an address of its own, which gets no other account's key"):
            batchmeter.list_batches(custom_llm_provider="openai", api_base=mine.url)


def test_an_argument_nobody_knows_names_the_nearest(sandbox: Sandbox) -> None:
    with pytest.raises(batchmeter.BatchmeterError, match="unknown key 'api_kee'; did you mean 'api_key'"):
        batchmeter.list_batches(api_kee="x")


def test_help_shows_the_arguments() -> None:
    parameters = inspect.signature(batchmeter.acreate_batch).parameters
    assert "self" not in parameters
    assert {"input_file_id", "endpoint", "completion_window", "metadata", "custom_llm_provider"} <= set(parameters)
    assert "acreate_batch" in (batchmeter.acreate_batch.__doc__ or "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_anew(sandbox: Sandbox, requests: Path) -> None:
    script = """
import os, batchmeter
batchmeter.list_batches()
child = os.fork()
if child == 0:
    os._exit(0 if batchmeter.list_batches().data == [] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([WARM, "-c", script], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
