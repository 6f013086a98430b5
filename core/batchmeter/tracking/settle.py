"""A finished batch's answers, read to the end and written down once: settlement, event and deliveries."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from batchmeter.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
)
from batchmeter.events import Settlement
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Claim, TrackedBatch
from batchmeter.metering.tally import LINES_MALFORMED
from batchmeter.models import Batch, LineCounts, RequestCounts
from batchmeter.providers import OutputFile, Provider

from .events_of import (
    BATCH_UNAVAILABLE,
    LINES_MISSING,
    UNAVAILABLE,
    Bill,
    ending_event,
    loggers_for,
    settlement_of,
    unreadable,
)
from .lease import LeaseLostError, Leases
from .needs import Plugins
from .patience import Attempts, Trouble
from .schedule import LONGEST_PAUSE, Random, pause_asked
from .whole import Watched

log = logging.getLogger("batchmeter")

Meter = Callable[[Provider, TrackedBatch, Batch, Sequence[OutputFile]], Awaitable[Bill]]
ERRORS_UNAVAILABLE = "errors_unavailable"
"""Note: the file with the failed lines is gone; they are not counted, the cost is whole."""
_ACCOUNT_ERRORS = (AuthenticationError, PermissionDeniedError, RateLimitError)
"""Say nothing about the batch: tried again for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Later:
    """Not settled: look again."""

    seconds: float
    error: str
    cause: Exception | None = None


@dataclass(frozen=True, slots=True)
class Settler:
    """Settles claimed batches."""

    ledger: Ledger
    plugins: Plugins
    meter: Meter
    random: Random
    leases: Leases
    longest_pause: float = LONGEST_PAUSE

    async def settle(self, provider: Provider, claim: Claim, batch: Batch) -> Settlement | Later:
        """LeaseLostError when another worker has the batch, or had settled it already."""
        async with self.leases.held(claim):
            bill = await self._bill(provider, claim.tracked, batch)
        return bill if isinstance(bill, Later) else await self._record(claim, batch, bill)

    async def give_up(self, claim: Claim) -> Settlement:
        """The provider has forgotten the batch itself: its cost is unknown, and says so."""
        batch = claim.tracked.batch
        return await self._record(claim, batch, unreadable(batch, BATCH_UNAVAILABLE))

    async def _record(self, claim: Claim, batch: Batch, bill: Bill) -> Settlement:
        settlement = settlement_of(claim.tracked, batch, bill, time=self.ledger.now())
        event = ending_event(claim.tracked.submission, settlement)
        loggers = loggers_for(event, self.plugins.loggers)
        if not await self.ledger.settle(claim, settlement, bill.groups, event, loggers=loggers):
            raise LeaseLostError(batch.id)
        log.info("batch %s of %s settled: %s, %s", batch.id, settlement.account, settlement.status, bill.cost.total)
        return settlement

    async def _bill(self, provider: Provider, tracked: TrackedBatch, batch: Batch) -> Bill | Later:
        watched = Watched(())
        try:
            watched = Watched(await provider.outputs(batch))
            if lags(batch, watched.files):
                later = self._later("output_not_listed", tracked, "the provider lists no output file yet")
                return later or _never_listed(batch)
            bill = await self.meter(provider, tracked, batch, watched.checked())
        except NotFoundError as error:
            later = self._later("output_not_found", tracked, str(error), error)
            return later or await self._salvage(provider, tracked, batch, watched)
        except _ACCOUNT_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch must come to an end
            _tell(error, batch)
            later = self._later("output_broken", tracked, f"{type(error).__name__}: {error}", error)
            return later or unreadable(batch)
        return self._all_there(tracked, batch, bill)

    def _all_there(self, tracked: TrackedBatch, batch: Batch, bill: Bill) -> Bill | Later:
        """A file cut off between two lines looks whole: read it once more before believing that lines are missing."""
        counts = batch.request_counts or RequestCounts()
        found = bill.lines.succeeded + bill.lines.failed
        if not _short(batch, bill, counts):
            return bill
        nothing = batch.status == "completed" and not found and not bill.lines.malformed
        trouble: Trouble = "output_not_listed" if nothing else "lines_missing"
        detail = f"{found} lines of {counts.total} could be read, {bill.lines.malformed} could not"
        later = self._later(trouble, tracked, detail)
        if later is not None:
            return later
        if nothing:
            return _never_listed(batch)
        absent = found + bill.lines.malformed < counts.total
        if absent:
            bill = replace(bill, notes=(*bill.notes, LINES_MISSING))
        sure = batch.status != "cancelled" and counts.completed > _accounted(bill)
        return _partly(bill, batch, LINES_MISSING) if sure else bill

    async def _salvage(self, provider: Provider, tracked: TrackedBatch, batch: Batch, watched: Watched) -> Bill:
        """What can be known when a file is gone for good."""
        lost = {file.kind for file in watched.files if file.id in watched.gone} or {"output"}
        rest = watched.without_gone()
        bill = Bill()
        if rest.files:
            with suppress(NotFoundError):
                bill = await self.meter(provider, tracked, batch, rest.checked())
        if lost == {"error"}:
            return replace(bill, notes=(*bill.notes, ERRORS_UNAVAILABLE))
        if not bill.lines.succeeded:
            return unreadable(batch)
        return _partly(replace(bill, notes=(*bill.notes, UNAVAILABLE)), batch, UNAVAILABLE)

    def _later(
        self, trouble: Trouble, tracked: TrackedBatch, detail: str, cause: Exception | None = None
    ) -> Later | None:
        """None when patience is used up."""
        now = self.ledger.now() / 1000
        attempts = Attempts.of(tracked.last_error).met(trouble, now)
        attempt, text = attempts.each[0], attempts.text(detail)
        if attempt.exhausted(now):
            log.warning("batch %s: given up: %s", tracked.batch_id, text)
            return None
        asked = None if cause is None else pause_asked(cause, self.longest_pause)
        return Later(attempt.delay(self.random, retry_after=asked), text, cause)


