"""When to look again: pure functions of a batch, the time and a random number. All waiting is in the tables here."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from batchmeter.models import Batch

from .history import History

Random = Callable[[], float]
"""Uniform in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an open batch is looked at, in seconds."""

    patience: float = 1.2
    """Where the history of its kind is known: a look each time that the square root of the hazard adds up to this."""
    unlikely: float = 900.0
    """Longest wait while no batch of its kind has ended so young, or hardly any."""
    together: float = 240.0
    """Or at later ages, of one that lists show with others: for each of them that is a small part of a request."""
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


LONGEST_PAUSE = 3600.0
"""Seconds that a provider's Retry-After counts for at most, where the settings do not say otherwise."""
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
    together: bool = False,
) -> float:
    """Seconds until an open batch is worth a request. `now` is epoch seconds.

    `history` is that of batches of its kind; `told` says that a webhook is going to tell, `together` that a list shows it.
    """
    wait = pace.closing if batch.status in CLOSING else _by_age(batch, now, pace, history, together=together)
    if told:
        wait = max(wait, pace.told)
    if batch.expires_at is not None:
        wait = _by_deadline(wait, batch.expires_at - now, pace)
    return wait * (1 + pace.jitter * random())


def in_step(at: float, account: str, pace: Pace = BACKGROUND) -> float:
    """The next moment at which this account's batches are listed together: one list then tells a hundred due ones."""
    phase = crc32(account.encode()) % 1000 / 1000 * pace.step  # or all accounts would be asked at once
    return math.ceil((at - phase) / pace.step) * pace.step + phase


def _by_age(batch: Batch, now: float, pace: Pace, history: History | None, *, together: bool) -> float:
    age = max(now - batch.created_at, 0.0) if batch.created_at is not None else 0.0
    known = history.wait(age, pace.patience) if history is not None and batch.created_at is not None else None
    if history is not None and known is not None:
        longest = pace.together if together else pace.unlikely
        longest = pace.unlikely if age < history.ages[0] else min(age * pace.age_share, longest)
        return max(min(known, longest), pace.shortest)
    return min(max(age * pace.age_share, pace.shortest), pace.longest)


def _by_deadline(wait: float, left: float, pace: Pace) -> float:
    """Never sleep over the moment the batch must have ended. (Azure's may run on for days.)"""
    first_after = left + pace.after_deadline
    return min(wait, first_after if first_after > 0 else max(pace.after_deadline, -left * pace.age_share))


def pause_asked(error: Exception, longest: float) -> float | None:
    """Seconds that the provider asked for, at most `longest`; None where it asked for nothing."""
    asked: float | None = getattr(error, "retry_after", None)
    return None if asked is None else min(max(asked, 0.0), longest)


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
