"""Plugin authors' bench: what a batch did to the plugins under test, without a second of waiting."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchmeter.errors import Rejected, RetryLater
from batchmeter.hookspecs import hookimpl
from batchmeter.testing import Recorder, open_bench, run_batch

pytest_plugins = ["batchmeter.testing.fixtures"]


async def test_a_run_hands_over_what_the_logger_got() -> None:
    mine = Recorder()
    run = await run_batch(mine, requests=4, metadata={"team": "search"}, attribution={"user": "ada"})
    run.assert_delivered()
    assert [event.type for event in run.events] == ["acreate_batch", "batch_success"]
    assert list(run.events) == mine.events
    assert run.created.metadata == {"team": "search"}
    assert run.ending.attribution.user == "ada"
    assert run.ending.request_counts.succeeded == 4
    assert run.ending.cost.total == run.settlement.cost.total is not None


@pytest.mark.parametrize(
    ("batch", "ending", "unknown"),
    [
        ({"script": "outcome=expired done=0.5", "requests": 4}, "batch_failure", set()),
        ({"script": "outcome=failed"}, "batch_failure", set()),
        ({"model": "nobody-has-priced-it"}, "batch_success", {"unknown_model"}),
        ({"script": "no_usage=1"}, "batch_success", {"usage_missing"}),
        ({"adopted": True}, "batch_success", set()),
    ],
)
async def test_batches_of_every_kind(run_batch: Any, batch: dict[str, Any], ending: str, unknown: set[str]) -> None:
    run = await run_batch(Recorder(), **batch)
    assert run.ending.type == ending
    assert set(run.ending.cost.unknown) == unknown
    assert (run.ending.cost.total is None) == bool(unknown)
    assert run.created.adopted == run.ending.adopted == batch.get("adopted", False)


async def test_an_hours_wait_takes_no_time() -> None:
    class Patient(Recorder):
        tries = 0

        @hookimpl
        async def batch_success(self, event: Any) -> None:
            self.tries += 1
            if self.tries < 5:
                raise RetryLater("the backend is being mended", after=3600)
            self.events.append(event)

    patient = Patient()
    run = await run_batch(patient)  # or the test would time out
    run.assert_delivered()
    assert (patient.tries, patient.types) == (5, ["acreate_batch", "batch_success"])
    assert [delivery.attempts for delivery in run.deliveries] == [1, 5]


async def test_what_was_rejected_is_said() -> None:
    class Picky:
        @hookimpl
        def batch_success(self, event: Any) -> None:
            raise Rejected("no such channel")

    run = await run_batch(Picky())
    assert [(one.logger.rpartition(".")[2], one.state) for one in run.deliveries] == [("Picky", "dead")]
    with pytest.raises(AssertionError, match="batch_success is dead: Rejected: no such channel"):
        run.assert_delivered()


async def test_redacted_events_are_what_loggers_see() -> None:
    class Redactor:
        @hookimpl
        def redact(self, event: Any) -> Any:
            return event.model_copy(update={"metadata": {}})

    mine = Recorder()
    run = await run_batch(mine, Redactor(), metadata={"customer": "Ada"})
    assert [event.metadata for event in mine.events] == [{}, {}]
    assert run.events == tuple(mine.events)


async def test_many_batches_on_one_bench() -> None:
    mine = Recorder()
    async with open_bench(mine) as bench:
        first, second = await bench.run(), await bench.run(requests=1)
        assert first.settlement.batch_id != second.settlement.batch_id
        await bench.replay()
    assert len(mine.events) == 8
    assert len({event.id for event in mine.events}) == 4


def test_batchmeter_adds_nothing_to_unrelated_test_runs(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_other():\n    assert not [name for name in sys.modules if name.startswith('batchmeter')]\n"
    )
    others = [f"-pno:{name}" for name in ("cacheprovider", "schemathesis", "hypothesispytest", "anyio", "asyncio")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *others, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
