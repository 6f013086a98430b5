"""One step of one batch: look at the provider, then settle it, or say when to look again."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UsageError,
)
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, Millis, Reschedule, is_another
from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions, Provider

from .hints import Hints
from .histories import Histories
from .patience import Attempts, Trouble
from .schedule import BACKGROUND, LONGEST_PAUSE, Pace, Random, after_error, in_step, next_look, pause_asked
from .settle import Later, Settler
from .whose import with_id

log = logging.getLogger("batchmeter")

Answer = TypeVar("Answer")

Blame = Literal["batch", "account", "account now"]
"""Whose failure it is: `account` opens its breaker after a few, `account now` at once."""
_BLAME: tuple[tuple[type[Exception], Blame], ...] = (
    (UsageError, "account now"),
    (AuthenticationError, "account now"),
    (PermissionDeniedError, "account now"),
    (RateLimitError, "account now"),
    (APIConnectionError, "account"),
    (APIResponseError, "account"),
    (InternalServerError, "account"),
)
_NEWER: frozenset[Trouble] = frozenset({"output_not_listed", "never_started", "nothing_done", "lines_missing"})


def blame(error: Exception) -> Blame:
    for kind, whose in _BLAME:
        if isinstance(error, kind):
            return whose
    return "batch"


@dataclass(frozen=True, slots=True)
class Follower:
    """Steps for claimed batches. Each ends its claim: settled, rescheduled, or lost to another worker."""

    ledger: Ledger
    settler: Settler
    random: Random
    look_seconds: float = 60.0
    """One look may take this long, retries included."""
    longest_pause: float = LONGEST_PAUSE
    histories: Histories = field(default_factory=Histories)
    hints: Hints = field(default_factory=Hints)
    pace: Pace = BACKGROUND

    async def look(self, provider: Provider, batch_id: str) -> Batch:
        """The provider's newest word."""
        return await self._in_time(provider, provider.retrieve_batch(batch_id, self._options))

    async def look_again(self, provider: Provider, claim: Claim) -> Batch:
        """As `look`, but an end that was seen stands, at last also where the provider has forgotten the batch."""
        known = claim.tracked.batch
        try:
            return self.newer(claim, _still(known, await self.look(provider, known.id)))
        except NotFoundError:
            now = self.ledger.now() / 1000
            if not known.ended or not self._not_found(claim, now).each[0].exhausted(now, expires_at=known.expires_at):
                raise
            return known

    def _not_found(self, claim: Claim, now: float) -> Attempts:
        return Attempts.of(claim.tracked.last_error).met("batch_not_found", now)

    async def look_at_many(self, provider: Provider, after: str | None) -> Page[Batch]:
        """A hundred batches in one request, newest first."""
        return await self._in_time(provider, provider.list_batches(after=after, limit=100, options=self._options))

    @property
    def _options(self) -> CallOptions:
        return CallOptions(timeout=self.look_seconds)

    async def _in_time(self, provider: Provider, call: Awaitable[Answer]) -> Answer:
        try:
            async with asyncio.timeout(self.look_seconds):
                return await call
        except TimeoutError as error:
            raise APITimeoutError(f"{provider.endpoint}: no answer in {self.look_seconds:g} s") from error

    def needs_look(self, claim: Claim) -> bool:
        """A final snapshot is enough to settle, unless it lacked what only a newer one has."""
        met = {attempt.trouble for attempt in Attempts.of(claim.tracked.last_error).each}
        return not claim.tracked.batch.ended or not met.isdisjoint(_NEWER)

    def found(self, account: str, batch: Batch) -> None:
        """A poll shows an ending that nobody had seen."""
        self.hints.found(account, batch, self.ledger.now() / 1000)

    def newer(self, claim: Claim, seen: Batch) -> Batch:
        """A batch that goes back from its end was seen by a lagging replica: the end stands."""
        known = claim.tracked.batch
        return known if known.ended and not seen.ended else with_id(seen, known.id)

    async def finish(self, provider: Provider, claim: Claim, batch: Batch) -> Settlement | Later:
        """Settle an ended batch, or put it off."""
        result = await self.settler.settle(provider, claim, batch)
        if isinstance(result, Later):
            await self.reschedule(claim, result.seconds, batch=batch, error=result.error)
        else:
            self.histories.learn(result, claim.tracked.submission.model)
        return result

    async def failed(self, claim: Claim, error: Exception, *, not_before: float = 0.0) -> Settlement | None:
        """Put off a batch that could not be looked at; give it up when its provider has long forgotten it."""
        text = f"{type(error).__name__}: {error}"
        delay = after_error(
            claim.tracked.error_count + 1, self.random, retry_after=pause_asked(error, self.longest_pause)
        )
        if isinstance(error, NotFoundError):
            now = self.ledger.now() / 1000
            attempts = self._not_found(claim, now)
            attempt, text = attempts.each[0], attempts.text(text)
            if attempt.exhausted(now, expires_at=claim.tracked.batch.expires_at):
                log.warning("batch %s: given up: %s", claim.tracked.batch_id, text)
                return await self.settler.give_up(claim)
            delay = attempt.delay(self.random)
        await self.reschedule(claim, max(delay, not_before), error=text)
        return None

    def still_open(
        self, claim: Claim, batch: Batch, random: Random | None = None, *, together: bool = False
    ) -> Reschedule:
        """The next look at a batch that is not done; `together` with others that a list shows."""
        draw, model = random or self.random, claim.tracked.submission.model
        if together:
            return Reschedule(claim, self.look_together(claim.tracked.account, batch, draw, model), batch=batch)
        seconds = self._wait(claim.tracked.account, batch, draw, model)
        return Reschedule(claim, self.ledger.now() + _millis(seconds), batch=batch)

    def look_together(self, account: str, batch: Batch, random: Random, model: str | None = None) -> Millis:
        """When it is looked at next, as others of its account are at that moment."""
        seconds = self._wait(account, batch, random, model, together=True)
        return _millis(in_step(self.ledger.now() / 1000 + seconds, account, self.pace))

    def _wait(self, account: str, batch: Batch, random: Random, model: str | None, *, together: bool = False) -> float:
        history = self.histories.of(account, batch.model or model)
        told = self.hints.will_tell(account, batch.id)
        now = self.ledger.now() / 1000
        return next_look(batch, now, random, self.pace, history=history, told=told, together=together)

    async def reschedule(
        self, claim: Claim, seconds: float, *, batch: Batch | None = None, error: str | None = None
    ) -> None:
        at = self.ledger.now() + _millis(seconds)
        if error is not None and not Attempts.of(error).each:
            error = Attempts.of(claim.tracked.last_error).text(error)
        await self.ledger.reschedule([Reschedule(claim, at, batch=batch, error=error)])

    async def release(self, claims: list[Claim]) -> None:
        """Stopped in the middle: due again at once, for whoever comes next."""
        now = self.ledger.now()
        await self.ledger.reschedule([Reschedule(claim, now, error=claim.tracked.last_error) for claim in claims])

    async def release_one(self, claim: Claim | None) -> None:
        if claim is not None:
            await self.release([claim])


def _still(known: Batch, seen: Batch) -> Batch:
    """NotFoundError where the provider's server has given its id to another batch."""
    if is_another(known, seen):
        raise NotFoundError(f"the id {known.id} is another batch's by now", status_code=404)
    return seen


def _millis(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
