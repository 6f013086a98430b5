"""OTLP as oteltap and Datadog's test agent read it: spans, log events, metrics, and Langfuse's bytes."""

from datetime import UTC, datetime

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

from batchmeter.events import Settlement
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Submission
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_otel import OTelLogger, OTelSettings
from batchmeter_otel.otlp import Channel
from batchmeter_otel.reporter import Reporter
from batchmeter_otel.resource import resource


@pytest.fixture
def send(events):
    """One batch's events through a logger, and the loggers closed."""

    def deliver(batch_id, url):
        logger = OTelLogger(OTelSettings(endpoint=url))
        logger.acreate_batch(events.created(batch_id))
        logger.batch_success(events.succeeded(batch_id))
        logger.close()

    return deliver


async def report(tmp_path, events, url) -> None:
    ledger = open_ledger(str(tmp_path / "ledger.db"))
    await ledger.open()
    event = events.succeeded("batch_metrics")
    await ledger.record_created(
        Submission("openai", "openai"), event.batch, events.created("batch_metrics"), next_poll_at=0
    )
    claim = await ledger.claim("openai", "batch_metrics", owner="t", lease_seconds=60)
    fields = {name: getattr(event, name) for name in Settlement.model_fields if name != "settled_at"}
    settlement = Settlement(settled_at=datetime.now(UTC), **fields)
    assert await ledger.settle(claim, settlement, {}, event)
    channel = Channel(OTelSettings(endpoint=url).exporter("metrics", OTLPMetricExporter))
    assert await Reporter(channel, resource()).report(ClientHost(Plugins(), ledger))
    channel.close()
    await ledger.aclose()


def test_oteltap_reads_spans_and_log_events(oteltap, send):
    send("batch_tap", oteltap.url)
    assert oteltap.wait('"create_batch gpt-4o-mini"', "batch_tap")
    assert oteltap.wait('"batch gpt-4o-mini"', "batch_tap", "gen_ai.usage.cost")
    assert oteltap.wait("batchmeter.batch_success", "batch_tap")


async def test_oteltap_reads_metrics(oteltap, tmp_path, events):
    await report(tmp_path, events, oteltap.url)
    for name in ("count", "requests", "tokens", "cost", "duration"):
        assert oteltap.wait(f'"batchmeter.batch.{name}"')


def test_datadogs_agent_reads_spans_and_log_events(agent, send):
    send("batch_agent", agent.otlp)
    traces, logs = str(agent.otlp_got("traces")), str(agent.otlp_got("logs"))
    assert "create_batch gpt-4o-mini" in traces
    assert "'batch gpt-4o-mini'" in traces
    assert "gen_ai.usage.cost" in traces
    assert "batchmeter.batch_success" in logs


async def test_datadogs_agent_reads_metrics(agent, tmp_path, events):
    await report(tmp_path, events, agent.otlp)
    assert "batchmeter.batch.duration" in str(agent.otlp_got("metrics"))


async def test_datadogs_agent_reads_what_langfuse_gets(agent, events, enabled, monkeypatch):
    monkeypatch.setenv("LANGFUSE_OTEL_TRACES_EXPORT_PATH", "/v1/traces")
    logger = enabled(LangfuseLogger(LangfuseSettings(public_key="pk", secret_key="sk", base_url=agent.otlp)))
    await logger.deliver(events.succeeded("batch_langfuse"))
    traces = str(agent.otlp_got("traces"))
    for expected in ("batch_langfuse", "langfuse.observation.cost_details", "gpt-4.1-nano-2025-04-14"):
        assert expected in traces
