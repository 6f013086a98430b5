"""Histories of durations, read from the ledger now and then: a restarted tracker, and others' settlements."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis
from batchmeter.tracker.durations import Durations

PAGE = 500
_SPAN = 14 * 24 * 3600 * 1000
_PROBES = 16
_PROBE = 250
"""Rows read at each of so many moments of the span: a bounded sample, however many were settled."""
_PAGE = 25
"""Rows read in one go: a submission never waits long behind them."""
_REREAD = 1800 * 1000


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
