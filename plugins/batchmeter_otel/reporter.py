"""Reads the ledger's settlements as they come and exports the metrics they add up to, with those it has pruned."""

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import Gauge, Metric, MetricsData, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, Resource

from batchmeter.errors import APIStatusError, BatchmeterError

from . import semconv
from .otlp import Channel
from .spans import SCOPE, nanoseconds
from .totals import Totals

if TYPE_CHECKING:
    from batchmeter.events import Settlement
    from batchmeter.ledger.ledger import Ledger

log = logging.getLogger("batchmeter.otel")

_PAGE = 200
_SETTLE = timedelta(minutes=1)
"""A settlement younger than this is added anew each time: an older one may still be on its way into the ledger."""
NOT_SPOKEN = frozenset({404, 405, 501})
"""What receivers answer that take one signal and not another."""


class Reporter:
    """One ledger's metrics. Corrections (later revisions) count from the next start on."""

    def __init__(self, channel: Channel[MetricsData], resource: Resource) -> None:
        self._channel, self._resource = channel, resource
        self._base = Totals()
        self._pruned = 0
        """How many batches in `_base` were no longer in the ledger when it was begun."""
        self._after: str | None = None

    def close(self) -> None:
        self._channel.close()

    async def report(self, ledger: "Ledger") -> bool:
        """Export once; False when the receiver takes no metrics at all."""
        try:
            data = await self.collect(ledger)
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

    async def collect(self, ledger: "Ledger") -> MetricsData | None:
        now = datetime.fromtimestamp(ledger.now() / 1000, UTC)
        totals = await self._totals(ledger, now - _SETTLE)
        metrics = [*(totals.metrics(now) if totals else ()), *await _backlog(ledger, now)]
        if not metrics:
            return None
        resource = self._resource.merge(Resource({SERVICE_INSTANCE_ID: instance_of(ledger.url)}))
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(SCOPE, metrics, "")], "")])

    async def _totals(self, ledger: "Ledger", settled_before: datetime) -> Totals | None:
        """Of everything that was ever settled; None while some of it is being pruned, which might be missed."""
        past = await ledger.pruned_totals()
        pruned = sum(one.batches for one in past)
        if pruned != self._pruned:
            self._base, self._pruned, self._after = Totals.of(past), pruned, None
        totals = await self._add_up(ledger, settled_before)
        meanwhile = sum(one.batches for one in await ledger.pruned_totals())
        return totals if meanwhile == pruned else None

    async def _add_up(self, ledger: "Ledger", settled_before: datetime) -> Totals:
        """What is old enough is added up for good."""
        young: Totals | None = None
        after = self._after
        while page := await ledger.settlements(after=after, limit=_PAGE):
            for settlement, _ in page:
                if young is None and settlement.settled_at >= settled_before:
                    young = self._base.copy()
                if young is None:
                    self._base.add(settlement)
                    self._after = _cursor(settlement)
                else:
                    young.add(settlement)
            after = _cursor(page[-1][0])
        return young or self._base


def _cursor(settlement: "Settlement") -> str:
    """Accounts may share ids."""
    return f"{settlement.account}\x1f{settlement.batch_id}"


async def _backlog(ledger: "Ledger", now: datetime) -> Sequence[Metric]:
    """How far each logger is behind."""
    at = nanoseconds(now)
    pending: list[NumberDataPoint] = []
    oldest: list[NumberDataPoint] = []
    dead: list[NumberDataPoint] = []
    for gauge in await ledger.gauges():
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


def instance_of(url: str) -> str:
    """The same for every process over one ledger, so that their equal series are one."""
    where = url if url.startswith("postgres") else f"{platform.node()}:{os.path.abspath(url)}"  # noqa: PTH100 - a URL
    return str(uuid.uuid5(uuid.NAMESPACE_URL, where))
