"""The Datadog logger: what it sends for a batch, and how a second's counts stay right whoever sends them."""

import json
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from tests.heavy import heavy

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    InternalServerError,
    PermissionDeniedError,
    Rejected,
    RetryLater,
)
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Submission
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter_datadog import DatadogLogger, DatadogSettings

RECORDED = datetime(2026, 11, 22, 10, 0, 20, tzinfo=UTC)
"""When the ending of `events` was recorded."""


class Clock:
    """Epoch seconds; sleeping moves it."""

    def __init__(self) -> None:
        self.now = RECORDED.timestamp() + 0.5

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def log(intake, clock):
    intake.usual.status, intake.usual.body = 202, b'{"errors": []}'
    loggers = []

    def make(client=None, **settings) -> DatadogLogger:
        chosen = {"api_key": "k3y-of-datadog", "api_url": intake.url, **settings}
        logger = DatadogLogger(DatadogSettings(**chosen))
        logger._seconds.clock, logger._seconds.sleep = clock, clock.sleep
        if client is not None:
            logger.startup(client.host)
        loggers.append(logger)
        return logger

    yield make
    for logger in loggers:
        await logger.shutdown()


@pytest.fixture
async def client(tmp_path, clock):
    """The part of a client that a logger sees: its ledger and its plugins."""
    ledger = open_ledger(str(tmp_path / "ledger.db"), clock=lambda: int(clock.now * 1000))
    await ledger.open()
    plugins = Plugins()
    yield SimpleNamespace(ledger=ledger, plugins=plugins, host=ClientHost(plugins, ledger))
    await ledger.aclose()


async def record(client, events, *batch_ids, **changes) -> list:
    """Batches that end in the same second; their endings."""
    endings = []
    for batch_id in batch_ids:
        created, ending = events.created(batch_id), events.succeeded(batch_id, **changes)
        await client.ledger.record_created(Submission("openai", "openai"), created.batch, created, next_poll_at=0)
        claim = await client.ledger.claim("openai", batch_id, owner="t", lease_seconds=60)
        assert await client.ledger.settle(claim, settlement(ending), {}, ending)
        endings.append(ending)
    return endings


def settlement(ending):
    from batchmeter.events import Settlement

    fields = {name: getattr(ending, name) for name in Settlement.model_fields if name != "settled_at"}
    return Settlement(settled_at=RECORDED, **fields)


def bodies(intake, path) -> list:
    return [json.loads(request.body) for request in intake.requests if request.path == f"/{path}"]


def last_written(intake) -> dict:
    """Series as Datadog keeps them: for each metric, tags and second the value sent last."""
    kept = {}
    for body in bodies(intake, "api/v2/series"):
        for series in body["series"]:
            for point in series["points"]:
                kept[series["metric"], tuple(series["tags"]), point["timestamp"]] = Decimal(repr(point["value"]))
    return kept


def total(intake, metric, *tags) -> Decimal:
    return sum(
        (value for (name, has, _), value in last_written(intake).items() if name == metric and {*tags} <= {*has}),
        Decimal(0),
    )


async def test_an_ending_is_counts_spans_a_note_and_samples(log, intake, events):
    await log().batch_success(events.succeeded())
    assert [request.path for request in intake.requests] == [
        "/api/v2/series",
        "/api/intake/llm-obs/v1/trace/spans",
        "/api/v1/events",
        "/api/v1/distribution_points",
    ]
    assert {request.headers["dd-api-key"] for request in intake.requests} == {"k3y-of-datadog"}
    assert total(intake, "batchmeter.cost_usd") == Decimal("0.1725015")
    assert total(intake, "batchmeter.tokens", "type:cached_input") == 200_000
    assert total(intake, "batchmeter.tokens") == 1_300_015
    assert total(intake, "batchmeter.requests", "outcome:failed", "status:completed") == 2
    assert total(intake, "batchmeter.batches.ended") == 1
    samples = {one["metric"]: one["points"][0][1] for one in bodies(intake, "api/v1/distribution_points")[0]["series"]}
    assert samples == {"batchmeter.batch.duration": [3600.0], "batchmeter.batch.cost": [0.1725015]}
    (note,) = bodies(intake, "api/v1/events")
    assert (note["aggregation_key"], note["alert_type"]) == ("batch_abc123", "warning")
    assert f"event_id:{events.succeeded().id}" in note["tags"]
    assert "998 of 1000 requests succeeded" in note["text"]


