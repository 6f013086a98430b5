"""`/metrics` for Prometheus: what the ledger holds, asked every few seconds at most, and this process's requests."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from batchmeter import __version__
from batchmeter.access import Access, CostGauge, Following, LoggerGauge, Millis
from batchmeter.errors import LedgerError
from batchmeter.host import CostRow

from .gauges import Gather, Sample
from .traffic import Traffic

log = logging.getLogger("batchmeter")

FRESH_SECONDS = 5.0
PATIENCE_SECONDS = 5.0
"""A scrape waits so long for the ledger's sums: the first adding up of a large ledger takes longer."""
_MOST_GROUPS = 10_000
_MOST_ACCOUNTS = 100
"""Calls with their own keys make accounts too: those with the fewest batches are summed as `other`."""
_STATUSES = frozenset(
    {"validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"}
)


class Metrics:
    """Renders; the ledger's part is kept for a while, and asked for once, however many scrape."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asking = asyncio.Lock()
        self._text = ""
        self._until = float("-inf")
        self._sums: Sequence[CostRow] | None = None
        self.gathers: Sequence[Gather] = ()
        """Of plugins."""
        self._adding: asyncio.Task[Sequence[CostRow]] | None = None

    async def render(self, access: Access, traffic: Traffic) -> str:
        async with self._asking:
            if self._clock() >= self._until:
                self._text = await self._ledger_text(access)
                self._until = self._clock() + FRESH_SECONDS
        return self._text + _text(_traffic_families(traffic))

    async def _ledger_text(self, access: Access) -> str:
        info = _family("batchmeter_build_info", "gauge", "The version that answers.", [({"version": __version__}, 1)])
        text = "Whether the ledger answers."
        try:
            loggers, batches = await access.gauges(), await access.cost_gauges()
            following = await access.following()
            sums = await self._settled(access)
        except LedgerError:
            return _text([info, _family("batchmeter_ledger_up", "gauge", text, [({}, 0)])])
        up = _family("batchmeter_ledger_up", "gauge", text, [({}, 1)])
        own = [info, up, *_delivery_families(loggers, access.now()), *_batch_families(batches, sums)]
        return _text([*own, *_open_families(following, access), *await self._added()])

    async def _added(self) -> list[Metric]:
        """One that fails is left out, and logged."""
        found: list[Metric] = []
        for gather in self.gathers:
            try:
                found += [_family(one.name, "gauge", one.text, one.samples) for one in await gather()]
            except Exception:
                log.exception("a plugin's metrics failed")
        return found

    async def _settled(self, access: Access) -> Sequence[CostRow] | None:
        """The ledger's sums by account and status, pruned batches included, a sandbox's not.

        As they were, while they are being added up; None before the first time: no sum is shown rather than a wrong one.
        """
        if self._adding is None:
            self._adding = asyncio.ensure_future(_sums(access))
        await asyncio.wait({self._adding}, timeout=PATIENCE_SECONDS)
        if self._adding.done():
            adding, self._adding = self._adding, None
            self._sums = adding.result()
        return self._sums


async def _sums(access: Access) -> Sequence[CostRow]:
    found = await access.costs(group_by="account,status", since=None, until=None, key=None, limit=_MOST_GROUPS)
    return () if found.invented == found.total.batches else found.data


def _delivery_families(gauges: Sequence[LoggerGauge], now: Millis) -> Iterator[Metric]:
    for state in ("pending", "dead", "delivered"):
        samples = [({"logger": gauge.logger}, getattr(gauge, state)) for gauge in gauges]
        yield _family(f"batchmeter_deliveries_{state}", "gauge", f"Deliveries that are {state}.", samples)
    waiting = [
        ({"logger": gauge.logger}, 0 if gauge.oldest_pending_at is None else (now - gauge.oldest_pending_at) / 1000)
        for gauge in gauges
    ]
    text = "Age of the oldest event that the logger has still to accept; 0 when there is none."
    yield _family("batchmeter_deliveries_oldest_pending_seconds", "gauge", text, waiting)


def _open_families(following: Sequence[Following], access: Access) -> Iterator[Metric]:
    """As `batchmeter track --metrics-port` tells them, too."""
    most = sorted(following, key=lambda one: -one.open)[:_MOST_ACCOUNTS]
    figures: tuple[tuple[str, str, Callable[[Following], float]], ...] = (
        ("overdue", "Open batches that are due for a look, and held by no tracker.", lambda one: one.overdue),
        ("failing", "Open batches whose last look failed.", lambda one: one.failing),
        ("oldest_open_seconds", "Age of the oldest open batch.", lambda one: (access.now() - one.oldest_at) / 1000),
    )
    for name, text, value in figures:
        samples: list[Sample] = [({"account": one.account}, value(one)) for one in most]
        yield _family(f"batchmeter_batches_{name}", "gauge", text, samples)
    beat = access.heartbeat()
    text = "When this process's tracker last ended a round."
    yield _family("batchmeter_tracker_heartbeat_timestamp_seconds", "gauge", text, [] if beat is None else [({}, beat)])


def _batch_families(gauges: Sequence[CostGauge], sums: Sequence[CostRow] | None) -> Iterator[Metric]:
    names = _names(gauges, sums or ())
    unsettled = Counter[tuple[str, str]]()
    for gauge in gauges:
        unsettled[names[gauge.account], _status(gauge.status)] += gauge.batches - gauge.settled
    yield _family("batchmeter_batches_open", "gauge", "Batches not settled yet.", _by_status(unsettled))
    if sums is not None:
        yield from _settled_families(sums, names)


def _settled_families(sums: Sequence[CostRow], names: Mapping[str, str]) -> Iterator[Metric]:
    settled, known, unpriced = (
        Counter[tuple[str, str]](),
        defaultdict[str, Decimal | int](Decimal),
        defaultdict[str, Decimal | int](int),
    )
    for one in sums:
        account = names[_account(one)]
        settled[account, _status(one.groups["status"] or "")] += one.batches
        known[account] += one.known
        unpriced[account] += one.unpriced_lines
    yield _family("batchmeter_batches_settled", "gauge", "Batches settled.", _by_status(settled))
    text = "Known cost of settled batches, in US dollars."
    yield _family("batchmeter_cost_known_usd", "gauge", text, _by_account(known))
    text = "Lines of settled batches whose cost is unknown."
    yield _family("batchmeter_cost_unpriced_lines", "gauge", text, _by_account(unpriced))


def _status(status: str) -> str:
    return status if status in _STATUSES else "other"


def _account(one: CostRow) -> str:
    return one.groups["account"] or ""


def _names(gauges: Sequence[CostGauge], sums: Sequence[CostRow]) -> dict[str, str]:
    """Account -> the name it is shown under."""
    sizes = Counter[str]()
    for gauge in gauges:
        sizes[gauge.account] += gauge.batches
    for one in sums:
        sizes[_account(one)] += one.batches
    shown = {name for name, _ in sizes.most_common(_MOST_ACCOUNTS)}
    return {name: name if name in shown else "other" for name in sizes}


def _by_status(counts: Mapping[tuple[str, str], float]) -> list[Sample]:
    return [({"account": account, "status": status}, value) for (account, status), value in sorted(counts.items())]


def _by_account(sums: Mapping[str, Decimal | int]) -> list[Sample]:
    return [({"account": account}, float(value)) for account, value in sorted(sums.items())]


def _traffic_families(traffic: Traffic) -> Iterator[Metric]:
    """Of all workers together, so that a scrape says the same whichever of them answers it."""
    counted, spent = traffic.whole()
    requests: list[Sample] = [
        ({"method": method, "route": route, "status": status}, count)
        for (method, route, status), count in sorted(counted.items())
    ]
    yield _family("batchmeter_http_requests_total", "counter", "Requests answered.", requests)
    seconds: list[Sample] = [({"route": route}, time_) for route, time_ in sorted(spent.items())]
    yield _family("batchmeter_http_seconds_total", "counter", "Time spent on them.", seconds)


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Metric:
    family = Metric(name.removesuffix("_total"), text, kind)
    for labels, value in samples:
        family.add_sample(name, {label: str(word) for label, word in labels.items()}, value)
    return family


@dataclass(frozen=True, slots=True)
class _Families(Collector):
    """Families as prometheus-client takes them; its own registry counts what this process does, and has no place here."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def _text(families: Iterable[Metric]) -> str:
    return generate_latest(_Families(list(families))).decode()
