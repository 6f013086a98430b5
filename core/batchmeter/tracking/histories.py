"""The histories of every account's models: read from the ledger rarely, and added to with each settlement made here."""

from collections import deque
from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass, field

from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis

from .history import FEWEST, History
from .timings import model_of, settled

SAMPLE = 512
"""Newest durations kept of each kind."""
_SPAN = 14 * 24 * 3600 * 1000
_PROBES = 16
_PROBE = 250
"""Rows read at each of so many moments of the span: a bounded sample, however many were settled."""
_PAGE = 25
"""Rows read in one go: a submission never waits long behind them."""
_REREAD = 1800 * 1000

Kind = tuple[str, str | None]
"""Account and model; without a model, all of the account's."""


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
class Histories:
    """What this process knows; another knows as much, of the same ledger."""

    _kinds: dict[Kind, _Kept] = field(default_factory=dict[Kind, _Kept])
    _read_at: Millis | None = None

    def of(self, account: str, model: str | None) -> History | None:
        """Of the account's batches of this model; of all its batches where these are too few."""
        kept = self._kinds.get((account, model))
        found = kept.read() if kept is not None else None
        if found is None and model is not None:
            return self.of(account, None)
        return found

    def learn(self, settlement: Settlement, submitted_model: str | None = None) -> None:
        """A cancelled batch took as long as somebody liked: it tells nothing."""
        seconds = settlement.times.total_seconds
        if seconds is None or settlement.batch.status == "cancelled":
            return
        self.add(settlement.account, {submitted_model, settlement.batch.model, model_of(settlement)}, seconds)

    def add(self, account: str, models: Collection[str | None], seconds: float) -> None:
        """One batch's duration, under each name that its model goes by."""
        for model in {None, *models}:
            self._kinds.setdefault((account, model), _Kept()).add(seconds)

    async def refresh(self, ledger: Ledger) -> None:
        """Start afresh from a sample of the last two weeks' settlements, every half hour."""
        now = ledger.now()
        if self._read_at is not None and now - self._read_at < _REREAD:
            return
        self._read_at = now
        fresh, read_to = Histories(), 0.0
        for number in range(_PROBES):
            moment = now - _SPAN + number * _SPAN // _PROBES
            if moment / 1000 <= read_to:
                continue  # an earlier probe has come as far
            left = _PROBE
            async with aclosing(settled(ledger, moment, page=_PAGE)) as probe:
                async for settlement in probe:
                    fresh.learn(settlement)
                    read_to = settlement.settled_at.timestamp()
                    left -= 1
                    if not left:
                        break
        self._kinds = fresh._kinds
