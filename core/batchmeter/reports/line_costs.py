"""Single lines of a settled batch: each answer's usage, and its share of the cost at the rates that the settlement used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext

from batchmeter.events import BatchFailed, BatchSucceeded
from batchmeter.metering import Job
from batchmeter.metering.answers import Counter
from batchmeter.metering.envelope import look_for
from batchmeter.metering.lines import DROPPED, MANY, LineSplitter, Unreadable, without_vectors
from batchmeter.metering.result import FREE, Tally, usage_of
from batchmeter.models import RatesUsed, Usage
from batchmeter.pricebook.book import embedded
from batchmeter.pricing.groups import Group, GroupKey
from batchmeter.pricing.price import EXACT, MILLION, VENDOR_REPORTED

NOT_PRICED = "not_priced"
"""Reason: the settlement keeps no rates for this line."""


@dataclass(frozen=True, slots=True)
class PricedLine:
    """One answer, or one request's failure."""

    custom_id: str | None
    raw: bytes = field(repr=False)
    """As it stands in the file; strings in a line of more than a megabyte are cut."""
    failure: str | None
    """The error's code; None for an answer."""
    model: str | None
    cost: Decimal | None
    unknown: str
    """Reason for a cost of None."""
    groups: tuple[Group, ...] = field(default=(), repr=False)

    @property
    def tokens(self) -> int:
        """Of the prompt and the answer together."""
        return sum(sum(group.counts.values()) for group in self.groups)

    @property
    def usage(self) -> Usage:
        return usage_of(self.groups)


class LinePricer:
    """Reads the files of one batch, one after the other. It blocks: a megabyte takes some ten milliseconds."""

    def __init__(self, event: BatchSucceeded | BatchFailed) -> None:
        self._look = look_for(event.provider)
        self._rates = event.rates
        self._model = event.batch.model
        self._tally = Tally()
        job = Job(
            provider=event.provider,
            endpoint=event.endpoint,
            region=event.region,
            model=self._model,
            prices=embedded(),  # not asked: the rates are the event's
        )
        boundaries = tuple(sorted({used.prompt_over for used in event.rates} - {0}))
        self._counter = Counter(job, self._look, self._tally, boundaries, str)
        self._lines = LineSplitter()

    def feed(self, chunk: bytes) -> list[PricedLine]:
        """The answers that this chunk completes; other lines are passed over."""
        return list(self._read(self._lines.feed(chunk)))

    def end_file(self) -> list[PricedLine]:
        found = list(self._read(self._lines.close()))
        self._lines = LineSplitter()
        return found

    def _read(self, lines: "Iterator[bytes | bytearray | Unreadable]") -> Iterator[PricedLine]:
        for raw in lines:
            if not isinstance(raw, Unreadable) and (line := self._line(bytes(raw))) is not None:
                yield line

    def _line(self, raw: bytes) -> PricedLine | None:
        answer = (
            self._look.answer(raw if len(raw) <= MANY else without_vectors(raw), self._model) if raw.strip() else None
        )
        if answer is None:
            return None
        tally = self._tally
        tally.groups.clear()
        tally.unmetered.clear()
        self._counter.add(answer)
        self._counter.close()
        cost, unknown = self._cost()
        models = [key.model for key in tally.groups] or [model for model, _ in tally.unmetered]
        return PricedLine(
            answer.custom_id,
            raw,
            answer.failure,
            (models[0] if models else None) or answer.model,
            cost,
            unknown,
            tuple(tally.groups.values()),
        )

    def _cost(self) -> tuple[Decimal | None, str]:
        """A failed line costs nothing."""
        if self._tally.unmetered:
            ((_, reason), *_) = self._tally.unmetered
            return None, reason
        total = Decimal(0)
        with localcontext(EXACT):
            for key, group in self._tally.groups.items():
                if key.processing == FREE:
                    continue
                part = self._by_rates(key, group.counts)
                if part is None and group.reported_lines and self._is_reported(key):
                    part = group.reported
                if part is None:
                    return None, NOT_PRICED
                total += part
        return total, ""

    def _by_rates(self, key: GroupKey, counts: "dict[str, int]") -> Decimal | None:
        units = {bucket: count for bucket, count in counts.items() if count}
        for used in self._of(key):
            if units.keys() <= used.usd_per_million.keys():
                return sum((used.usd_per_million[bucket] * n for bucket, n in units.items()), Decimal(0)) / MILLION
        return None

    def _is_reported(self, key: GroupKey) -> bool:
        return any(used.origin == VENDOR_REPORTED for used in self._of(key))

    def _of(self, key: GroupKey) -> Sequence[RatesUsed]:
        """Rates of the settlement's groups like this one."""
        same = (key.model, key.prompt_over, key.geo, key.processing)
        return [used for used in self._rates if (used.model, used.prompt_over, used.geo, used.processing) == same]


class RequestLines:
    """The lines of an input file with their ids."""

    def __init__(self, provider: str) -> None:
        self._look = look_for(provider)
        self._lines = LineSplitter()

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        return list(self._read(self._lines.feed(chunk)))

    def end_file(self) -> list[tuple[str, bytes]]:
        return list(self._read(self._lines.close()))

    def _read(self, lines: "Iterator[bytes | bytearray | Unreadable]") -> Iterator[tuple[str, bytes]]:
        for raw in lines:
            if not isinstance(raw, Unreadable) and (custom_id := self._look.request_id(raw)) is not None:
                yield custom_id, bytes(raw)


def is_whole(raw: bytes) -> bool:
    """Whether nothing was cut out of a line; one that holds a NUL of its own counts as cut."""
    return DROPPED not in raw
