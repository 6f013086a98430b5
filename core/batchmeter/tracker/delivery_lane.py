"""One logger's lane: claims its due events, hands them over one by one, and writes down how each ended."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchmeter.errors import LedgerError, NotDue, Rejected, RetryLater, seconds_of
from batchmeter.events import Event
from batchmeter.hook_calls import Logger, exceptions_only, within
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Delivery, DeliveryResult
from batchmeter.plugins import Plugins
from batchmeter.redaction import Redaction

from .account_state import Breaker
from .lease import Sleep, nap, take, to_the_end
from .schedule import Random, after_error

log = logging.getLogger("batchmeter")


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """Seconds, and numbers of things at a time."""

    timeout: float = 30.0
    """For one event; then it is tried again."""
    lease: float = 120.0
    """A killed worker's events are taken over after this; longer than `timeout`."""
    block: int = 32
    """Events claimed at once."""
    at_a_time: int = 8
    """Calls to one async logger under way; a logger with a plain `def` gets one at a time."""
    idle: float = 5.0
    """Longest sleep: other processes record events too."""
    backoff_first: float = 1.0
    backoff_longest: float = 3600.0
    attempts: int = 100
    """Failures before an event is dead, about four days of an hourly try: an outage over a long weekend loses nothing."""
    threshold: int = 5
    """Failures in a row after which only single probes are made, with back-off."""
    longest_pause: float = 3600.0
    """The longest that a logger may ask for: a backend's Retry-After of days would keep its events from it."""


_PAUSED = "paused: "
_REFUSALS = (401, 403)
REFUSED_PAUSE = 300.0
"""Seconds between probes of a logger whose credentials are refused."""
MOST_STUCK = 3
"""Calls that ignore their cancellation; with so many the logger is asked no more until one returns."""
_SHORTEST = 0.2
_ERROR_CHARS = 500


