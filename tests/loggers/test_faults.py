"""300 events, receivers in trouble, deliverers killed at random: every logger ends with every event, once by its id."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from batchmeter.events import Settlement
from batchmeter.ledger import open_ledger
from batchmeter.ledger.port import Submission
from batchmeter_file import read_events

BATCHES = 150
LOGGERS = ("file", "otel", "langfuse", "datadog")
WORKER = """
import asyncio, json, os, sys, traceback
from types import SimpleNamespace
import batchmeter_datadog, batchmeter_file, batchmeter_langfuse, batchmeter_otel
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter.tracking.deliver import Deliverer
from batchmeter.tracking.logger_lane import LaneOptions

OPTIONS = LaneOptions(timeout=2, lease=3, block=8, backoff_first=0.05, backoff_longest=0.2, threshold=10**6)

async def main(path, sections):
    plugins = Plugins.load(Settings(load=tuple(sections), plugins=sections), {})
    ledger = open_ledger(path)
    await ledger.open()
    await plugins.startup(SimpleNamespace(ledger=ledger, plugins=plugins))
    deliverer = Deliverer(ledger, plugins, options=OPTIONS)
    while any(gauge.pending for gauge in await ledger.gauges()):
        await deliverer.drain(60)
        await asyncio.sleep(0.05)
    await plugins.shutdown()
    await ledger.aclose()

def child():
    try:
        asyncio.run(asyncio.wait_for(main(sys.argv[1], json.loads(sys.argv[2])), 100))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

for line in sys.stdin:  # everything is imported once; each worker is a fork
    command, _, pid = line.partition(" ")
    if command.strip() == "start":
        print(os.fork() or child(), flush=True)
    else:
        print(os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]), flush=True)
"""


class Workers:
    """Deliverer processes, by their pids."""

    def __init__(self, ledger, sections) -> None:
        command = [sys.executable, "-c", WORKER, ledger, json.dumps(sections)]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _ask(self, command) -> int:
        print(command, file=self._parent.stdin, flush=True)
        return int(self._parent.stdout.readline())

    def start(self) -> int:
        return self._ask("start")

    def wait(self, pid) -> int:
        return self._ask(f"wait {pid}")

    def kill(self, pid) -> int:
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._parent.communicate()


PARTIAL = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=1))


@pytest.fixture
def trouble(intake, answer):
    """Answers as badly as the seed wills; `calm` makes the intake answer well from then on."""
    chance = random.Random(7)
    good = answer(202, b"{}", {"content-type": "application/json"})
    bad = [
        (0.12, answer(500, takes=False)),
        (0.05, answer(429, b"", {"retry-after": "0"}, takes=False)),
        (0.08, answer(cut=True, takes=False)),
        (0.04, answer(cut=True)),  # kept, and yet the sender cannot know
        (0.01, answer(200, b"<html>log in", {"content-type": "text/html"}, takes=False)),
        (0.01, answer(500, hang=1.0, takes=False)),
    ]
    partial = answer(200, PARTIAL.SerializeToString(), {"content-type": "application/x-protobuf"}, takes=False)

    def choose(request):
        drawn = chance.random()
        if request.path.endswith("/v1/traces") and chance.random() < 0.03:
            return partial
        for share, one in bad:
            drawn -= share
            if drawn < 0:
                return one
        return good

    intake.choose = choose
    return lambda: setattr(intake, "choose", lambda _: good)


async def fill(path, events) -> None:
    now = datetime.fromtimestamp(int(time.time()) - 60, UTC)
    ledger = open_ledger(path)
    await ledger.open()
    for number in range(BATCHES):
        batch_id = f"batch_{number}"
        created, ending = events.created(batch_id, time=now), events.succeeded(batch_id, time=now)
        await ledger.record_created(
            Submission("openai", "openai"), created.batch, created, loggers=LOGGERS, next_poll_at=0
        )
        claim = await ledger.claim("openai", batch_id, owner="test", lease_seconds=60)
        fields = {name: getattr(ending, name) for name in Settlement.model_fields if name != "settled_at"}
        assert await ledger.settle(claim, Settlement(settled_at=now, **fields), {}, ending, loggers=LOGGERS)
    await ledger.aclose()


async def replay_dead(path) -> int:
    """What was refused in part is dead, and can be sent again."""
    ledger = open_ledger(path)
    await ledger.open()
    number = sum([await ledger.replay(logger, dead_only=True) for logger in LOGGERS])
    await ledger.aclose()
    return number


def ids_of_spans(intake, path, names) -> set:
    """(trace, span) of every kept span with such a name."""
    messages = [ExportTraceServiceRequest.FromString(one.body) for one in intake.kept if one.path == path]
    spans = [span for one in messages for span in one.resource_spans[0].scope_spans[0].spans]
    return {(span.trace_id, span.span_id) for span in spans if span.name.startswith(names)}


def test_nothing_is_lost_and_nothing_is_two(tmp_path, intake, trouble, events):
    ledger, lines = str(tmp_path / "ledger.db"), tmp_path / "events.jsonl"
    asyncio.run(fill(ledger, events))
    sections = {
        "file": {"path": str(lines), "fsync": "never", "max_bytes": 50_000},
        "otel": {"endpoint": intake.url, "metrics": False, "logs": False, "trace_parenting": "child"},
        "langfuse": {"public_key": "pk", "secret_key": "sk", "base_url": intake.url, "timeout": 0.5},
        "datadog": {
            "api_key": "key",
            "api_url": intake.url,
            "timeout": 0.5,
            "events": False,
            "llm_observability": False,
        },
    }
    with Workers(ledger, sections) as workers:
        running = [workers.start(), workers.start()]
        for number in range(4):
            intake.wait_for(150 * (number + 1))
            assert workers.kill(running.pop(0)) == -signal.SIGKILL
            running.append(workers.start())
        assert [workers.wait(pid) for pid in running] == [0, 0]
        trouble()
        assert asyncio.run(replay_dead(ledger)) > 0
        assert workers.wait(workers.start()) == 0

    written = [event.id for event in read_events(lines)]
    expected = {event.id for number in range(BATCHES) for event in both(events, f"batch_{number}")}
    assert set(written) == expected
    assert len(ids_of_spans(intake, "/v1/traces", "create_batch")) == BATCHES
    assert len(ids_of_spans(intake, "/v1/traces", "batch ")) == BATCHES
    assert len(ids_of_spans(intake, "/api/public/otel/v1/traces", "create_batch")) == BATCHES
    assert len(ids_of_spans(intake, "/api/public/otel/v1/traces", "batch ")) == 3 * BATCHES
    series = last_written(intake)
    assert sum(value for (metric, *_), value in series.items() if metric == "batchmeter.batches.ended") == BATCHES
    assert sum(value for (metric, *_), value in series.items() if metric == "batchmeter.batches.submitted") == BATCHES


def both(events, batch_id) -> tuple:
    return events.created(batch_id), events.succeeded(batch_id)


def last_written(intake) -> dict:
    """What Datadog keeps."""
    kept = {}
    for request in intake.kept:
        if request.path == "/api/v2/series":
            for one in json.loads(request.body)["series"]:
                for point in one["points"]:
                    kept[one["metric"], tuple(one["tags"]), point["timestamp"]] = point["value"]
    return kept
