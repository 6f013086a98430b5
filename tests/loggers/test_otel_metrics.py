"""OpenTelemetry metrics: cumulative sums of what the ledger holds, whoever exports them and however often."""

import asyncio
import itertools
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from batchmeter import hookimpl
from batchmeter.events import BATCH_KINDS, BatchTimes, Settlement, Subscription
from batchmeter.host import PlannedBatch
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import DeliveryResult, Submission
from batchmeter.models import Attribution
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.spend.prune import prune
from batchmeter_budgets import Budgets, BudgetsSettings
from batchmeter_otel import OTelLogger, OTelSettings
from batchmeter_otel.otlp import Channel
from batchmeter_otel.reporter import Reporter, instance_of
from batchmeter_otel.resource import resource

NOW = 1_800_000_000_000
MINUTE = 60_000


class Book:
    """A ledger with a clock in the test's hand, and batches put into it."""

    def __init__(self, path) -> None:
        self.now = NOW
        self.ledger = open_ledger(str(path), clock=lambda: self.now)
        self.numbers = itertools.count()

    def new_host(self, ledger=None) -> ClientHost:
        return ClientHost(Plugins(), ledger or self.ledger)

    async def settle(self, events, seconds=3600.0, batch_id=None, account="openai", **changes) -> Settlement:
        batch_id = batch_id or f"batch_{next(self.numbers)}"
        event = events.succeeded(batch_id, account=account, times=BatchTimes(total_seconds=seconds), **changes)
        await self.ledger.record_created(
            Submission(account, "openai"),
            event.batch,
            events.created(batch_id, account=account),
            next_poll_at=self.now,
        )
        settlement = self.settlement(event)
        claim = await self.ledger.claim(account, batch_id, owner="test", lease_seconds=60)
        assert await self.ledger.settle(claim, settlement, {}, event)
        return settlement

    def settlement(self, event) -> Settlement:
        known = {name: getattr(event, name) for name in Settlement.model_fields if name != "settled_at"}
        return Settlement(settled_at=datetime.fromtimestamp(self.now / 1000, UTC), **known)


@pytest.fixture
async def book(tmp_path):
    book = Book(tmp_path / "ledger.db")
    await book.ledger.open()
    await book.ledger.subscribe((Subscription("otel", frozenset(BATCH_KINDS)),))
    book.host = book.new_host()
    yield book
    await book.ledger.aclose()


@pytest.fixture
def new_reporter(intake):
    channels = []

    def make() -> Reporter:
        channels.append(Channel(OTelSettings(endpoint=intake.url).exporter("metrics", OTLPMetricExporter)))
        return Reporter(channels[-1], resource())

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture
def reporter(new_reporter):
    return new_reporter()


def newest(intake) -> dict:
    message = ExportMetricsServiceRequest.FromString(intake.requests[-1].body)
    return {metric.name: metric for metric in message.resource_metrics[0].scope_metrics[0].metrics}


def by(metric, attribute, **where) -> dict:
    """The attribute's value -> data point, of the points whose attributes hold `where`."""
    data = getattr(metric, metric.WhichOneof("data"))
    found = {}
    for point in data.data_points:
        named = {item.key: item.value.string_value for item in point.attributes}
        if all(named[name.replace("__", ".")] == value for name, value in where.items()):
            assert named[attribute] not in found
            found[named[attribute]] = point
    return found


async def test_sums_are_the_ledgers(book, reporter, intake, events):
    for _ in range(2):
        await book.settle(events)
    await reporter.report(book.host)
    metrics = newest(intake)
    assert intake.requests[-1].path == "/v1/metrics"
    cost = metrics["batchmeter.batch.cost"]
    assert (cost.unit, cost.sum.is_monotonic, cost.sum.aggregation_temporality) == ("{USD}", True, 2)
    assert sum(Decimal(repr(point.as_double)) for point in cost.sum.data_points) == 2 * Decimal("0.1725015")
    mini = by(metrics["batchmeter.batch.tokens"], "gen_ai.token.type", gen_ai__response__model="gpt-4o-mini-2024-07-18")
    tokens = {kind: point.as_int for kind, point in mini.items()}
    assert tokens == {"input": 2_000_000, "output": 600_000, "cache_read": 400_000, "reasoning": 100_000}
    outcomes = by(metrics["batchmeter.batch.requests"], "batchmeter.request.outcome")
    requests = {outcome: point.as_int for outcome, point in outcomes.items()}
    assert requests == {"succeeded": 1996, "failed": 4}
    count = by(metrics["batchmeter.batch.count"], "gen_ai.batch.status")["completed"]
    assert count.as_int == 2
    assert count.start_time_unix_nano == NOW * 10**6