async def test_a_submission_is_a_count(log, intake, events, clock):
    clock.now = events.created().time.timestamp()
    await log().acreate_batch(events.created())
    assert [request.path for request in intake.requests] == ["/api/v2/series"]
    assert total(intake, "batchmeter.batches.submitted") == 1


async def test_two_batches_in_one_second_are_two(log, client, intake, events):
    first, second = await record(client, events, "batch_1", "batch_2")
    one_process, another = log(client), log(client)
    await one_process.batch_success(first)
    await another.batch_success(second)
    await one_process.batch_success(first)
    assert total(intake, "batchmeter.batches.ended") == 2
    assert total(intake, "batchmeter.cost_usd") == 2 * Decimal("0.1725015")
    assert {second for *_, second in last_written(intake)} == {int(RECORDED.timestamp())}


async def test_a_second_is_sent_when_it_is_over(log, client, intake, events, clock):
    (ending,) = await record(client, events, "batch_1")
    await log(client).batch_success(ending)
    assert clock.now >= RECORDED.timestamp() + 3


async def test_a_second_that_was_accepted_is_not_sent_again(log, client, intake, events):
    (ending,) = await record(client, events, "batch_1")
    await log(client).batch_success(ending)
    await log(client).batch_success(ending)
    assert len(bodies(intake, "api/v2/series")) == 1


async def test_a_second_that_was_refused_is_sent_whole(log, client, intake, events, answer):
    endings = await record(client, events, "batch_1", "batch_2")
    logger = log(client)
    intake.answers = [answer(500)]
    with pytest.raises(InternalServerError):
        await logger.batch_success(endings[0])
    await logger.batch_success(endings[1])
    await logger.batch_success(endings[0])
    first, again = [request.body for request in intake.requests if request.path == "/api/v2/series"]
    assert first == again


async def test_an_event_recorded_after_its_second_was_sent_is_counted(log, client, intake, events):
    (ending,) = await record(client, events, "batch_1")
    one_process, another = log(client), log(client)
    await one_process.batch_success(ending)
    (straggler,) = await record(client, events, "batch_2")
    await another.batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2
    await one_process.batch_success(straggler)
    assert total(intake, "batchmeter.batches.ended") == 2


async def test_counts_are_of_events_as_loggers_may_see_them(log, client, intake, events):
    class Redact:
        from batchmeter.hookspecs import hookimpl

        @hookimpl
        def redact(self, event):
            who = event.attribution.model_copy(update={"team": None})
            return event.model_copy(update={"attribution": who, "metadata": {}})

    client.plugins.register(Redact(), "redact")
    endings = await record(client, events, "batch_1", "batch_2")
    await log(client).batch_success(await client.plugins.redact(endings[0]))
    assert total(intake, "batchmeter.batches.ended") == 2
    assert not [request for request in intake.requests if b"team:search" in request.body]


SECONDS = heavy(5, 2)


async def record_late(client, events, seconds=SECONDS) -> list:
    """Two batches that end in each of so many seconds, long ago."""
    endings = []
    for number in range(seconds):
        at = RECORDED - timedelta(hours=2, seconds=number)
        endings += await record(client, events, f"batch_{number}a", f"batch_{number}b", time=at)
    return endings


def quiet(logger) -> DatadogLogger:
    """Metrics alone."""
    logger.settings = logger.settings.model_copy(update={"events": False, "llm_observability": False})
    return logger


async def test_late_events_are_counted_once_from_any_number_of_processes(log, client, intake, events, clock):
    endings = await record_late(client, events)
    processes = [quiet(log(client)) for _ in range(3)]
    for number, ending in enumerate([*endings, *endings]):
        await processes[number % 3].batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2 * SECONDS
    assert total(intake, "batchmeter.cost_usd") == 2 * SECONDS * Decimal("0.1725015")
    assert {clock.now - second < 3600 for *_, second in last_written(intake)} == {True}


async def test_late_and_live_events_do_not_replace_each_other(log, client, intake, events, clock):
    late = await record_late(client, events)
    live = []
    for number in range(6):
        clock.now += 1
        live += await record(client, events, f"live_{number}", time=datetime.fromtimestamp(clock.now, UTC))
    one_process, another = quiet(log(client)), quiet(log(client))
    for ending in [*live[:3], *late, *live[3:]]:
        await another.batch_success(ending)
    clock.now += 3
    live += await record(client, events, "live_now", time=datetime.fromtimestamp(clock.now, UTC))
    for ending in [*late, *live]:
        await one_process.batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2 * SECONDS + 7


