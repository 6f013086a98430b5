"""batchmeter.run: one call from requests to answers and their cost; the same call, the same batch."""

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter.answers.lines import lines_of, results_of
from batchmeter.answers.result import Result
from batchmeter.errors import InvalidInputError, NotFoundError, SettlementError, UsageError
from batchmeter.testing.sandbox import Sandbox, manual_clock, sandbox_thread

QUESTIONS = [f"question {number}" for number in range(5)]


@pytest.fixture(autouse=True)
def no_file_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    batchmeter.close()
    assert list(folder.glob("batchmeter-*")) == []


async def batches(sandbox: Sandbox) -> int:
    return len((await asyncio.to_thread(batchmeter.list_batches)).data)


def test_texts_in_answers_out(sandbox: Sandbox) -> None:
    results = batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata={"team": "search"})
    assert list(results) == [f"request-{number}" for number in range(5)]
    assert all(results.texts)
    assert results["request-3"].text == results.texts[3]
    assert results["request-3"].body["usage"]["completion_tokens"] > 0
    assert results["request-3"].ok
    assert results.errors == {}
    assert results.cost.total is not None
    assert results.cost.total > Decimal(0)
    assert results.settlement.request_counts.succeeded == 5
    assert results.batch.metadata == {"team": "search"}
    assert repr(results).startswith(f"<Results: 5 of batch {results.batch.id}, 0 errors, $0.")
    assert [row["text"] for row in results.rows()] == results.texts


async def test_inside_a_loop(sandbox: Sandbox, tmp_path: Path) -> None:
    results = await batchmeter.arun((f"question {n}" for n in range(5)), model="gpt-5-mini")
    assert len(results) == 5
    async with batchmeter.AsyncClient(ledger=tmp_path / "own.db") as client:
        mine = await batchmeter.arun({"a": "hello"}, model="gpt-5-mini", using=client)
        assert await client.ledger.get_batch(mine.batch.id) is not None
    assert mine["a"].text


@pytest.mark.parametrize("endpoint", ["/v1/responses", "/v1/completions"])
def test_texts_of_other_endpoints(sandbox: Sandbox, endpoint: str) -> None:
    results = batchmeter.run(["hello"], model="gpt-5-mini", endpoint=endpoint)
    assert results["request-0"].text


def test_embeddings_have_a_body_and_no_text(sandbox: Sandbox) -> None:
    result = batchmeter.run(["hello"], model="text-embedding-3-small", endpoint="/v1/embeddings")["request-0"]
    assert result.text is None
    assert result.body["data"][0]["embedding"]


def test_the_same_call_gives_the_same_batch_and_uploads_once(sandbox: Sandbox) -> None:
    first = batchmeter.run(QUESTIONS, model="gpt-5-mini")
    batchmeter.close()
    again = batchmeter.run(iter(QUESTIONS), model="gpt-5-mini")
    assert again.batch.id == first.batch.id
    assert again.texts == first.texts
    assert len(batchmeter.list_files(purpose="batch")) == 1
    other = batchmeter.run([*QUESTIONS, "one more"], model="gpt-5-mini")
    new = batchmeter.run(QUESTIONS, model="gpt-5-mini", again=True)
    assert len({first.batch.id, other.batch.id, new.batch.id}) == 3
    assert batchmeter.run(QUESTIONS, model="gpt-5-mini").batch.id == new.batch.id


def test_waiting_that_ran_out_is_taken_up_by_the_same_call() -> None:
    clock = manual_clock()
    with sandbox_thread(clock=clock, speed=1) as sandbox:
        where = {"api_base": sandbox.url, "api_key": "sk-test"}
        with pytest.raises(SettlementError, match="it stays tracked, wait again"):
            batchmeter.run(QUESTIONS, model="gpt-5-mini", timeout=0.05, **where)
        clock.advance(3600)
        results = batchmeter.run(QUESTIONS, model="gpt-5-mini", **where)
        assert all(results.texts)
        assert len(batchmeter.list_batches(**where)) == 1


RUNNING = "import batchmeter; batchmeter.run(['hello'], model='gpt-5-mini')"


def test_interrupted_and_resumed_by_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = manual_clock()
    with sandbox_thread(clock=clock, speed=1) as sandbox:
        monkeypatch.setenv("OPENAI_BASE_URL", sandbox.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        process = subprocess.Popen([WARM, "-c", RUNNING], stderr=subprocess.PIPE, text=True, env=os.environ)
        while not batchmeter.list_batches().data:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert "KeyboardInterrupt" in told
        assert "the batch goes on; the same call waits for it again" in told
        clock.advance(3600)
        assert batchmeter.run(["hello"], model="gpt-5-mini")["request-0"].text
        assert len(batchmeter.list_batches().data) == 1


def test_errors_of_single_requests(sandbox: Sandbox) -> None:
    results = batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata={"sandbox": "fail=0.4"})
    assert len(results.errors) == 2
    for name, error in results.errors.items():
        assert not results[name].ok
        assert results[name].text is None
        assert error["message"]
    assert sum(row["error"] is not None for row in results.rows()) == 2


