"""Jobs larger than a batch: split by the account's limits, one id and one sum, in input order, once however often asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import batchmeter
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import InvalidInputError, SettlementError
from batchmeter.inputs import InputLimits
from batchmeter.jobs.jobs import Jobs, split
from batchmeter.spend.spend import Spend
from batchmeter.testing.sandbox import Sandbox, manual_clock, sandbox_thread, serve_sandbox

CHAT = "/v1/chat/completions"


def write(path: Path, count: int, models: tuple[str, ...] = ("gpt-5-mini",)) -> Path:
    rows = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": models[number % len(models)], "messages": [{"role": "user", "content": f"q {number}"}]},
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(url: str, folder: Path, **limits: int) -> Settings:
    account = {"api_key": "sk-test", "api_base": url, "input_limits": limits or {"lines": 4}}
    return Settings(ledger=str(folder / "ledger.db"), track=False, load=(), accounts={"openai": account})


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with serve_sandbox() as sandbox, AsyncClient(settings=settings(sandbox.url, tmp_path), environ={}) as opened:
        yield opened


async def test_a_large_file_is_one_job_of_several_batches(client: AsyncClient, tmp_path: Path) -> None:
    path = write(tmp_path / "large.jsonl", 10)
    job = await client.batches.create_many(path, CHAT, attribution={"team": "search"})
    report = await client.batches.wait_many(job)
    results = await client.batches.results_many(report)
    assert [one.request_counts.total for one in report.settlements] == [4, 4, 2]
    assert (report.status, report.request_counts.succeeded) == ("completed", 10)
    assert list(results) == [f"r-{number}" for number in range(10)]
    assert all(results.texts)
    assert results.cost.total == report.cost.total == sum(one.cost.total for one in report.settlements)
    assert "10 of 3 batches" in repr(results)


async def test_a_job_s_cost_is_one_line_in_reports(client: AsyncClient, tmp_path: Path) -> None:
    job = await client.batches.create_many(write(tmp_path / "l.jsonl", 6), CHAT, job="nightly")
    report = await client.batches.wait_many(job)
    await Spend(client.ledger).roll()
    (row,) = (await client.costs(group_by="tag", where={"tag": "job:nightly"})).data
    assert (row.group, row.batches, row.total) == ("job:nightly", 2, report.cost.total)
    await client.batches.wait((await client.batches.create("24h", CHAT, job.batches[0].input_file_id)).id)
    by_job = {row.group: row for row in (await client.costs(group_by="job")).data}
    assert (by_job["nightly"].total, by_job["nightly"].batches, by_job[None].batches) == (report.cost.total, 2, 1)
    counts = [(await client.costs(group_by="day,job", where={"job": name})).total.batches for name in ("nightly", None)]
    assert counts == [2, 1]


async def test_the_same_call_goes_on_where_it_stopped(client: AsyncClient, tmp_path: Path, monkeypatch) -> None:
    path, create, made = write(tmp_path / "l.jsonl", 10), client.files.create, []

    async def dies(self, file, *arguments, **named):
        if len(made) == 1:
            raise OSError("the machine goes down")
        made.append(file)
        return await create(file, *arguments, **named)

    monkeypatch.setattr("batchmeter.calls.files.AsyncFiles.create", dies)
    with pytest.raises(OSError, match="goes down"):
        await client.batches.create_many(path, CHAT)
    monkeypatch.undo()
    first = await client.batches.create_many(path, CHAT)
    again = await client.batches.create_many(path, CHAT)
    assert [batch.id for batch in first.batches] == [batch.id for batch in again.batches]
    assert len((await client.batches.list()).data) == 3
    anew = await client.batches.create_many(path, CHAT, again=True)
    assert not {batch.id for batch in anew.batches} & {batch.id for batch in first.batches}


async def test_a_full_queue_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("batchmeter.jobs.jobs.PAUSE", 0.01)
    path = write(tmp_path / "l.jsonl", 6)
    with sandbox_thread(script="outcome=failed") as sandbox:
        async with AsyncClient(settings=settings(sandbox.url, tmp_path), environ={}) as client:
            job = await client.batches.create_many(path, CHAT)
            waiting = asyncio.create_task(client.batches.wait_many(job))
            while len((await client.batches.list()).data) < 4:
                assert not waiting.done()
            sandbox.engine.batches.script = type(sandbox.engine.batches.script)()
            report = await waiting
            again = await client.batches.create_many(path, CHAT)
            every = await Jobs(client).batches_of(job.id, "openai")
    assert report.status == "completed"
    assert [one.batch_id for one in report.settlements] == [batch.id for batch in again.batches]
    assert {one.tracked.batch_id for one in every} > {batch.id for batch in again.batches}
    assert all(one.settlement for one in every)


async def test_a_job_that_takes_too_long_goes_on(tmp_path: Path) -> None:
    with sandbox_thread(speed=1, clock=manual_clock()) as slow:
        async with AsyncClient(settings=settings(slow.url, tmp_path), environ={}) as client:
            job = await client.batches.create_many(write(tmp_path / "l.jsonl", 6), CHAT)
            with pytest.raises(SettlementError, match="it goes on and stays tracked"):
                await client.batches.wait_many(job, timeout=0.05)


def test_the_blocking_client_has_jobs_with_one_bar(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    path, looks = write(tmp_path / "l.jsonl", 9), []
    with (
        sandbox_thread(script="fail=0.6") as sandbox,
        batchmeter.Client(settings=settings(sandbox.url, tmp_path), environ={}) as client,
    ):
        job = client.batches.create_many(path, CHAT)
        assert client.batches.create_many(path, CHAT) == job
        report = client.batches.wait_many(job, progress=True, on_update=looks.append)
        results = client.batches.results_many(report)
        again = client.batches.retry(job.batches[0].id)
    assert len(results) == 9
    assert {batch.id for batch in looks} == {batch.id for batch in job.batches}
    assert again.requests == sum(not results[f"r-{number}"].ok for number in range(4)) > 0
    assert "3 batches" in capsys.readouterr().err


async def test_a_line_that_breaks_a_rule_sends_nothing(client: AsyncClient, tmp_path: Path) -> None:
    path = write(tmp_path / "l.jsonl", 9)
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    with pytest.raises(InvalidInputError, match="line 10.*already used on line 1"):
        await client.batches.create_many(path, CHAT)
    assert (await client.files.list()).data == []


@pytest.mark.parametrize(
    ("limits", "models", "expected"),
    [
        (InputLimits(lines=3), ("m",), [3, 3, 1]),
        (InputLimits(), ("a", "b"), [4, 3]),
        (InputLimits(lines=2), ("a", "b"), [2, 2, 2, 1]),
        (InputLimits(one_model=False), ("a", "b"), [7]),
        (InputLimits(bytes=300), ("m",), [2, 2, 2, 1]),
    ],
)
def test_parts_keep_every_limit(
    tmp_path: Path, limits: InputLimits, models: tuple[str, ...], expected: list[int]
) -> None:
    path = write(tmp_path / "l.jsonl", 7, models)
    _, parts, ids = split(path, tmp_path, CHAT, limits)
    written = [part.read_bytes().splitlines() for part, _ in parts]
    assert sorted(len(lines) for lines in written) == sorted(expected)
    assert sorted(line for lines in written for line in lines) == sorted(path.read_bytes().splitlines())
    assert ids == tuple(f"r-{number}" for number in range(7))


def test_embedding_inputs_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    line = {"method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": ["a", "b", "c"]}}
    path.write_text("".join(json.dumps({"custom_id": str(number), **line}) + "\n" for number in range(5)))
    _, parts, _ = split(path, tmp_path, "/v1/embeddings", InputLimits(embedding_inputs=6))
    assert [len(part.read_bytes().splitlines()) for part, _ in parts] == [2, 2, 1]


def test_run_takes_more_than_a_batch(sandbox: Sandbox, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batchmeter.toml").write_text("[accounts.openai.input_limits]\nlines = 3\n")
    questions = [f"question {number}" for number in range(8)]
    results = batchmeter.run(questions, model="gpt-5-mini", progress=True)
    assert list(results) == [f"request-{number}" for number in range(8)]
    assert all(results.texts)
    assert len(results.settlements) == 3
    again = batchmeter.run(questions, model="gpt-5-mini")
    assert [one.batch_id for one in again.settlements] == [one.batch_id for one in results.settlements]
