"""Events of many batches, receivers in trouble, deliverers killed at random: every logger ends with every event, once by its id."""

import asyncio
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.heavy import heavy
from tests.warm_python import WARM

from batchmeter.events import BATCH_KINDS, Settlement, Subscription
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Submission
from batchmeter_datadog.spans import spans_of
from batchmeter_file import read_events

BATCHES = heavy(60, 24)
KILLS = heavy(3, 2)
AT_A_TIME = 8
LOGGERS = ("file", "otel", "langfuse", "datadog")
WORKER = """
import asyncio, json, os, sys, traceback
import batchmeter_datadog, batchmeter_file, batchmeter_langfuse, batchmeter_otel
from batchmeter.runtime.client_host import ClientHost
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter.tracker.deliver import Deliverer
from batchmeter.tracker.delivery_lane import LaneOptions

OPTIONS = LaneOptions(timeout=2, lease=3, block=8, at_a_time=8, backoff_first=0.05, backoff_longest=0.2, threshold=10**6)

async def main(path, sections):
    plugins = Plugins.load(Settings(load=tuple(sections), plugins=sections), {})
    ledger = open_ledger(path)
    await ledger.open()
    await plugins.startup(ClientHost(plugins, ledger))
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
        command = [WARM, "-c", WORKER, ledger, json.dumps(sections)]
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
SAMPLES = "/api/v1/distribution_points"


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
    named = answer(202, b'{"errors": ["one of them is malformed"]}', {"content-type": "application/json"}, takes=False)

    def choose(request):
        drawn = chance.random()
        if chance.random() < 0.03:
            return partial if request.path.endswith("/v1/traces") else named
        for share, one in bad:
            drawn -= share
            if drawn < 0:
                return one
        return good

    said, calm = [], threading.Event()

    def noted(request):
        said.append((request, good if calm.is_set() else choose(request)))
        return said[-1][1]

    intake.choose = noted
    return SimpleNamespace(said=said, calm=calm.set)


@pytest.fixture
def recorded(events) -> list:
    """A minute ago: (created, ended) of every batch, each of which took another time."""
    now = datetime.fromtimestamp(int(time.time()) - 60, UTC)
    both = []
    for number in range(BATCHES):
        batch_id, seconds = f"batch_{number}", number + 1
        times = {"created_at": now - timedelta(seconds=seconds), "ended_at": now, "total_seconds": seconds}
        both.append((events.created(batch_id, time=now), events.succeeded(batch_id, time=now, times=times)))
    return both


async def fill(path, recorded) -> None:
    ledger = open_ledger(path)
    await ledger.open()
    await ledger.subscribe(tuple(Subscription(name, frozenset(BATCH_KINDS)) for name in LOGGERS))
    for created, ending in recorded:
        batch_id, now = created.batch_id, ending.time
        await ledger.record_created(Submission("openai", "openai"), created.batch, created, next_poll_at=0)
        claim = await ledger.claim("openai", batch_id, owner="test", lease_seconds=60)
        fields = {name: getattr(ending, name) for name in Settlement.model_fields if name != "settled_at"}
        assert await ledger.settle(claim, Settlement(settled_at=now, **fields), {}, ending)
    await ledger.aclose()


async def replay_dead(path) -> int:
    """A delivery that was refused in part is dead, and can be sent again."""
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


def test_nothing_is_lost_and_nothing_is_two(tmp_path, intake, trouble, recorded):
    ledger, lines = str(tmp_path / "ledger.db"), tmp_path / "events.jsonl"
    asyncio.run(fill(ledger, recorded))
    sections = {
        "file": {"path": str(lines), "fsync": "never", "max_bytes": 50_000},
        "otel": {"endpoint": intake.url, "metrics": False, "logs": False, "trace_parenting": "child"},
        "langfuse": {"public_key": "pk", "secret_key": "sk", "base_url": intake.url, "timeout": 0.5},
        "datadog": {"api_key": "key", "api_url": intake.url, "timeout": 0.5},
    }
    with Workers(ledger, sections) as workers:
        running = [workers.start(), workers.start()]
        for number in range(KILLS):
            intake.wait_for(BATCHES * (number + 1))
            assert workers.kill(running.pop(0)) == -signal.SIGKILL
            running.append(workers.start())
        assert [workers.wait(pid) for pid in running] == [0, 0]
        trouble.calm()
        assert asyncio.run(replay_dead(ledger)) > 0
        assert workers.wait(workers.start()) == 0

    written = [event.id for event in read_events(lines)]
    assert set(written) == {event.id for both in recorded for event in both}
    assert len(ids_of_spans(intake, "/v1/traces", "create_batch")) == BATCHES
    assert len(ids_of_spans(intake, "/v1/traces", "batch ")) == BATCHES
    assert len(ids_of_spans(intake, "/api/public/otel/v1/traces", "create_batch")) == BATCHES
    assert len(ids_of_spans(intake, "/api/public/otel/v1/traces", "batch ")) == 3 * BATCHES
    ended = [ending for _, ending in recorded]
    assert datadog_notes(intake) == {one.id: f"Batch {one.batch_id} completed" for one in ended}
    assert datadog_spans(intake) == {
        (span["trace_id"], span["span_id"]): span for one in ended for span in spans_of(one, one.time)
    }
    answers = answers_to_samples(trouble.said)
    assert not [one for one in answers.values() if not all(map(refuses, one[:-1]))]
    assert len([one for one in answers.values() if not refuses(one[-1])]) >= BATCHES - KILLS * AT_A_TIME
    series = last_written(intake)
    assert sum(value for (metric, *_), value in series.items() if metric == "batchmeter.batches.ended") == BATCHES
    assert sum(value for (metric, *_), value in series.items() if metric == "batchmeter.batches.submitted") == BATCHES


def datadog_notes(intake) -> dict:
    """Titles by event id; every copy is the same."""
    kept = {request.body for request in intake.kept if request.path == "/api/v1/events"}
    found = {id_of(note): note["title"] for note in map(json.loads, kept)}
    assert len(found) == len(kept)
    return found


def id_of(note) -> str:
    (found,) = [tag.removeprefix("event_id:") for tag in note["tags"] if tag.startswith("event_id:")]
    return found


def datadog_spans(intake) -> dict:
    """By trace and span id; every copy is the same."""
    kept = {request.body for request in intake.kept if request.path == "/api/intake/llm-obs/v1/trace/spans"}
    spans = [span for body in kept for span in json.loads(body)["data"]["attributes"]["spans"]]
    found = {(span["trace_id"], span["span_id"]): span for span in spans}
    assert len(found) == len(spans)
    return found


def refuses(answer) -> bool:
    """Clearly: the sender knows that nothing was taken."""
    return not (answer.cut or answer.hang or answer.status == 202)


def answers_to_samples(said) -> dict:
    """Answers to the distribution points of each batch, told by its duration."""
    found = defaultdict(list)
    for request, answer in said:
        if request.path == SAMPLES:
            (duration,) = [one for one in json.loads(request.body)["series"] if one["metric"].endswith("duration")]
            found[duration["points"][0][1][0]].append(answer)
    return found


def last_written(intake) -> dict:
    """Points that Datadog keeps."""
    kept = {}
    for request in intake.kept:
        if request.path == "/api/v2/series":
            for one in json.loads(request.body)["series"]:
                for point in one["points"]:
                    kept[one["metric"], tuple(one["tags"]), point["timestamp"]] = point["value"]
    return kept
