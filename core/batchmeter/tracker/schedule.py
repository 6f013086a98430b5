"""When to look again, and how often: functions of a batch, the time and a random number. All waiting is in the tables here."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from zlib import crc32

from batchmeter.errors import seconds_of
from batchmeter.events import Settlement
from batchmeter.ledger.records import Attempts, Millis
from batchmeter.models import Batch

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
    with_webhook: float = 900.0
    """At least this where webhooks have told of every ending lately."""
    after_deadline: float = 60.0
    """One look this long after `expires_at`, then one each such time, less often as the delay grows."""
    step: float = 5.0
    """Between two moments at which the batches of one list may be due."""
    jitter: float = 0.1
    """Share by which a wait is stretched at random, so that a fleet does not march in step."""


LONGEST_PAUSE = 3600.0
"""Seconds that a provider's Retry-After counts for at most, where the settings do not say otherwise."""
BACKGROUND = Pace()
LOOK_SECONDS = 60.0
"""One request to a provider, with its retries."""
RELIABLE = 20
"""Endings in a row that a webhook told first, before polls become rare."""
LATE = 60.0
"""Seconds after an ending: a poll that finds it only then proves that no webhook told of it."""
_MOST_NOTES = 10_000
CLOSING = frozenset({"finalizing", "cancelling"})
LATE_LOOKS = (900.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds after a settlement without its output at which the batch is looked at once more."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Seconds, and numbers of things at a time."""

    lease: float = 120.0
    """A killed worker's batches are taken over after this."""
    block: int = 500
    """Batches claimed at once: enough of one account for its lists to be worth their while."""
    idle: float = 10.0
    """Longest sleep: other processes submit too."""
    reconcile: float = 60.0
    """Between two rounds: looks for lost creates and the like."""
    looks: int = 8
    """Requests of one account under way."""
    downloads: int = 8
    """Settlements of one account under way."""
    requests_per_second: float = 20.0
    """For one account, on average, looks only; halved whenever it answers 429."""
    longest_pause: float = LONGEST_PAUSE
    """A Retry-After counts for at most this long."""
    adopt: tuple[str, ...] = ()
    """Accounts whose every batch is tracked, whoever made it."""


DEFAULTS = TrackerOptions()


class History(Protocol):
    """How long batches of one kind took."""

    @property
    def shortest(self) -> float:
        """Seconds."""
        ...

    def wait(self, age: float, patience: float) -> float | None:
        """Seconds from this age until a look is worth its while; None for an age that no batch has reached."""
        ...


class Histories(Protocol):
    """Learns how long batches take."""

    def of(self, account: str, model: str | None) -> History | None: ...

    def learn(self, settlement: Settlement, submitted_model: str | None = None) -> None: ...


def next_look(
    batch: Batch,
    now: float,
    random: Random,
    pace: Pace = BACKGROUND,
    *,
    history: History | None = None,
    with_webhook: bool = False,
    together: bool = False,
) -> float:
    """Seconds until an open batch is worth a request. `now` is epoch seconds.

    `history` is that of batches of its kind; `with_webhook` says that one is going to tell, `together` that a list shows it.
    """
    wait = pace.closing if batch.status in CLOSING else _by_age(batch, now, pace, history, together=together)
    if with_webhook:
        wait = max(wait, pace.with_webhook)
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
        longest = pace.unlikely if age < history.shortest else min(age * pace.age_share, longest)
        return max(min(known, longest), pace.shortest)
    return min(max(age * pace.age_share, pace.shortest), pace.longest)


def _by_deadline(wait: float, left: float, pace: Pace) -> float:
    """Never sleep over the moment the batch must have ended. (Some run on for days.)"""
    first_after = left + pace.after_deadline
    return min(wait, first_after if first_after > 0 else max(pace.after_deadline, -left * pace.age_share))


def pause_asked(error: BaseException | None, longest: float) -> float | None:
    """Seconds that the provider asked for, at most `longest`; None where it asked for nothing, or for no number."""
    seconds = seconds_of(getattr(error, "retry_after", None))
    return None if seconds is None else min(max(seconds, 0.0), longest)


def after_error(
    errors: int, random: Random, *, retry_after: float | None = None, first: float = 5.0, longest: float = 600.0
) -> float:
    """Seconds until the next try after `errors` failures in a row; never before `retry_after`."""
    wait = min(first * 2.0 ** min(max(errors - 1, 0), 30), longest) * (0.5 + 0.5 * random())
    return max(wait, (retry_after or 0.0) * (1 + BACKGROUND.jitter * random()))


@dataclass
class Hints:
    """Whether an account's webhooks can be relied on: learned from endings, forgotten at the first one they miss.

    By account, of this process: one that no webhook reaches polls as ever, and so does one that was just started.
    """

    _in_a_row: dict[str, int] = field(default_factory=dict[str, int])
    _notes: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    """The newest batches whose ends a webhook told; polls may find these ends too."""

    def note(self, account: str, batch_id: str) -> None:
        """Note a webhook's news of the end of a batch that no poll has seen end."""
        if (account, batch_id) not in self._notes:
            self._notes[account, batch_id] = None
            self._in_a_row[account] = self._in_a_row.get(account, 0) + 1
            if len(self._notes) > _MOST_NOTES:
                del self._notes[next(iter(self._notes))]

    def found(self, account: str, batch: Batch, now: float) -> None:
        """A poll saw this ending first, unless a webhook told of it."""
        ended = batch.ended_at
        if (account, batch.id) not in self._notes and ended is not None and now - ended > LATE:
            self._in_a_row[account] = 0

    def will_tell(self, account: str, batch_id: str) -> bool:
        """Whether a webhook is expected to tell of this batch's end; one that has told will not tell again."""
        return self._in_a_row.get(account, 0) >= RELIABLE and (account, batch_id) not in self._notes


@dataclass
class Timetable:
    """When this process looks at open batches: by histories, where it has any, and by the webhooks that have told it."""

    clock: Callable[[], Millis]
    random: Random
    pace: Pace = BACKGROUND
    histories: Histories | None = None
    hints: Hints = field(default_factory=Hints)

    def alone(self, account: str, batch: Batch, model: str | None = None) -> Millis:
        """The next look at one open batch."""
        return self.clock() + millis(self._wait(account, batch, self.random, model))

    def listed(self, account: str, batch: Batch, random: Random, model: str | None = None) -> Millis:
        """The next look at one that a list shows, when others of its account are listed too."""
        seconds = self._wait(account, batch, random, model, together=True)
        return millis(in_step(self.clock() / 1000 + seconds, account, self.pace))

    def found(self, account: str, batch: Batch) -> None:
        """A look shows an ending that nobody had seen."""
        self.hints.found(account, batch, self.clock() / 1000)

    def learn(self, settlement: Settlement, submitted_model: str | None) -> None:
        if self.histories is not None:
            self.histories.learn(settlement, submitted_model)

    def _wait(self, account: str, batch: Batch, random: Random, model: str | None, *, together: bool = False) -> float:
        history = self.histories.of(account, batch.model or model) if self.histories else None
        with_webhook = self.hints.will_tell(account, batch.id)
        now = self.clock() / 1000
        return next_look(batch, now, random, self.pace, history=history, with_webhook=with_webhook, together=together)


def millis(seconds: float) -> Millis:
    return max(int(seconds * 1000), 1)


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
LONG_GAP = 2.0
"""Looks further apart than this times `longest` were kept from coming, or the clock jumped."""
PAST_EXPIRY = 3600.0
"""A batch that its provider no longer knows is given up this long after it must have ended."""


def one_more(attempts: Iterable[Attempts], trouble: Trouble, now: Millis) -> tuple[Attempts, ...]:
    """With a look that met this trouble, as the first.

    A look that meets another trouble, or an error that says nothing about the batch, forgets none: a provider whose
    answers alternate would never use up any patience. A look that finds the batch open forgets them all.
    """
    known = {one.trouble: one for one in attempts}
    earlier = known.pop(trouble, Attempts(trouble, now, 0))
    since, jump = _by_steady_clock(earlier, now)
    return Attempts(trouble, since, earlier.looks + 1, now, jump), *known.values()


def _by_steady_clock(attempts: Attempts, now: Millis) -> tuple[Millis, Millis]:
    """`since` and `jump`, with what has passed since the last look.

    The longest gap between two looks, as far as it is longer than looks are apart, is taken for a clock that jumped
    ahead: one jump of days then uses up no patience. A clock that is set back gives the jump back, and moves `since`.
    """
    gap = now - (attempts.last or now)
    if gap < 0:
        return min(attempts.since, attempts.since + attempts.jump + gap), max(attempts.jump + gap, 0)
    return attempts.since, max(attempts.jump, gap - millis(_patience(attempts).longest * LONG_GAP), 0)


def exhausted(attempts: Attempts, now: Millis, *, expires_at: float | None = None) -> bool:
    """Whether it is time to settle without."""
    patience, since, jump = _patience(attempts), attempts.since / 1000, attempts.jump / 1000
    until = since + patience.seconds
    if attempts.trouble == "batch_not_found" and expires_at is not None:
        until = max(expires_at, since) + PAST_EXPIRY
    return attempts.looks >= patience.looks and now / 1000 >= until + jump


def after_trouble(attempts: Attempts, random: Random, *, retry_after: float | None = None) -> float:
    """Seconds until the next look; looks that are counted come at nearly full distance."""
    patience, late = _patience(attempts), 0.5 + 0.5 * random()
    return after_error(
        attempts.looks, lambda: late, retry_after=retry_after, first=patience.first, longest=patience.longest
    )


def _patience(attempts: Attempts) -> Patience:
    """The longest, for a trouble that only another version of batchmeter knows."""
    return next((one for name, one in PATIENCE.items() if name == attempts.trouble), PATIENCE["output_broken"])
