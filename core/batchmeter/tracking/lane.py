"""One account's part of the tracker: its breaker, its share of requests, and whether it is being served now."""

import asyncio
import logging
from dataclasses import dataclass, field

from batchmeter.errors import AuthenticationError, RateLimitError

from .breaker import Breaker
from .budget import Budget
from .follow import blame
from .schedule import LONGEST_PAUSE, Random, pause_asked

log = logging.getLogger("batchmeter")

MAX_BACKLOG = 64
"""Ended batches of one account that wait for their download; more are claimed when these are done."""


@dataclass
class Lane:
    """An account. What fails here slows nobody else. Times are epoch seconds by the ledger's clock."""

    account: str
    random: Random
    budget: Budget
    requests: int = 8
    """Looks at a time."""
    downloads: int = 8
    """Settlements at a time."""
    longest_pause: float = LONGEST_PAUSE
    """Seconds that a Retry-After counts for at most."""
    serving: int = 0
    """Groups of claims being looked at; nothing more is claimed meanwhile."""
    backlog: int = 0
    unusable_until: float = 0.0
    """This process cannot serve it (not configured here); others may."""
    trouble: str | None = None
    """Why it was paused, if it was."""
    refused: bool = False
    """It was its key."""
    cut_short: bool = False
    """A Retry-After was longer than it counts for, which is said once."""
    breaker: Breaker = field(init=False)
    looking: asyncio.Semaphore = field(init=False)
    settling: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.random, threshold=3, first=10.0)
        self.looking = asyncio.Semaphore(self.requests)
        self.settling = asyncio.Semaphore(self.downloads)

    def ready(self, now: float) -> bool:
        return not self.serving and self.backlog < MAX_BACKLOG and now >= self.resumes_at

    @property
    def resumes_at(self) -> float:
        return max(self.breaker.open_until, self.unusable_until)

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
        if whose != "batch":
            self.trouble, self.refused = f"{type(error).__name__}: {error}", isinstance(error, AuthenticationError)
            if isinstance(error, RateLimitError) and not self.pause_left(now):
                self.budget.refused()
            asked = pause_asked(error, self.longest_pause)
            self._tell_if_shorter(error, asked)
            self.breaker.failure(now, retry_after=asked, at_once=whose == "account now")

    def _tell_if_shorter(self, error: Exception, pause: float | None) -> None:
        asked: float | None = getattr(error, "retry_after", None)
        if not self.cut_short and asked is not None and pause is not None and pause < asked:
            self.cut_short = True
            log.warning(
                "account %s: its provider asks to wait %g s; it is asked again after %g s (setting longest_pause)",
                self.account,
                asked,
                pause,
            )

    def pause_left(self, now: float) -> float:
        """Seconds until this account is asked again."""
        return max(self.breaker.open_until - now, 0.0)
