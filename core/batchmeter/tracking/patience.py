"""Endings that cannot be read yet: how long each trouble is tried again, counted in the text that the ledger keeps."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from .schedule import Pace, Random, after_error

Trouble = Literal[
    "output_not_listed",
    "never_started",
    "nothing_done",
    "lines_missing",
    "output_not_found",
    "output_broken",
    "batch_not_found",
]


@dataclass(frozen=True, slots=True)
class Patience:
    """Both are used up before a batch is settled without."""

    seconds: float
    looks: int
    first: float = 2.0
    longest: float = 60.0


PATIENCE: dict[Trouble, Patience] = {
    "output_not_listed": Patience(600, 8),
    "never_started": Patience(2, 2, first=3.0),
    "nothing_done": Patience(120, 6),
    "lines_missing": Patience(2, 2, first=3.0),
    "output_not_found": Patience(120, 6),
    "output_broken": Patience(7 * 24 * 3600, 20, longest=3600.0),
    "batch_not_found": Patience(48 * 3600, 5, first=15.0, longest=600.0),
}
"""A lag is minutes, with as many looks as they have undisturbed; an outage may be days (outputs are kept for weeks). `batch_not_found` ends earlier where `expires_at` is known."""
PAST_EXPIRY = 3600.0
"""A batch that its provider no longer knows is given up this long after it must have ended."""
_ATTEMPT = re.compile(r"(\w+): look (\d+) since (\S+?)Z(; |: |$)")
_KNOWN: dict[str, Trouble] = {name: name for name in PATIENCE}


@dataclass(frozen=True, slots=True)
class Attempt:
    """Looks that met one trouble."""

    trouble: Trouble
    since: float
    """Epoch seconds of the first."""
    looks: int = 1

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{self.trouble}: look {self.looks} since {since}Z"

    def exhausted(self, now: float, *, expires_at: float | None = None) -> bool:
        """Whether it is time to settle without."""
        patience = PATIENCE[self.trouble]
        until = self.since + patience.seconds
        if self.trouble == "batch_not_found" and expires_at is not None:
            until = max(expires_at, self.since) + PAST_EXPIRY
        return self.looks >= patience.looks and now >= until

    def delay(self, random: Random, *, retry_after: float | None = None) -> float:
        """Seconds until the next; looks that are counted come at nearly full distance."""
        patience = PATIENCE[self.trouble]
        pace = Pace(error_first=patience.first, error_longest=patience.longest)
        return after_error(self.looks, lambda: 0.5 + 0.5 * random(), retry_after=retry_after, pace=pace)


@dataclass(frozen=True, slots=True)
class Attempts:
    """What a batch's looks have met, newest trouble first; in its `last_error`, so that restarts go on counting.

    A look that meets another trouble, or an error that says nothing about the batch, forgets none: a provider whose
    answers alternate would never use up any patience. A look that finds the batch open forgets them all.
    """

    each: tuple[Attempt, ...] = ()

    @classmethod
    def of(cls, last_error: str | None) -> "Attempts":
        found, at = list[Attempt](), 0
        while (match := _ATTEMPT.match(last_error or "", at)) is not None and match[1] in _KNOWN:
            since = datetime.fromisoformat(match[3]).replace(tzinfo=UTC).timestamp()
            found.append(Attempt(_KNOWN[match[1]], since, int(match[2])))
            at = match.end() if match[4] == "; " else len(last_error or "")
        return cls(tuple(found))

    @property
    def newest(self) -> Attempt | None:
        return self.each[0] if self.each else None

    def met(self, trouble: Trouble, now: float) -> "Attempts":
        """With one more look that met it."""
        earlier = next((attempt for attempt in self.each if attempt.trouble == trouble), None)
        one = Attempt(trouble, earlier.since, earlier.looks + 1) if earlier else Attempt(trouble, now)
        return Attempts((one, *(attempt for attempt in self.each if attempt.trouble != trouble)))

    def text(self, detail: str) -> str:
        """For `last_error`."""
        return ": ".join([*(["; ".join(map(str, self.each))] if self.each else []), detail])