async def test_events_of_long_ago_are_looked_through_once(log, client, intake, events, clock):
    ledger, asked = client.ledger, []

    class Watched:
        def __getattr__(self, name):
            return getattr(ledger, name)

        async def events(self, **chosen):
            asked.append(chosen["after"])
            return await ledger.events(**chosen)

    old = await record(client, events, *(f"old_{number}" for number in range(5)))
    endings = []
    for number in range(3):
        clock.now += 60
        endings += await record(client, events, f"batch_{number}", time=datetime.fromtimestamp(clock.now, UTC))
    clock.now += 3
    client.host = ClientHost(client.plugins, Watched())
    logger = quiet(log(client))
    for ending in (*endings, old[0]):
        await logger.batch_success(ending)
    assert [after for after in asked if after < 10] == [0, 0], "the first second's, and the old ones' own"
    assert total(intake, "batchmeter.batches.ended") == 8


async def test_what_was_counted_in_time_is_not_counted_again_by_a_late_replay(log, client, intake, events, clock):
    endings = await record(client, events, "batch_1", "batch_2")
    one_process = quiet(log(client))
    await one_process.batch_success(endings[0])
    for hours in (1.1, 2, 9):
        clock.now = RECORDED.timestamp() + hours * 3600
        for ending in endings:
            await one_process.batch_success(ending)
            await quiet(log(client)).batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2


async def test_a_late_event_refused_for_an_hour_counts_in_another_second(log, client, intake, events, clock, answer):
    endings = await record_late(client, events)
    for hours in (0, 1.5, 3):
        clock.now += hours * 3600
        for ending in endings:
            intake.answers = [answer(500)]
            with pytest.raises(InternalServerError):
                await quiet(log(client)).batch_success(ending)
    intake.requests.clear()
    for ending in endings:
        await quiet(log(client)).batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2 * SECONDS
    assert {clock.now - second < 3600 for *_, second in last_written(intake)} == {True}


async def test_while_another_process_finds_a_second_a_late_event_waits(log, client, intake, events, clock):
    (ending, *_) = await record_late(client, events, seconds=1)
    name = f"{int(ending.time.timestamp())} 0"
    await client.ledger.reserve_answer("datadog counts", name, lease_seconds=60)
    with pytest.raises(RetryLater):
        await quiet(log(client)).batch_success(ending)
    assert intake.requests == []
    clock.now += 61  # it was killed
    await quiet(log(client)).batch_success(ending)
    assert total(intake, "batchmeter.batches.ended") == 2


async def test_a_second_of_many_series_is_several_requests(log, intake, events):
    models = {f"m-{number}": {"lines": 1, "cost": "0.1"} for number in range(1200)}
    await quiet(log(max_tag_values=5000)).batch_success(
        events.succeeded(models=models, cost={"total": "120", "known": "120"})
    )
    sizes = [len(body["series"]) for body in bodies(intake, "api/v2/series")]
    assert sizes == [1000, 203]
    assert total(intake, "batchmeter.cost_usd") == 120


async def test_a_flood_of_late_events_waits(log, intake, events, clock):
    clock.now += 2 * 3600
    logger = log()
    late = events.created()
    used = []

    async def post(second, counts):
        used.append(second)

    for number in range(2988):
        await logger._seconds.send(late.model_copy(update={"id": str(number)}), post)
    assert len(set(used)) == 2988
    with pytest.raises(RetryLater):
        await logger.acreate_batch(events.created("batch_more"))
    clock.now += 60
    await logger.acreate_batch(events.created("batch_more"))
    assert total(intake, "batchmeter.batches.submitted") == 1


async def test_older_than_a_day_is_rejected_unless_history_is_kept(log, client, intake, events, clock):
    (ending,) = await record(client, events, "batch_1")
    clock.now += 30 * 86400
    with pytest.raises(Rejected, match="older than a day"):
        await log(client).batch_success(ending)
    assert intake.requests == []
    await log(client, historical_metrics=True).batch_success(ending)
    assert {second for *_, second in last_written(intake)} == {int(RECORDED.timestamp())}
    assert bodies(intake, "api/intake/llm-obs/v1/trace/spans") == []


