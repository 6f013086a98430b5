"""When to look again: pure functions of a batch, the time and a random number. All waiting is in the tables here."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zlib import crc32

from batchmeter.models import Batch

from .history import History

Random = Callable[[], float]
"""Uniform in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an open batch is looked at, in seconds."""

    patience: float = 1.05
    """Where the history of its kind is known: a look each time that the square root of the hazard adds up to this."""
    unlikely: float = 900.0
    """Longest wait while no batch of its kind has ended so young, or hardly any."""
    age_share: float = 0.08
    """Of the batch's age, at most: a young one changes soon, an old one late. Without a history, this alone counts."""
    shortest: float = 15.0
    longest: float = 300.0
    closing: float = 20.0
    """While `finalizing` or `cancelling`."""
    told: float = 900.0
    """At least this where webhooks have told of every ending lately."""
    after_deadline: float = 60.0
    """One look this long after `expires_at`, then one each such time, less often as the delay grows."""
    error_first: float = 5.0
    error_longest: float = 600.0
    step: float = 5.0
    """Between two moments at which the batches of one list may be due."""
    jitter: float = 0.1
    """Share by which a wait is stretched at random, so that a fleet does not march in step."""


@dataclass(frozen=True, slots=True)
class WaitPace:
    """How often `wait()` looks at the one batch that somebody waits for, in seconds."""

    first: float = 1.0
    growth: float = 0.05
    """Of the time waited so far."""
    longest: float = 15.0


BACKGROUND = Pace()
INTERACTIVE = WaitPace()
CLOSING = frozenset({"finalizing", "cancelling"})


def next_look(
    batch: Batch,
    now: float,
    random: Random,
    pace: Pace = BACKGROUND,
    *,
    history: History | None = None,
    told: bool = False,
) -> float:
    """Seconds until an open batch is worth a request. `now` is epoch seconds.

    `history` is that of batches of its kind; `told` says that a webhook is going to tell.
    """
    wait = pace.closing if batch.status in CLOSING else _by_age(batch, now, pace, history)
    if told:
        wait = max(wait, pace.told)
    if batch.expires_at is not None:
        wait = _by_deadline(wait, batch.expires_at - now, pace)
    return wait * (1 + pace.jitter * random())


def in_step(at: float, account: str, pace: Pace = BACKGROUND) -> float:
    """The next moment at which this account's batches are listed together: one list then tells a hundred due ones."""
    phase = crc32(account.encode()) % 1000 / 1000 * pace.step  # or all accounts would be asked at once
    return math.ceil((at - phase) / pace.step) * pace.step + phase


def _by_age(batch: Batch, now: float, pace: Pace, history: History | None) -> float:
    age = max(now - batch.created_at, 0.0) if batch.created_at is not None else 0.0
    known = history.wait(age, pace.patience) if history is not None and batch.created_at is not None else None
    if history is not None and known is not None:
        longest = pace.unlikely if age < history.ages[0] else min(age * pace.age_share, pace.unlikely)
        return max(min(known, longest), pace.shortest)
    return min(max(age * pace.age_share, pace.shortest), pace.longest)


def _by_deadline(wait: float, left: float, pace: Pace) -> float:
    """Never sleep over the moment the batch must have ended. (Azure's may run on for days.)"""
    first_after = left + pace.after_deadline
    return min(wait, first_after if first_after > 0 else max(pace.after_deadline, -left * pace.age_share))


def after_error(
    errors: int,
    random: Random,
    *,
    retry_after: float | None = None,
    pace: Pace = BACKGROUND,
    first: float | None = None,
) -> float:
    """Seconds until the next try after `errors` failures in a row; never before `retry_after`."""
    start = pace.error_first if first is None else first
    wait = min(start * 2.0 ** min(max(errors - 1, 0), 30), pace.error_longest)
    wait *= 0.5 + 0.5 * random()
    return max(wait, (retry_after or 0.0) * (1 + pace.jitter * random()))


def interactive(waited: float, pace: WaitPace = INTERACTIVE) -> float:
    """Seconds until `wait()` looks again: every second at first, slower as the wait grows."""
    return min(max(waited * pace.growth, pace.first), pace.longest)


Trouble = Literal["output_not_listed", "lines_missing", "output_not_found", "output_broken", "batch_not_found"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an ending that cannot be read yet is tried again: until both are used up."""

    seconds: float
    looks: int
    first: float = 2.0
    longest: float = 60.0


PATIENCE: dict[Trouble, Patience] = {
    "output_not_listed": Patience(600, 4),
    "lines_missing": Patience(2, 2, first=3.0),
    "output_not_found": Patience(120, 4),
    "output_broken": Patience(7 * 24 * 3600, 20, longest=3600.0),
    "batch_not_found": Patience(48 * 3600, 5, first=15.0, longest=600.0),
}
"""A lag is minutes, an outage may be days (outputs are kept for weeks). `batch_not_found` ends earlier where `expires_at` is known."""
PAST_EXPIRY = 3600.0
"""A batch that its provider no longer knows is given up this long after it must have ended."""
_ATTEMPT = re.compile(r"^(\w+): look (\d+) since (\S+)Z(?:: |$)")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Looks at an ending that cannot be read yet; kept in the batch's `last_error`, so that restarts go on counting."""

    trouble: Trouble
    since: float
    """Epoch seconds of the first look."""
    looks: int = 1

    @classmethod
    def next(cls, trouble: Trouble, last_error: str | None, now: float) -> "Attempt":
        earlier = cls.read(last_error)
        if earlier is None or earlier.trouble != trouble:
            return cls(trouble, now)
        return cls(trouble, earlier.since, earlier.looks + 1)

    @classmethod
    def read(cls, last_error: str | None) -> "Attempt | None":
        match = _ATTEMPT.match(last_error or "")
        if match is None:
            return None
        known: dict[str, Trouble] = {name: name for name in PATIENCE}
        since = datetime.fromisoformat(match[3]).replace(tzinfo=UTC).timestamp()
        return cls(known[match[1]], since, int(match[2])) if match[1] in known else None

    def text(self, detail: str) -> str:
        since = datetime.fromtimestamp(self.since, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"{self.trouble}: look {self.looks} since {since}Z: {detail}"

    def exhausted(self, now: float, *, expires_at: float | None = None) -> bool:
        """Whether it is time to settle without."""
        patience = PATIENCE[self.trouble]
        until = self.since + patience.seconds
        if self.trouble == "batch_not_found" and expires_at is not None:
            until = max(expires_at, self.since) + PAST_EXPIRY
        return self.looks >= patience.looks and now >= until

    def delay(self, random: Random, *, retry_after: float | None = None) -> float:
        patience = PATIENCE[self.trouble]
        pace = Pace(error_first=patience.first, error_longest=patience.longest)
        return after_error(self.looks, _at_least_half(random), retry_after=retry_after, pace=pace)


def _at_least_half(random: Random) -> Random:
    """Looks that are counted come at nearly full distance."""
    return lambda: 0.5 + 0.5 * random()