@dataclass
class LoggerLane:
    """Its state outlives single runs: a breaker, and calls that hang."""

    name: str
    ledger: Ledger
    plugins: Plugins
    redaction: Redaction
    owner: str
    options: LaneOptions
    random: Random
    sleep: Sleep
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    closing: bool = False
    """Claim no more; what is under way is finished."""
    breaker: Breaker = field(init=False)
    _calls: set[object] = field(default_factory=set[object])
    """Under way."""
    _stuck: set[object] = field(default_factory=set[object])
    _refused: bool = False
    _failing: bool = False
    _held: str = ""
    _long_pause_logged: bool = False

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.random, threshold=self.options.threshold)

    async def run(self) -> None:
        """Until cancelled or told to close; no error ends it."""
        while not self.closing:
            self.wake.clear()
            rest = self.options.idle
            try:
                if await self._round():
                    continue
                rest = await self._rest()
            except LedgerError as error:
                log.warning("logger %s: %s", self.name, error)
            except Exception:
                log.exception("logger %s: its lane failed", self.name)
            await nap(self.sleep, self.wake, rest)

    async def empty(self) -> None:
        """Until nothing is due."""
        while await self._round():
            pass

    async def _round(self) -> int:
        logger = self.plugins.loggers.get(self.name)
        if logger is None or self.breaker.pause_left(self._now()) or len(self._stuck) >= MOST_STUCK:
            return 0
        claiming = self.ledger.claim_deliveries(  # none, and no attempt counted, while a redactor is missing
            self.name,
            owner=self.owner,
            limit=1 if self.breaker.probing else self.options.block,
            lease_seconds=self.options.lease,
            redactors=self.plugins,
        )
        claimed = await take(claiming, self._give_back)
        self._note_held("" if claimed else await self.redaction.missing())
        if claimed:
            await self._hand_over(logger, claimed)
        return len(claimed)

    def _note_held(self, held: str) -> None:
        if held and held != self._held:
            log.warning("EVENTS FOR LOGGER %s ARE HELD BACK: %s", self.name, held)
        if self._held and not held:
            log.info("events for logger %s are held back no more", self.name)
        self._held = held

    async def _rest(self) -> float:
        """Seconds until something is due, or the logger is probed."""
        due = await self.ledger.next_delivery_at([self.name])
        now = self._now()
        if len(self._stuck) >= MOST_STUCK or due is None or self._held:
            return self.options.idle
        return min(max(due / 1000 - now, self.breaker.pause_left(now), 0.05), self.options.idle)

    async def _hand_over(self, logger: Logger, claimed: Sequence[Delivery]) -> None:
        """Batches side by side, one batch's events in order; what is left when cancelled is due again."""
        by_batch: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in claimed:
            event = delivery.stored.event
            by_batch.setdefault((event.account, event.batch_id), []).append(delivery)
        left = {delivery.stored.seq: delivery for delivery in claimed}
        slots = asyncio.Semaphore(1 if logger.blocking else self.options.at_a_time)
        try:
            await self._side_by_side([self._in_order(logger, mine, slots, left) for mine in by_batch.values()])
        except asyncio.CancelledError:
            await to_the_end(self._give_back(list(left.values())))
            raise

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        await self.ledger.finish_deliveries([self._again(delivery, 0.0, "interrupted") for delivery in deliveries])

    async def _side_by_side(self, work: Sequence[Coroutine[Any, Any, None]]) -> None:
        """A ledger that is away ends the round: what was not written down is leased, and due again when that ends."""
        try:
            async with asyncio.TaskGroup() as group:
                for each in work:
                    group.create_task(each)
        except* LedgerError as errors:
            log.warning("logger %s: %s", self.name, errors.exceptions[0])

    async def _in_order(
        self, logger: Logger, deliveries: Sequence[Delivery], slots: asyncio.Semaphore, left: dict[int, Delivery]
    ) -> None:
        waiting: str | None = None
        for delivery in deliveries:
            async with slots:
                if waiting is None:
                    result = await self._attempt(logger, delivery)
                else:
                    result = self._again(delivery, self.options.backoff_first, waiting)
                del left[delivery.stored.seq]
                await to_the_end(self.ledger.finish_deliveries([result]))
            if result.state == "pending":
                waiting = "waits for this batch's earlier event"

    async def _attempt(self, logger: Logger, delivery: Delivery) -> DeliveryResult:
        pause = self.breaker.pause_left(self._now())
        if pause:
            return self._again(delivery, pause, delivery.last_error)
        try:
            await self._call(logger, delivery.stored.event)
        except Rejected as error:
            self._works()
            log.warning("logger %s rejects event %s: %s", self.name, delivery.stored.event.id, error)
            return DeliveryResult(delivery, "dead", error=_text(error))
        except NotDue as error:
            self._works()
            return self._again(delivery, self._pause_asked(error) or self.options.backoff_first, _text(error))
        except Exception as error:  # noqa: BLE001 - whatever a logger raises is that logger's trouble alone
            return self._failed(delivery, error)
        self._works()
        event = delivery.stored.event
        log.info("event %s (%s) delivered to %s", event.id, event.type, self.name)
        return DeliveryResult(delivery, "delivered")

    async def _call(self, logger: Logger, event: Event) -> None:
        """A call that ignores its cancellation is left behind, and counts as stuck until it ends."""
        call = object()
        try:
            await within(self._contained(logger, event, call), self.options.timeout)
        finally:
            if call in self._calls:
                self._stuck.add(call)

    async def _contained(self, logger: Logger, event: Event, call: object) -> None:
        """Nothing but an Exception comes out, whatever the logger does."""
        self._calls.add(call)
        try:
            with exceptions_only():
                await logger.deliver(await self._redacted(event))
        except KeyboardInterrupt as error:
            raise RuntimeError("it raised KeyboardInterrupt") from error
        finally:
            self._calls.discard(call)
            if call in self._stuck:
                self._stuck.discard(call)
                self.wake.set()

    async def _redacted(self, event: Event) -> Event:
        try:
            return await self.plugins.redact(event)
        except Exception as error:
            raise RuntimeError(f"a redact hook failed, nothing was sent: {_text(error)}") from error

    def _works(self) -> None:
        if self.breaker.probing:
            log.info("logger %s accepts events again", self.name)
        if self.breaker.failures:
            self.breaker.success()
        self._refused = self._failing = False

    def _failed(self, delivery: Delivery, error: Exception) -> DeliveryResult:
        text = _text(error)
        if _status(error) in _REFUSALS:
            return self._pause(delivery, text)
        pause = self._pause_asked(error)
        self._log_first(delivery, error, text)
        was_open = self.breaker.probing
        self.breaker.failure(self._now(), retry_after=pause)
        if self.breaker.probing and not was_open:
            log.warning("logger %s fails and is only probed until it works: %s", self.name, text)
        if self._spent(delivery) and not isinstance(error, RetryLater):
            log.error("logger %s: event %s is dead: %s", self.name, delivery.stored.event.id, text)
            return DeliveryResult(delivery, "dead", error=text)
        if pause is None:
            first, longest = self.options.backoff_first, self.options.backoff_longest
            pause = after_error(delivery.attempts + 1, self.random, first=first, longest=longest)
        return self._again(delivery, pause, text)

    def _log_first(self, delivery: Delivery, error: Exception, text: str) -> None:
        """The first failure since the last success; the breaker tells of the fifth."""
        if not self._failing:
            log.warning(
                "logger %s failed with event %s, which is tried again: %s", self.name, delivery.stored.event.id, text
            )
            log.debug("logger %s: where it failed", self.name, exc_info=error)
        self._failing = True

    def _pause_asked(self, error: Exception) -> float | None:
        """Seconds; None where none, or no number that is one, was asked for."""
        pause = seconds_of(error.after) if isinstance(error, RetryLater) else None
        if pause is None:
            return None
        if pause > self.options.longest_pause and not self._long_pause_logged:
            self._long_pause_logged = True
            log.warning(
                "logger %s asks for a pause of %g s: it is tried again after %g s",
                self.name,
                pause,
                self.options.longest_pause,
            )
        return min(max(pause, 0.0), self.options.longest_pause)

    def _pause(self, delivery: Delivery, text: str) -> DeliveryResult:
        """Refused credentials are no fault of the event: it stays pending until a person has mended them."""
        if not self._refused:
            log.warning(
                "LOGGER %s IS PAUSED: its backend refuses the credentials (%s). Its events are kept, and are delivered "
                "once this is mended; it is tried again every %g s",
                self.name,
                text,
                REFUSED_PAUSE,
            )
        self._refused = True
        self.breaker.failure(self._now(), retry_after=REFUSED_PAUSE, at_once=True)
        return self._again(delivery, REFUSED_PAUSE, _PAUSED + text)

    def _spent(self, delivery: Delivery) -> bool:
        paused = (delivery.last_error or "").startswith(_PAUSED)
        return delivery.attempts + 1 >= self.options.attempts and not paused

    def _again(self, delivery: Delivery, seconds: float, error: str | None) -> DeliveryResult:
        wait = max(seconds, _SHORTEST) if seconds else 0.0
        return DeliveryResult(delivery, "pending", self.ledger.now() + int(wait * 1000), error)

    def _now(self) -> float:
        return self.ledger.now() / 1000


def _text(error: BaseException) -> str:
    """One line for people; a traceback would name our files, not theirs."""
    return f"{type(error).__name__}: {error}"[:_ERROR_CHARS]


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception carries, ours, httpx's or requests'."""
    found = getattr(error, "status_code", None)
    status: object = getattr(getattr(error, "response", None), "status_code", None) if found is None else found
    return status if isinstance(status, int) else None