async def test_a_correction_is_shown_and_not_counted_again(log, intake, events):
    await log().batch_success(events.succeeded(revision=2))
    assert [request.path for request in intake.requests] == ["/api/intake/llm-obs/v1/trace/spans", "/api/v1/events"]
    assert bodies(intake, "api/v1/events")[0]["title"] == "Batch batch_abc123 completed (correction 2)"


async def test_what_was_accepted_is_not_sent_again(log, intake, events, answer):
    logger = log()
    intake.answers = [answer(202), answer(202), answer(500)]
    with pytest.raises(InternalServerError):
        await logger.batch_success(events.succeeded())
    await logger.batch_success(events.succeeded())
    assert [request.path.rpartition("/")[2] for request in intake.requests] == [
        "series",
        "spans",
        "events",
        "events",
        "distribution_points",
    ]
    assert logger._accepted == {}


@pytest.mark.parametrize("with_ledger", [True, False])
@pytest.mark.parametrize(
    ("lost", "error"),
    [({"cut": True}, APIConnectionError), ({"status": 202, "body": b'{"errors":["one of two"]}'}, Rejected)],
)
async def test_samples_whose_answer_is_lost_are_not_sent_again(
    log, client, intake, events, answer, with_ledger, lost, error
):
    logger = log(client if with_ledger else None, events=False, llm_observability=False)
    (ending,) = await record(client, events, "batch_1")
    intake.answers = [answer(202), answer(**lost)]
    with pytest.raises(error):
        await logger.batch_success(ending)
    await logger.batch_success(ending)
    assert len(bodies(intake, "api/v1/distribution_points")) == 1


@pytest.mark.parametrize(
    "refusal", [{"status": 500}, {"status": 429, "headers": {"retry-after": "1"}}, {"status": 413}]
)
async def test_samples_that_were_refused_are_sent_again(log, client, intake, events, answer, refusal):
    (ending,) = await record(client, events, "batch_1")
    intake.answers = [answer(202), answer(**refusal)]
    settings = {"events": False, "llm_observability": False}
    with pytest.raises((InternalServerError, RetryLater, Rejected)):
        await log(client, **settings).batch_success(ending)
    await log(client, **settings).batch_success(ending)
    assert len(bodies(intake, "api/v1/distribution_points")) == 2


@pytest.mark.parametrize("hours", [0, 20])
async def test_another_process_and_a_replay_send_no_sample_again(log, client, intake, events, clock, hours):
    (ending,) = await record(client, events, "batch_1")
    clock.now += hours * 3600
    for _ in range(2):
        await log(client).batch_success(ending)
    assert len(bodies(intake, "api/v1/distribution_points")) == 1
    first, again = bodies(intake, "api/v1/events")
    assert first == again
    assert clock.now - first["date_happened"] < 18 * 3600, "or Datadog would not take it"


def spans(intake) -> list[dict]:
    (body,) = bodies(intake, "api/intake/llm-obs/v1/trace/spans")
    assert body["data"]["type"] == "span"
    return body["data"]["attributes"]["spans"]


async def test_a_span_a_model_with_explicit_cost(log, intake, events):
    await log(env="prod", ml_app="nightly").batch_success(events.succeeded())
    batch, mini, nano = spans(intake)
    attributes = bodies(intake, "api/intake/llm-obs/v1/trace/spans")[0]["data"]["attributes"]
    assert (attributes["ml_app"], attributes["session_id"]) == ("nightly", "nightly-7")
    assert {"env:prod", "service:batchmeter", "user_id:ada", "batch_id:batch_abc123", "nightly"} <= {
        *attributes["tags"]
    }
    assert [one["meta"]["kind"] for one in (batch, mini, nano)] == ["workflow", "llm", "llm"]
    assert {mini["parent_id"], nano["parent_id"]} == {batch["span_id"]}
    assert len({one["trace_id"] for one in (batch, mini, nano)}) == 1
    assert mini["metrics"]["total_cost"] == 0.1725
    assert mini["metrics"]["non_cached_input_tokens"] + mini["metrics"]["cache_read_input_tokens"] == 1_000_000
    assert (mini["meta"]["model_name"], mini["meta"]["model_provider"]) == ("gpt-4o-mini-2024-07-18", "openai")
    assert mini["duration"] == 3600 * 10**9
    for one in (batch, mini, nano):
        assert all(isinstance(value, int | float | str) for value in one["meta"]["metadata"].values())