def lags(batch: Batch, files: Sequence[OutputFile]) -> bool:
    """Whether answers exist that no file is listed for yet: a gap that providers close within minutes."""
    if any(file.kind != "error" for file in files):
        return False
    counts, usage = batch.request_counts, batch.usage
    if (counts is not None and counts.completed > 0) or (usage is not None and usage.total_tokens > 0):
        return True
    return batch.status == "completed" and not files


def _short(batch: Batch, bill: Bill, counts: RequestCounts) -> bool:
    """Whether the files hold less than the provider counts; a line cut in two is malformed."""
    found = bill.lines.succeeded + bill.lines.failed
    if batch.status == "completed" and found < counts.total:
        return True
    return counts.completed > bill.lines.succeeded or bill.lines.malformed > 0


def _never_listed(batch: Batch) -> Bill:
    """Completed, no output in all this time: zero only where the provider itself says that nothing succeeded."""
    counts = batch.request_counts
    if counts is None or counts.total == 0 or counts.failed < counts.total:
        return unreadable(batch)
    return Bill(lines=LineCounts(total=counts.total, failed=counts.failed), notes=(ERRORS_UNAVAILABLE,))


def _partly(bill: Bill, batch: Batch, reason: str) -> Bill:
    """Some answers were read, others exist and were not: the known part is a lower bound."""
    counts = batch.request_counts
    missing = max((counts.completed if counts else 0) - _accounted(bill), 1)
    unknown = {**bill.cost.unknown, reason: missing}
    return replace(bill, cost=bill.cost.model_copy(update={"total": None, "unknown": unknown}))


def _accounted(bill: Bill) -> int:
    """Good answers that were read, and lines that may be some."""
    return bill.lines.succeeded + bill.cost.unknown.get(LINES_MALFORMED, 0)


def _tell(error: Exception, batch: Batch) -> None:
    """A provider's trouble is a line; anything else is a bug of ours or a plugin's, and keeps its traceback."""
    if not isinstance(error, ProviderError):
        log.error("batch %s: its answers could not be metered", batch.id, exc_info=error)
