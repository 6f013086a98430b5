"""How long batches of one kind took, and whether webhooks tell of their endings: when an ending is likely to be seen."""

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt

from batchmeter.events import Settlement
from batchmeter.models import Batch

FEWEST = 40
"""Endings from which a history is believed."""
_BINS = 48
SAMPLE = 512
"""Newest durations kept of each kind."""

Kind = tuple[str, str | None]
"""Account and model; without a model, all of the account's."""
RELIABLE = 20
"""Endings in a row that a webhook told first, before polls become rare."""
LATE = 60.0
"""Seconds after an ending: who finds it only then by polling was told nothing."""
_MOST = 10_000


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


@dataclass
class Hints:
    """Whether an account's webhooks can be relied on: learned from endings, forgotten at the first one they miss.

    By account, of this process: one that no webhook reaches polls as ever, and so does one that was just started.
    """

    _in_a_row: dict[str, int] = field(default_factory=dict[str, int])
    _notes: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    """The newest that webhooks told of, whose endings polls may still find."""

    def note(self, account: str, batch_id: str) -> None:
        """A webhook says that a batch ended which nobody has seen end."""
        if (account, batch_id) not in self._notes:
            self._notes[account, batch_id] = None
            self._in_a_row[account] = self._in_a_row.get(account, 0) + 1
            if len(self._notes) > _MOST:
                del self._notes[next(iter(self._notes))]

    def found(self, account: str, batch: Batch, now: float) -> None:
        """A poll saw this ending first, unless a webhook told of it."""
        ended = batch.ended_at
        if (account, batch.id) not in self._notes and ended is not None and now - ended > LATE:
            self._in_a_row[account] = 0

    def will_tell(self, account: str, batch_id: str) -> bool:
        """Whether a webhook is expected to tell of this batch's end; one that has told will not tell again."""
        return self._in_a_row.get(account, 0) >= RELIABLE and (account, batch_id) not in self._notes


def model_of(settlement: Settlement) -> str:
    """The model that answered most lines; the batch's own word where no line did."""
    most = max(settlement.models.items(), key=lambda item: item[1].lines, default=None)
    return most[0] if most else settlement.batch.model or "unknown"