async def test_no_cost_is_invented_where_none_is_known(log, intake, events):
    models = {"mystery-1": {"lines": 2, "usage": {"input_tokens": 5, "output_tokens": 5}, "cost": None}}
    cost = {"total": None, "known": "0.25", "unknown": {"unknown_model": 2}}
    await log().batch_success(events.succeeded(models=models, cost=cost))
    _, span = spans(intake)
    assert span["meta"]["kind"] == "task"
    assert "model_name" not in json.dumps(span)
    assert "total_cost" not in span["metrics"]
    assert total(intake, "batchmeter.cost_usd", "model:unknown") == Decimal("0.25")
    samples = {one["metric"] for one in bodies(intake, "api/v1/distribution_points")[0]["series"]}
    assert samples == {"batchmeter.batch.duration"}


@pytest.mark.parametrize(
    ("hours_ago", "ran", "shown"), [(0, 24, 20), (10, 24, 10), (2, 1, 1), (22, 10, 0), (23.5, 1, None)]
)
async def test_spans_stay_within_a_day(log, intake, events, clock, hours_ago, ran, shown):
    ended = datetime.fromtimestamp(clock.now, UTC) - timedelta(hours=hours_ago)
    times = {"created_at": ended - timedelta(hours=ran), "ended_at": ended}
    await log().batch_success(events.succeeded(times=times, time=ended))
    if shown is None:
        assert bodies(intake, "api/intake/llm-obs/v1/trace/spans") == []
        return
    batch, *_ = spans(intake)
    assert batch["duration"] / 3600e9 == pytest.approx(shown)
    assert batch["meta"]["metadata"]["created_at"] < batch["meta"]["metadata"]["ended_at"]


async def test_tags_of_metrics_have_a_bound(log, intake, events):
    logger = log(metadata_tags=("project",), max_tag_values=3, env="Prod EU")
    for number in range(6):
        metadata = {"project": f"p{number}", "request": f"r{number}"}
        await logger.batch_success(events.succeeded(f"batch_{number}", metadata=metadata))
    tags = {tag for _, has, _ in last_written(intake) for tag in has}
    assert {tag for tag in tags if tag.startswith("project:")} == {
        "project:p0",
        "project:p1",
        "project:p2",
        "project:other",
    }
    assert "env:prod_eu" in tags
    assert not [tag for tag in tags if "batch_" in tag or "ada" in tag or tag.startswith("request:")]


@pytest.mark.parametrize(
    ("answer_with", "error"),
    [
        ({"status": 403, "body": b'{"errors":["bad key k3y-of-datadog"]}'}, PermissionDeniedError),
        ({"status": 413}, Rejected),
        ({"status": 429, "headers": {"retry-after": "9"}}, RetryLater),
        ({"status": 500}, InternalServerError),
        ({"status": 202, "body": b'{"errors":["metric name too long"]}'}, Rejected),
        ({"status": 202, "body": b'{"errors":["no such key k3y-of-datadog"]}'}, Rejected),
        ({"status": 200, "body": b"<html>"}, APIResponseError),
        ({"status": 200, "body": b"<html>dd-api-key: k3y-of-datadog"}, APIResponseError),
        ({"status": 302, "headers": {"location": "/login"}}, APIResponseError),
        ({"cut": True}, APIConnectionError),
    ],
)
async def test_what_is_no_acknowledgement_raises(log, intake, events, answer, answer_with, error):
    logger = log()
    intake.usual = answer(**answer_with)
    with pytest.raises(error) as caught:
        await logger.batch_success(events.succeeded())
    assert "k3y-of-datadog" not in f"{caught.value!r}"


RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "recordings"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("datadog-01-series-v1", None),
        ("datadog-02-series-v2", None),
        ("datadog-03-logs", None),
        ("datadog-04-bad-key", PermissionDeniedError),
    ],
)
async def test_recorded_intake_answers_are_understood(log, intake, events, answer, name, error):
    if not (path := RECORDINGS / f"{name}.json").exists():
        pytest.skip("recorded traffic is not in this checkout (../shared/data/recordings)")
    recorded = json.loads(path.read_text())["exchanges"][0]["response"]
    body, kind = recorded["body"]["text"], {"content-type": dict(recorded["headers"]).get("content-type", "text/json")}
    intake.usual = answer(recorded["status"], body.encode(), headers=kind)
    if error is None:
        await log().batch_success(events.succeeded())
        return
    with pytest.raises(error, match="answered 403: API key is invalid$"):
        await log().batch_success(events.succeeded())