async def test_accounts_that_share_an_id_are_all_counted(book, reporter, intake, events):
    await book.settle(events, batch_id="batch_of_two")
    book.now += 10 * MINUTE
    await reporter.report(book.host)
    await book.settle(events)
    await book.settle(events, batch_id="batch_of_two", account="second")
    book.now += 10 * MINUTE
    await reporter.report(book.host)
    points = newest(intake)["batchmeter.batch.count"].sum.data_points
    assert sum(point.as_int for point in points) == 3


async def test_no_attribute_grows_with_the_batches(book, reporter, intake, events):
    for _ in range(5):
        await book.settle(events)
    await reporter.report(book.host)
    assert b"batch_1" not in intake.requests[-1].body
    assert b"ada" not in intake.requests[-1].body


async def test_durations_fall_into_batch_sized_buckets(book, reporter, intake, events):
    for seconds in (30, 60, 3601, 100_000):
        await book.settle(events, seconds=seconds)
    await reporter.report(book.host)
    (point,) = newest(intake)["batchmeter.batch.duration"].histogram.data_points
    assert list(point.explicit_bounds)[:5] == [60, 300, 900, 1800, 3600]
    assert list(point.bucket_counts) == [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert (point.count, point.sum, point.min, point.max) == (4, 103_691, 30, 100_000)


async def test_a_second_export_adds_what_came_since_and_nothing_twice(book, reporter, intake, events):
    counts = []
    for _ in range(4):
        await book.settle(events)
        await reporter.report(book.host)
        counts.append(newest(intake)["batchmeter.batch.count"].sum.data_points[0].as_int)
        book.now += 2 * MINUTE
    await reporter.report(book.host)
    counts.append(newest(intake)["batchmeter.batch.count"].sum.data_points[0].as_int)
    assert counts == [1, 2, 3, 4, 4]


async def test_another_process_reports_the_same_series(book, reporter, new_reporter, intake, events):
    await book.settle(events)
    await reporter.report(book.host)
    await new_reporter().report(book.new_host())
    assert intake.requests[0].body == intake.requests[1].body
    assert instance_of(book.ledger.url).encode() in intake.requests[0].body


async def test_gauges_of_plugins_are_exported(book, new_reporter, intake, events):
    plugins = Plugins()
    budgets = Budgets(BudgetsSettings.model_validate({"all": {"limit": "50"}, "queue": {"limit_tokens": 9}}))
    plugins.register(budgets, "budgets")
    plugins.register(
        SimpleNamespace(register_metrics=hookimpl(optionalhook=True)(lambda register: register(broken))), "bad"
    )
    host = ClientHost(plugins, book.ledger)
    await budgets.startup(host)
    who = Attribution(team="search")
    one = SimpleNamespace(requests=1, input_tokens=5, priced_as="gpt-5", expected=None, upper=Decimal("1.25"))
    estimate = SimpleNamespace(requests=1, expected=None, upper=one.upper, models={"gpt-5": one}, unknown=())
    await budgets.before_submit(PlannedBatch("openai", "openai", None, "gpt-5", None, "file-1", who, id="s1"), estimate)
    await new_reporter().report(host)
    metrics = newest(intake)
    found = {
        name: by(metrics[f"batchmeter.budget.{name}"], "batchmeter.budget")
        for name in ("limit_usd", "reserved_usd", "reserved_tokens", "spent_usd", "uncertain_usd")
    }
    assert {name: {key: point.as_double for key, point in points.items()} for name, points in found.items()} == {
        "limit_usd": {"all": 50.0},
        "reserved_usd": {"all": 1.25},
        "reserved_tokens": {"queue": 5.0},
        "spent_usd": {"all": 0.0},
        "uncertain_usd": {"all": 0.0},
    }
    assert metrics["batchmeter.budget.reserved_usd"].unit == "{USD}"
    await budgets.shutdown()


async def broken():
    raise RuntimeError("no gauges today")


async def test_unknown_cost_counts_what_is_known(book, reporter, intake, events):
    models = {name: {"lines": 1, "cost": cost} for name, cost in (("a", "0.25"), ("b", None))}
    cost = {"total": None, "known": "0.75", "unknown": {"unknown_model": 1}}
    await book.settle(events, models=models, cost=cost)
    await reporter.report(book.host)
    models = by(newest(intake)["batchmeter.batch.cost"], "gen_ai.response.model")
    costs = {model: point.as_double for model, point in models.items()}
    assert costs == {"a": 0.25, "unknown": 0.5}


async def test_what_is_pruned_stays_in_the_sums_of_every_process(book, new_reporter, intake, events):
    models = {
        name: {"lines": 1, "usage": {"input_tokens": 7}, "cost": cost} for name, cost in (("a", "0.25"), ("b", None))
    }
    unpriced = {"models": models, "cost": {"total": None, "known": "0.75", "unknown": {"unknown_model": 1}}}
    for seconds, changes in ((30, {}), (60, unpriced), (3601, {}), (100_000, unpriced), (None, {"account": "eu"})):
        await book.settle(events, seconds=seconds, **changes)
    book.now += 2 * MINUTE
    cut = book.now
    young = await book.settle(events, seconds=90)
    await accept_all(book)
    book.now += 2 * MINUTE
    running = new_reporter()
    before = await sums_of(running, book, intake)
    assert await prune(book.ledger, settled_before=cut) == 5
    assert await sums_of(running, book, intake) == before
    assert await sums_of(new_reporter(), book, intake, book.new_host()) == before
    assert await prune(book.ledger, settled_before=book.now) == 1
    assert await sums_of(running, book, intake) == before
    await book.settle(events, seconds=90)
    book.now += 2 * MINUTE
    after = await sums_of(running, book, intake)
    assert after == await sums_of(new_reporter(), book, intake, book.new_host()) != before
    assert young.batch_id not in str(after)


async def test_while_batches_are_pruned_no_sums_are_told(book, reporter, intake, events):
    """Pruned batches may be missing from both what is left and what is gone."""

    class Pruning:
        def __getattr__(self, name):
            return getattr(book.ledger, name)

        async def settlements(self, **wanted):
            await accept_all(book)
            await prune(book.ledger, settled_before=book.now)
            return await book.ledger.settlements(**wanted)

    await book.settle(events)
    book.now += 2 * MINUTE
    await reporter.report(book.new_host(Pruning()))
    assert intake.requests == []
    await reporter.report(book.host)
    assert newest(intake)["batchmeter.batch.count"].sum.data_points[0].as_int == 1


async def sums_of(reporter, book, intake, host=None) -> dict:
    """An export's contents, but for its own time."""
    await reporter.report(host or book.host)
    found = {}
    for name, metric in newest(intake).items():
        data = getattr(metric, metric.WhichOneof("data"))
        for point in data.data_points if name.startswith("batchmeter.batch.") else ():
            point.time_unix_nano = 0
            found[name, *sorted((item.key, item.value.string_value) for item in point.attributes)] = str(point)
    return found


async def accept_all(book) -> None:
    while claimed := await book.ledger.claim_deliveries("otel", owner="t", limit=10, lease_seconds=60):
        await book.ledger.finish_deliveries([DeliveryResult(one, "delivered") for one in claimed])


async def test_backlogs_are_gauges(book, reporter, intake, events):
    await book.settle(events)
    book.now += MINUTE
    await reporter.report(book.host)
    metrics = newest(intake)
    assert metrics["batchmeter.deliveries.pending"].gauge.data_points[0].as_int == 2
    assert metrics["batchmeter.deliveries.oldest_pending"].gauge.data_points[0].as_double == 60.0
    assert metrics["batchmeter.deliveries.dead"].gauge.data_points[0].as_int == 0


async def test_an_empty_ledger_sends_nothing(book, reporter, intake):
    assert await reporter.report(book.host)
    assert intake.requests == []


@pytest.mark.parametrize(("status", "goes_on"), [(500, True), (401, True), (404, False), (405, False)])
async def test_a_refusal_is_a_warning(book, reporter, intake, events, answer, caplog, status, goes_on):
    intake.usual = answer(status=status)
    await book.settle(events)
    assert await reporter.report(book.host) is goes_on
    assert str(status) in caplog.text


async def test_a_client_reports_while_open_and_when_it_closes(book, intake, events, monkeypatch):
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    logger = OTelLogger(OTelSettings(endpoint=intake.url))
    await logger.startup(book.host)
    await asyncio.sleep(0)  # the task begins
    await book.settle(events)
    await asyncio.to_thread(logger.acreate_batch, events.created())
    await logger.shutdown()
    assert newest(intake)["batchmeter.batch.count"].sum.data_points[0].as_int == 1


async def test_a_command_that_delivered_nothing_is_not_held_up(book, intake, events):
    logger = OTelLogger(OTelSettings(endpoint=intake.url))
    await logger.startup(book.host)
    await asyncio.sleep(0)
    await book.settle(events)
    await logger.shutdown()
    assert intake.requests == []
