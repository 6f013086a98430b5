"""One account's part of the tracker: its breaker, its budget of requests, and how many of its batches are in hand."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    PermissionDeniedError,
    RateLimitError,
    UsageError,
    seconds_of,
)
from batchmeter.providers import Provider

from .lease import Sleep
from .schedule import DEFAULTS, LOOK_SECONDS, Random, TrackerOptions, pause_asked

log = logging.getLogger("batchmeter")

Answer = TypeVar("Answer")

MAX_BACKLOG = 64
"""Ended batches of one account that wait for their download; more are claimed when these are done."""
UNUSABLE_SECONDS = 60.0
"""Seconds before an account that is not configured here is tried again."""
RECOVERY = 1.02
"""Growth of the rate with each good answer."""
Blame = Literal["batch", "account", "account now"]
"""The side at fault: `account` opens its breaker after a few failures, `account now` at once."""
_BLAME: tuple[tuple[type[Exception], Blame], ...] = (
    (UsageError, "account now"),
    (AuthenticationError, "account now"),
    (PermissionDeniedError, "account now"),
    (RateLimitError, "account now"),
    (APIConnectionError, "account"),
    (APIResponseError, "account"),
    (InternalServerError, "account"),
)


async def answer_in_time(provider: Provider, call: Awaitable[Answer]) -> Answer:
    """APITimeoutError after LOOK_SECONDS, whatever the provider does with its own time-outs."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await call
    except TimeoutError as error:
        raise APITimeoutError(f"{provider.endpoint}: no answer in {LOOK_SECONDS:g} s") from error


def blame(error: Exception) -> Blame:
    for kind, whose in _BLAME:
        if isinstance(error, kind):
            return whose
    return "batch"


@dataclass(slots=True)
class Breaker:
    """After failures in a row, leaves an account or a logger alone for a while that doubles, then probes once.

    Times are seconds on whatever clock the caller uses; one that is set back makes no pause longer.
    """

    random: Random
    threshold: int = 5
    """Failures in a row that open it."""
    first: float = 5.0
    longest: float = 300.0
    failures: int = 0
    probing: bool = False
    """The breaker was open: let one call through and see."""
    _opened: int = 0
    _open_until: float = 0.0
    _checked_at: float = 0.0

    def pause_left(self, now: float) -> float:
        """Seconds until it lets a call through."""
        if now < self._checked_at:
            self._open_until -= self._checked_at - now
        self._checked_at = now
        return max(self._open_until - now, 0.0)

    def success(self) -> None:
        self.failures = self._opened = 0
        self._open_until, self.probing = 0.0, False

    def failure(self, now: float, *, retry_after: float | None = None, at_once: bool = False) -> None:
        """Count it; `at_once` opens whatever the count (a refused key, a rate limit)."""
        if self.pause_left(now):  # of a call that was under way when it opened
            self._open_until = max(self._open_until, now + (retry_after or 0.0))
            return
        self.failures += 1
        if at_once or self.probing or self.failures >= self.threshold:
            wait = min(self.first * 2.0 ** min(self._opened, 30), self.longest) * (0.75 + 0.5 * self.random())
            self._opened += 1
            self.probing = True
            self._open_until = now + max(wait, retry_after or 0.0)


@dataclass
class Budget:
    """A token bucket whose rate halves when the provider says slow down, and creeps back.

    Requests a second, on average; `burst` may go at once.
    """

    clock: Callable[[], float]
    """Seconds."""
    sleep: Sleep
    most: float = 20.0
    least: float = 1.0
    burst: float = 100.0
    rate: float = field(init=False)
    _tokens: float = field(init=False)
    _at: float = field(init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self.rate = self.most
        self._tokens = self.burst
        self._at = self.clock()

    async def take(self) -> None:
        """Returns when one more request is within the budget; in the order asked."""
        async with self._turn:
            self._refill()
            while self._tokens < 1:
                await self.sleep((1 - self._tokens) / self.rate + 0.001)
                self._refill()
            self._tokens -= 1

    def answered(self) -> None:
        self.rate = min(self.rate * RECOVERY, self.most)

    def refused(self) -> None:
        """429: half the rate, and nothing saved up."""
        self.rate = max(self.rate / 2, self.least)
        self._tokens = min(self._tokens, 1.0)

    def _refill(self) -> None:
        now = self.clock()
        self._tokens = min(self._tokens + max(now - self._at, 0.0) * self.rate, self.burst)
        self._at = now


@dataclass
class AccountState:
    """One account, as this tracker knows it. What fails here slows nobody else. Times are epoch seconds by the ledger's clock."""

    account: str
    random: Random
    budget: Budget
    options: TrackerOptions = DEFAULTS
    unseen: set[str] = field(default_factory=set[str])
    """Claimed batches that are still to be looked at; nothing more is claimed meanwhile."""
    backlog: int = 0
    unusable_until: float = 0.0
    """This process cannot serve it (not configured here); others may."""
    trouble: str | None = None
    """Why it was paused, if it was."""
    refused: bool = False
    """Its key was refused."""
    cut_short: bool = False
    """A Retry-After was longer than it counts for, which is said once."""
    breaker: Breaker = field(init=False)
    looking: asyncio.Semaphore = field(init=False)
    settling: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.random, threshold=3, first=10.0)
        self.looking = asyncio.Semaphore(self.options.looks)
        self.settling = asyncio.Semaphore(self.options.downloads)

    def ready(self, now: float) -> bool:
        return not self.unseen and self.backlog < MAX_BACKLOG and not self.rest_left(now)

    def rest_left(self, now: float) -> float:
        """Seconds until its batches are claimed here again."""
        return max(self.pause_left(now), min(self.unusable_until - now, UNUSABLE_SECONDS))

    def pause_left(self, now: float) -> float:
        """Seconds until this account is asked again."""
        return self.breaker.pause_left(now)

    def worked(self, now: float) -> None:
        if self.pause_left(now):
            return  # it was on its way before the account was refused
        self.breaker.success()
        self.budget.answered()
        self.trouble, self.refused = None, False

    def failed(self, error: Exception, now: float) -> None:
        """A refused key or a rate limit pauses the account at once; an outage after a few failures in a row.

        Requests that were under way together fail together: that is one failure, not eight.
        """
        whose = blame(error)
        if whose == "batch":
            return
        self.trouble, self.refused = f"{type(error).__name__}: {error}", isinstance(error, AuthenticationError)
        if isinstance(error, RateLimitError) and not self.pause_left(now):
            self.budget.refused()
        pause = pause_asked(error, self.options.longest_pause)
        wanted = seconds_of(getattr(error, "retry_after", None))
        if not self.cut_short and pause is not None and wanted is not None and pause < wanted:
            self.cut_short = True
            log.warning(
                "account %s: its provider asks to wait %g s; it is asked again after %g s (setting longest_pause)",
                self.account,
                wanted,
                pause,
            )
        self.breaker.failure(now, retry_after=pause, at_once=whose == "account now")

    async def pause_or_budget(self) -> float:
        """Seconds that it is left alone for; 0.0 when one more request is within its budget."""
        if not self.pause_left(self.budget.clock()):
            await self.budget.take()
        return self.pause_left(self.budget.clock())

    @asynccontextmanager
    async def turn_to_settle(self) -> AsyncGenerator[None]:
        """A few at a time; those that wait count as backlog."""
        self.backlog += 1
        try:
            async with self.settling:
                yield
        finally:
            self.backlog -= 1