def test_an_expired_batch_keeps_what_was_done(sandbox: Sandbox) -> None:
    results = batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata={"sandbox": "outcome=expired done=0.4"})
    assert results.settlement.status == "expired"
    assert [result.ok for result in results.values()].count(True) == 2
    assert all(error["message"] for error in results.errors.values())
    again = batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata={"sandbox": "outcome=expired done=0.4"})
    assert again.batch.id == results.batch.id


def test_a_batch_that_never_began_is_made_anew(sandbox: Sandbox) -> None:
    script = {"sandbox": "outcome=failed"}
    first = batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata=script)
    assert first.settlement.status == "failed"
    assert {error["code"] for error in first.errors.values()} == {first.batch.errors.data[0].code}
    assert batchmeter.run(QUESTIONS, model="gpt-5-mini", metadata=script).batch.id != first.batch.id


def test_a_create_that_was_refused_is_tried_again(sandbox: Sandbox) -> None:
    sandbox.engine.faults.add("quota POST /v1/batches")
    with pytest.raises(batchmeter.BatchmeterError, match="quota"):
        batchmeter.run(QUESTIONS, model="gpt-5-mini")
    assert all(batchmeter.run(QUESTIONS, model="gpt-5-mini").texts)


def test_members_of_a_request_are_told_where_to_go() -> None:
    with pytest.raises(UsageError, match=r"body=\{'temperature': 0, 'stream': True\}"):
        batchmeter.run(["one"], model="gpt-5-mini", temperature=0, stream=True)


def test_what_the_provider_would_refuse_is_not_sent(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidInputError, match="`body` has no `model`"):
        batchmeter.run(QUESTIONS)
    with pytest.raises(InvalidInputError, match="already used on line 1"):
        batchmeter.run([{"custom_id": "a", "prompt": "x"}, {"custom_id": "a", "prompt": "y"}], model="gpt-5-mini")
    assert batchmeter.list_files().data == []


def test_a_bar_is_shown_when_asked_for_or_on_a_terminal_only(
    sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    batchmeter.run(QUESTIONS, model="gpt-5-mini")
    assert capfd.readouterr() == ("", "")
    batchmeter.run(QUESTIONS, model="gpt-5-mini", progress=True)
    out, bar = capfd.readouterr()
    assert out == ""
    assert "5/5" in bar or "0/5" in bar or bar


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": null}', {"x": 1}),
        (b'{"custom_id": "a", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}}', "no"),
        (b'{"custom_id": "a", "response": {"status_code": 500, "body": "broken"}}', "broken"),
        (b'{"custom_id": "a", "response": null, "error": {"code": "batch_expired", "message": "late"}}', "late"),
        (b'{"custom_id": "a", "respo', None),
        (b'["a"]', None),
        (b'{"custom_id": ["a"], "response": {"status_code": 200, "body": 1}}', None),
        (b'{"custom_id": "a", "response": {"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", None),
        (b'{"custom_id": "a", "response": {"status_code": null, "body": {"x": 1}}}', {"x": 1}),
        (b'{"custom_id": "a", "response": null, "error": "gone"}', "gone"),
        (b'{"custom_id": "a", "response": {"status_code": 404, "body": {"error": "gone"}}}', "gone"),
        (b'{"response": {}}', None),
    ],
)
def test_lines_are_read_tolerantly(line: bytes, expected: object) -> None:
    result = Result.read(line)
    if expected is None:
        assert result is None
    else:
        assert result is not None
        assert (result.error["message"] if result.error else result.body) == expected


class Joins(bytes):
    """A chunk that counts what is copied when others are joined to it."""

    copied = 0

    def __radd__(self, before: bytes) -> "Joins":
        Joins.copied += len(before)
        return Joins(bytes(before) + bytes(self))


async def test_a_long_line_is_put_together_once() -> None:
    """Its pieces are joined when it ends, not at each that comes: 64 MB of an image took 98 seconds."""
    line = b'{"custom_id": "a", "response": {"status_code": 200, "body": {"image": "' + b"A" * 1_000_000 + b'"}}}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(line), 1000):
            yield Joins(line[start : start + 1000])
        yield b"\n" + line.replace(b'"a"', b'"b"')

    results = [result async for result in results_of(lines_of(chunks()))]
    assert [result.custom_id for result in results] == ["a", "b"]
    assert len((results[0].body or {})["image"]) == 1_000_000
    assert Joins.copied == 0


def test_answers_that_are_gone_say_how_to_have_them_again(sandbox: Sandbox) -> None:
    first = batchmeter.run(QUESTIONS, model="gpt-5-mini")
    batchmeter.delete_file(str(first.batch.output_file_id))
    with pytest.raises(NotFoundError) as gone:
        batchmeter.run(QUESTIONS, model="gpt-5-mini")
    assert "again=True" in gone.value.__notes__[-1]
    assert batchmeter.run(QUESTIONS, model="gpt-5-mini", again=True).batch.id != first.batch.id