async def test_refusal_in_an_accepted_answer_is_shown_as_text(log, intake, events, answer):
    intake.usual = answer(202, b'{"errors":[{"title":"Invalid","detail":"metric name too long"}, "tag too long"]}')
    with pytest.raises(Rejected, match="refused what was in it: metric name too long; tag too long$"):
        await log().batch_success(events.succeeded())


async def test_each_kind_can_be_switched_off(log, intake, events):
    await log(metrics=False, events=False, llm_observability=False).batch_success(events.succeeded())
    assert intake.requests == []


def test_variables_are_honoured(monkeypatch):
    for name, value in {
        "DD_API_KEY": "k3y-of-datadog",
        "DD_SITE": "datadoghq.eu",
        "DD_ENV": "prod",
        "DD_SERVICE": "billing",
        "DD_TAGS": "region:eu,tier:1",
        "DD_AGENT_HOST": "10.0.0.7",
        "DD_LLMOBS_ENABLED": "false",
    }.items():
        monkeypatch.setenv(name, value)
    settings = DatadogSettings()
    assert settings.agentless
    assert settings.base_url == "https://api.datadoghq.eu"
    assert (settings.env, settings.service, settings.tags) == ("prod", "billing", ("region:eu", "tier:1"))
    assert settings.agent_url == "http://10.0.0.7:8126"
    assert not settings.llm_observability
    assert "k3y-of-datadog" not in repr(settings)


@pytest.mark.parametrize("wrong", [{"mode": "agentless"}, {"max_tag_values": 0}, {"series": "v3"}, {"key": "x"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        DatadogSettings(**wrong)


@pytest.fixture
async def agent(intake, clock, tmp_path, monkeypatch):
    """A logger in agent mode, the datagrams that it sends, and the agent's HTTP side."""
    monkeypatch.setenv("DD_ENV", "prod")
    path = tmp_path / "dsd.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(1)
        logger = DatadogLogger(DatadogSettings(dogstatsd_socket=str(path), agent_port=intake.server_port))
        logger._seconds.clock = clock
        yield SimpleNamespace(logger=logger, receiver=receiver, path=path)
        await logger.shutdown()


def datagrams(receiver) -> list[str]:
    receiver.setblocking(False)
    found = []
    while True:
        try:
            found.append(receiver.recv(65536).decode().strip())
        except BlockingIOError:
            return found


async def test_the_agent_gets_datagrams_and_spans(agent, intake, events):
    await agent.logger.batch_success(events.succeeded())
    lines = "\n".join(datagrams(agent.receiver)).splitlines()
    cost = [line for line in lines if line.startswith("batchmeter.cost_usd:")]
    assert sorted(float(line.split(":")[1].split("|")[0]) for line in cost) == [0.0000015, 0.1725]
    assert all(line.count("env:prod") == 1 for line in cost)
    assert [line for line in lines if line.startswith("batchmeter.batch.duration:3600.0|d|")]
    assert [line for line in lines if line.startswith("_e{") and "Batch batch_abc123 completed" in line]
    (request,) = intake.requests
    assert request.path == "/evp_proxy/v4/api/v2/llmobs"
    assert request.headers["x-datadog-evp-subdomain"] == "llmobs-intake"
    assert [envelope["spans"][0]["meta"]["span"]["kind"] for envelope in json.loads(request.body)] == [
        "workflow",
        "llm",
        "llm",
    ]


async def test_an_agents_counts_add_up(agent, client, events):
    endings = await record(client, events, "batch_1", "batch_2")
    agent.logger.startup(client.host)
    for ending in [*endings, *endings]:
        await agent.logger.batch_success(ending)
    lines = "\n".join(datagrams(agent.receiver)).splitlines()
    ended = [line.split(":")[1].split("|")[0] for line in lines if line.startswith("batchmeter.batches.ended:")]
    assert sum(map(float, ended)) == 2


async def test_an_agent_that_is_not_there_is_noticed_where_it_can_be(agent, events):
    agent.path.unlink()
    with pytest.raises(APIConnectionError, match="no DogStatsD socket"):
        await agent.logger.batch_success(events.succeeded())


async def test_the_applications_own_client_is_left_alone(agent, events):
    import datadog

    before = dict(vars(datadog.statsd))
    await agent.logger.batch_success(events.succeeded())
    assert datadog.statsd.host == before["host"]
    assert datadog.statsd.socket is None
    assert datadog.api._api_key is None
