"""How long batches of one kind took: learned from each settlement, and read from the ledger now and then."""

from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt

from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis
from batchmeter.tracker.schedule import Timetable

FEWEST = 40
"""Endings from which a history is believed."""
_BINS = 48
SAMPLE = 512
"""Newest durations kept of each kind."""
PAGE = 500
_SPAN = 14 * 24 * 3600 * 1000
_PROBES = 16
_PROBE = 250
"""Rows read at each of so many moments of the span: a bounded sample, however many were settled."""
_PAGE = 25
"""Rows read in one go: a submission never waits long behind them."""
_REREAD = 1800 * 1000

Kind = tuple[str, str | None]
"""Account and model; without a model, all of the account's."""


@dataclass(frozen=True, slots=True)
class History:
    """The durations of one kind of batch, as looks that they are worth."""

    ages: tuple[float, ...]
    """Quantiles, in seconds; the first is the shortest duration there was."""
    looks: tuple[float, ...]
    """Looks worth their while from the beginning up to each, in units of `patience`.

    Rising with the square root of the hazard (the chance to end now, of those that have not): that spends a number of
    requests so that endings are known soonest on average.
    """

    @property
    def shortest(self) -> float:
        return self.ages[0]

    @classmethod
    def of(cls, durations: Iterable[float]) -> "History | None":
        """None where there are too few."""
        ordered = sorted(seconds for seconds in durations if seconds >= 0)
        if len(ordered) < FEWEST:
            return None
        last = len(ordered) - 1
        bins = min(_BINS, len(ordered) // 8)
        ages, looks = [ordered[0]], [0.0]
        ranks = [round(last * number / bins) for number in range(bins + 1)]
        for start, end in pairwise(ranks):
            width = max(ordered[end] - ordered[start], 1.0)
            share = (end - start) / (len(ordered) - start)
            ages.append(max(ordered[end], ages[-1]))
            looks.append(looks[-1] + sqrt(share * width))
        return cls(tuple(ages), tuple(looks))

    def wait(self, age: float, patience: float) -> float | None:
        """Seconds from this age until a look is worth its while; None for an age that no batch has reached.

        A great `patience` looks rarely.
        """
        if age >= self.ages[-1]:
            return None
        goal = self._at(age) + patience
        if goal >= self.looks[-1]:
            return self.ages[-1] - age
        slot = bisect_right(self.looks, goal)
        share = (goal - self.looks[slot - 1]) / (self.looks[slot] - self.looks[slot - 1])
        return self.ages[slot - 1] + share * (self.ages[slot] - self.ages[slot - 1]) - age

    def _at(self, age: float) -> float:
        slot = bisect_right(self.ages, age)
        if slot == 0:
            return 0.0
        low, high = self.ages[slot - 1], self.ages[slot]
        share = (age - low) / (high - low)
        return self.looks[slot - 1] + share * (self.looks[slot] - self.looks[slot - 1])


@dataclass(slots=True)
class _Kept:
    """One kind's durations, and the history made of them."""

    seconds: "deque[float]" = field(default_factory=lambda: deque(maxlen=SAMPLE))
    news: int = 0
    history: History | None = None

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.news += 1

    def read(self) -> History | None:
        """Made anew after every so many."""
        if self.news >= FEWEST:
            self.news, self.history = 0, History.of(self.seconds)
        return self.history


@dataclass
class Durations:
    """The histories of every account's models; each settlement made here adds to them."""

    kinds: dict[Kind, _Kept] = field(default_factory=dict[Kind, _Kept])

    def of(self, account: str, model: str | None) -> History | None:
        """Of the account's batches of this model; of all its batches where these are too few."""
        kept = self.kinds.get((account, model))
        found = kept.read() if kept is not None else None
        if found is None and model is not None:
            return self.of(account, None)
        return found

    def seconds(self, account: str, model: str | None) -> Sequence[float]:
        """The newest durations of one kind."""
        kept = self.kinds.get((account, model))
        return () if kept is None else kept.seconds

    def learn(self, settlement: Settlement, submitted_model: str | None = None) -> None:
        """A cancelled batch took as long as somebody liked: it tells nothing."""
        seconds = settlement.times.total_seconds
        if seconds is None or settlement.batch.status == "cancelled":
            return
        self.add(settlement.account, {submitted_model, settlement.batch.model, model_of(settlement)}, seconds)

    def add(self, account: str, models: Collection[str | None], seconds: float) -> None:
        """One batch's duration, under each name that its model goes by."""
        for model in {None, *models}:
            self.kinds.setdefault((account, model), _Kept()).add(seconds)


def durations_of(timetable: Timetable) -> Durations:
    """The durations that this timetable goes by; from now on, where it had none."""
    if not isinstance(timetable.histories, Durations):
        timetable.histories = Durations()
    return timetable.histories


@dataclass(slots=True)
class Histories:
    """Keeps a tracker's durations up to date."""

    ledger: Ledger
    durations: Durations
    _read_at: Millis | None = None

    async def refresh(self) -> int:
        """Start afresh from a sample of the last two weeks' settlements, every half hour; returns how many were read."""
        now = self.ledger.now()
        if self._read_at is not None and 0 <= now - self._read_at < _REREAD:  # less: the clock was set back
            return 0
        self._read_at = now
        fresh, read_to, count = Durations(), 0.0, 0
        for number in range(_PROBES):
            moment = now - _SPAN + number * _SPAN // _PROBES
            if moment / 1000 <= read_to:
                continue  # an earlier probe has come as far
            left = _PROBE
            async with aclosing(settled(self.ledger, moment, page=_PAGE)) as probe:
                async for settlement in probe:
                    fresh.learn(settlement)
                    read_to = settlement.settled_at.timestamp()
                    left -= 1
                    if not left:
                        break
            count += _PROBE - left
        self.durations.kinds = fresh.kinds
        return count


async def settled(ledger: Ledger, since: Millis | None = None, *, page: int = PAGE) -> AsyncGenerator[Settlement]:
    """Every settlement's newest revision, oldest batch first."""
    after: str | None = None
    while found := await ledger.settlements(since=since, after=after, limit=page):
        for settlement, _ in found:
            yield settlement
        after = f"{found[-1][0].account}\x1f{found[-1][0].batch_id}"


def model_of(settlement: Settlement) -> str:
    """The model that answered most lines; the batch's own word where no line did."""
    most = max(settlement.models.items(), key=lambda item: item[1].lines, default=None)
    return most[0] if most else settlement.batch.model or "unknown"
