"""Datadog's own test agent, VictoriaMetrics' Datadog API and the Etsy daemon, reading what the logger sends."""

import base64
import json
import re
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from batchmeter_datadog import DatadogLogger, DatadogSettings


@pytest.fixture
async def log():
    loggers = []

    def make(**settings) -> DatadogLogger:
        loggers.append(DatadogLogger(DatadogSettings(**settings)))
        return loggers[-1]

    yield make
    for logger in loggers:
        await logger.shutdown()


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


async def test_the_agent_takes_a_span_of_a_whole_day(agent, log, events, now):
    port = int(agent.url.rpartition(":")[2])
    ended = now - timedelta(minutes=5)
    times = {"created_at": ended - timedelta(hours=23), "ended_at": ended}
    logger = log(mode="agent", agent_host="127.0.0.1", agent_port=port, metrics=False, events=False)
    await logger.batch_success(events.succeeded("batch_day", time=now, times=times))
    (request,) = [one for one in agent.requests() if one["url"].endswith("/evp_proxy/v4/api/v2/llmobs")]
    spans = [envelope["spans"][0] for envelope in json.loads(base64.b64decode(request["body"]))]
    assert [span["meta"]["span"]["kind"] for span in spans] == ["workflow", "llm", "llm"]
    assert spans[1]["metrics"]["total_cost"] == 0.1725


async def test_victoria_stores_the_counts(victoria, log, events, now):
    logger = log(
        api_key="key", api_url=f"{victoria}/datadog", series="v1", events=False, llm_observability=False, env="victoria"
    )
    await logger._counts(events.succeeded(time=now))
    series = stored(victoria, now)
    cost = {one["metric"]["model"]: one["values"] for one in series if "cost_usd" in one["metric"]["__name__"]}
    assert cost == {"gpt-4o-mini-2024-07-18": [0.1725], "gpt-4.1-nano-2025-04-14": [0.0000015]}


def stored(url, now) -> list:
    urllib.request.urlopen(f"{url}/internal/force_flush", timeout=10).close()  # what was taken becomes visible
    query = urllib.parse.urlencode({"match[]": '{env="victoria"}', "start": now.timestamp() - 3600})
    with urllib.request.urlopen(f"{url}/api/v1/export?{query}", timeout=10) as answer:
        return [json.loads(line) for line in answer]


async def test_the_daemon_adds_up_counters(statsd, log, events, now):
    logger = log(
        mode="agent", agent_host="127.0.0.1", dogstatsd_port=statsd.port, events=False, llm_observability=False
    )
    await logger._counts(events.succeeded(time=now))
    line = statsd.lines.wait(lambda line: "batchmeter.tokens" in line and "cached_input" in line)
    assert re.search(r"200000\b", line)
