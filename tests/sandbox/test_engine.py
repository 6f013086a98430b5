"""The sandbox without HTTP: what it keeps, its provider's errors, and its command."""

import asyncio
import json
import signal
import socket
from itertools import pairwise
from typing import get_args

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.warm_python import WARM

from batchmeter.cli import main
from batchmeter.errors import APIConnectionError, BadRequestError, NotFoundError, RateLimitError
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_sandbox import Engine, Fault, Refusal, Script
from batchmeter_sandbox.lifecycle import Job, state
from batchmeter_sandbox.provider import SandboxProvider
from batchmeter_sandbox.settings import SandboxSettings

from .conftest import CHAT, jsonl, request

ORDER = ["validating", "in_progress", "cancelling", "finalizing", "completed", "failed", "expired", "cancelled"]
NONE = CallOptions()


@given(
    st.sampled_from(["completed", "expired", "cancelled"]),
    st.one_of(st.none(), st.integers(0, 1400)),
    st.booleans(),
    st.lists(st.integers(0, 3000), min_size=2).map(sorted),
)
def test_a_life_goes_one_way(outcome, cancelled_after, valid, ages):
    cancelled_at = None if cancelled_after is None else float(cancelled_after)
    job = Job("b", "f", CHAT, 0.0, script=Script(outcome=outcome), cancelled_at=cancelled_at)
    seen = [state(job, float(age), 1.0, valid=valid) for age in ages if cancelled_at is None or age >= cancelled_at]
    for before, after in pairwise(seen):
        assert ORDER.index(before.status) <= ORDER.index(after.status)
        assert before.share <= after.share
        assert before.times.items() <= after.times.items()
        assert before.ended_at in (None, after.ended_at)


async def upload(engine: Engine, count: int = 3) -> str:
    receiver = engine.files.receive("in.jsonl")
    receiver.write(jsonl([request(number) for number in range(count)]))
    return receiver.finish("batch")["id"]


async def create(engine: Engine, file_id: str) -> str:
    asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": file_id}
    return (await engine.batches.create(asked))["id"]


async def test_a_folder_remembers(tmp_path, clock):
    first = Engine(folder=tmp_path, speed=1, clock=clock)
    batch_id = await create(first, await upload(first))
    gone = await upload(first)
    await first.files.delete(gone)
    first.close()
    second = Engine(folder=tmp_path, speed=1, clock=clock)
    clock.advance(600)
    assert (await second.batches.cancel(batch_id))["status"] == "cancelling"
    with pytest.raises(Refusal, match="No such File"):
        await second.files.retrieve(gone)
    second.close()


async def test_two_processes_share_a_folder(tmp_path, clock):
    ours, theirs = (Engine(folder=tmp_path, speed=1, clock=clock) for _ in range(2))
    batch_id = await create(ours, await upload(ours))
    assert (await theirs.batches.retrieve(batch_id))["status"] == "validating"
    await theirs.batches.cancel(batch_id)
    assert (await ours.batches.retrieve(batch_id))["status"] == "cancelling"
    ours.close()
    theirs.close()


async def test_a_torn_record_is_read_once_it_is_whole(tmp_path, clock):
    engine = Engine(folder=tmp_path, clock=clock)
    with (tmp_path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"op": "delete", ')
        journal.flush()
        assert (await engine.files.list())["data"] == []
        journal.write(b'"id": "file-x"}\n')
    file_id = await upload(engine)
    assert [file["id"] for file in (await engine.files.list())["data"]] == [file_id]
    engine.close()


async def test_a_temporary_folder_goes_with_the_engine():
    engine = Engine()
    path = engine.batches.records.folder.path
    await upload(engine)
    assert path.exists()
    engine.close()
    engine.close()
    assert not path.exists()


async def test_unseeded_sandboxes_share_no_ids():
    engines = [Engine() for _ in range(2)]
    ids = [await upload(engine) for engine in engines]
    assert ids[0] != ids[1]
    for engine in engines:
        engine.close()


@pytest.fixture
async def provider():
    provider = SandboxProvider("sandbox", SandboxSettings(speed=1_000_000, seed=1))
    yield provider
    await provider.aclose()


async def test_the_providers_errors_are_those_of_an_http_one(provider):
    faults = provider.engine.faults
    faults.add("rate_limit GET /v1/batches/b retry_after=3", Fault(kind="drop", method="GET", path="/v1/files"))
    with pytest.raises(RateLimitError) as limited:
        await provider.retrieve_batch("b", NONE)
    assert (limited.value.retry_after, limited.value.code) == (3.0, "rate_limit_exceeded")
    with pytest.raises(APIConnectionError):
        await provider.list_files(purpose=None, after=None, limit=None, order=None, options=NONE)
    with pytest.raises(NotFoundError, match="No batch found"):
        await provider.retrieve_batch("b", NONE)
    with pytest.raises(BadRequestError, match="/v1/nothing"):
        await provider.create_batch(BatchRequest("file-x", "/v1/nothing"), NONE)


async def test_a_lost_create_in_process(provider):
    file_id = await upload(provider.engine)
    with pytest.raises(APIConnectionError):
        await provider.create_batch(
            BatchRequest(file_id, CHAT, metadata={"batchmeter_id": "i"}),
            CallOptions(extra_headers={"X-Sandbox-Fault": "lose_answer"}),
        )
    [batch] = await provider.list_batches(after=None, limit=None, options=NONE)
    assert batch.metadata == {"batchmeter_id": "i"}


async def test_a_download_that_breaks_off_in_process(provider):
    file_id = await upload(provider.engine)
    options = CallOptions(extra_headers={"x-sandbox-script": "truncate=1"})
    batch = await provider.create_batch(BatchRequest(file_id, CHAT), options)
    while not batch.ended:
        batch = await provider.retrieve_batch(batch.id, NONE)
    [output] = await provider.outputs(batch)
    with pytest.raises(APIConnectionError):
        async with output.open() as content:
            assert [chunk async for chunk in content.chunks]
    async with output.open() as content:
        assert b"".join([chunk async for chunk in content.chunks]).count(b"\n") == 3


@pytest.mark.parametrize("values", [{"script": "fail=9"}, {"faults": ("nonsense",)}, {"speed": 0}, {"sped": 1}])
def test_wrong_settings_are_refused(values):
    with pytest.raises(ValueError, match=r"sandbox|greater|Extra"):
        SandboxSettings(**values)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--api-key"),
        (["--speed", "0"], "--speed"),
        (["--script", "fail=9"], "fail"),
        (["--fault", "earthquake"], "earthquake"),
    ],
)
def test_the_command_refuses_with_a_reason(arguments, says):
    result = CliRunner().invoke(main, ["sandbox", *arguments])
    assert result.exit_code == 2
    assert says in result.output


def test_its_help_knows_every_word():
    said = CliRunner().invoke(main, ["sandbox", "--help"]).output
    kinds = get_args(Fault.model_fields["kind"].annotation)
    assert [word for word in (*Script.model_fields, *kinds) if word not in said] == []


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(main, ["sandbox", "--port", str(taken.getsockname()[1])])
    assert result.exit_code == 2
    assert "another --port" in result.output


async def test_the_command_serves_until_it_is_told_to_stop(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(WARM, "-m", "batchmeter", "sandbox", "--json", "--port", "0", "--folder", tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url = json.loads(await process.stdout.readline())["url"]
    async with httpx.AsyncClient(verify=False) as client:
        assert (await client.get(f"{url}/batches", headers={"authorization": "Bearer k"})).json()["data"] == []
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in errors
