"""Exports, as metrics, what the ledger's settlements add up to, and how far each logger is behind."""

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

from batchmeter.errors import APIStatusError, BatchmeterError

from . import semconv
from .otlp import Channel
from .spans import SCOPE, nanoseconds
from .totals import metrics_of

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

log = logging.getLogger("batchmeter.otel")

NOT_SPOKEN = frozenset({404, 405, 501})
"""Statuses by receivers that take one signal and not another."""


class Reporter:
    """One ledger's metrics."""

    def __init__(self, channel: Channel[MetricsData], resource: Resource) -> None:
        self._channel, self._resource = channel, resource

    def close(self) -> None:
        self._channel.close()

    async def report(self, host: "PluginHost") -> bool:
        """Export once; False when the receiver takes no metrics at all."""
        try:
            data = await self.collect(host)
            if data is not None:
                await asyncio.to_thread(self._channel.send, data)
        except APIStatusError as error:
            if error.status_code in NOT_SPOKEN:
                log.warning("the OTLP receiver takes no metrics, none will be sent: %s", error)
                return False
            log.warning("metrics were not accepted, the next export makes up for it: %s", error)
        except BatchmeterError as error:
            log.warning("metrics were not accepted, the next export makes up for it: %s", error)
        return True

    async def collect(self, host: "PluginHost") -> MetricsData | None:
        now = datetime.fromtimestamp(host.now() / 1000, UTC)
        totals = await host.totals()
        metrics = [
            *(metrics_of(totals, now) if totals else ()),
            *await _backlog(host, now),
            *await _of_plugins(host, now),
        ]
        if not metrics:
            return None
        resource = self._resource.merge(Resource({SERVICE_INSTANCE_ID: instance_of(host.ledger_url)}))
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])


async def _backlog(host: "PluginHost", now: datetime) -> Sequence[Metric]:
    """How far each logger is behind."""
    at = nanoseconds(now)
    pending: list[NumberDataPoint] = []
    oldest: list[NumberDataPoint] = []
    dead: list[NumberDataPoint] = []
    for gauge in await host.backlogs():
        attributes = {semconv.LOGGER: gauge.logger}
        since = gauge.oldest_pending_at
        age = 0.0 if since is None else max(0.0, now.timestamp() - since / 1000)
        pending.append(NumberDataPoint(attributes, at, at, gauge.pending))
        oldest.append(NumberDataPoint(attributes, at, at, age))
        dead.append(NumberDataPoint(attributes, at, at, gauge.dead))
    gauges = {
        "pending": ("Events not yet accepted", "{event}", pending),
        "oldest_pending": ("Age of the oldest of them", "s", oldest),
        "dead": ("Events given up, kept for replay", "{event}", dead),
    }
    return [
        Metric(f"batchmeter.deliveries.{name}", text, unit, Gauge(points))
        for name, (text, unit, points) in gauges.items()
        if points
    ]


async def _of_plugins(host: "PluginHost", now: datetime) -> Sequence[Metric]:
    """Gauges that other plugins show at the proxy's `/metrics`: `batchmeter_budget_left_usd` is `batchmeter.budget.left_usd`."""
    gathers: list[Callable[[], Awaitable[Sequence[Any]]]] = []
    host.call_hook("register_metrics", register=gathers.append)
    at, found = nanoseconds(now), list[Metric]()
    for gather in gathers:
        try:
            gauges = await host.run(gather)
        except Exception:
            log.exception("a plugin's metrics are left out of this export")
            continue
        for gauge in gauges:
            name = gauge.name.replace("_", ".", 2)
            points = [NumberDataPoint(_named(labels), at, at, value) for labels, value in gauge.samples]
            if points:
                found.append(Metric(name, gauge.text, _unit(name), Gauge(points)))
    return found


def _named(labels: "Mapping[str, object]") -> dict[str, str]:
    return {f"batchmeter.{label}": str(value) for label, value in labels.items()}


def _unit(name: str) -> str:
    return {"usd": "{USD}", "tokens": "{token}", "seconds": "s"}.get(name.rpartition("_")[2], "1")


def instance_of(url: str) -> str:
    """The same for every process over one ledger, so that their equal series are one."""
    where = url if url.startswith("postgres") else f"{platform.node()}:{os.path.abspath(url)}"  # noqa: PTH100 - a URL
    return str(uuid.uuid5(uuid.NAMESPACE_URL, where))
