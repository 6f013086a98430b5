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
from batchmeter.ledger.records import Claim, TrackedBatch, progress_of
from batchmeter.metering.result import LINES_MALFORMED
from batchmeter.models import Batch, LineCounts, RequestCounts
from batchmeter.providers import OutputFile, Provider

from .events_of import (
    BATCH_UNAVAILABLE,
    LINES_MISSING,
    UNAVAILABLE,
    Bill,
    ending_event,
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

    async def revise(self, provider: Provider, tracked: TrackedBatch, batch: Batch) -> bool:
        """A settled batch shows files that its settlement has not seen: the next revision, if they can be read."""
        found = await self.ledger.settlement(tracked.batch_id, tracked.account)
        if found is None or not shows_more(batch, found[0].batch):
            return False
        bill = await self._bill(provider, replace(tracked, last_error=None), batch)
        if isinstance(bill, Later):
            if bill.cause is not None and isinstance(bill.cause, ProviderError):
                raise bill.cause
            return False
        revision = found[0].revision + 1
        settlement = settlement_of(tracked, batch, bill, time=self.ledger.now(), revision=revision)
        event = ending_event(tracked.submission, settlement)
        log.info("batch %s of %s: late files, revision %d: %s", batch.id, tracked.account, revision, bill.cost.total)
        await self.ledger.subscribe(self.plugins.subscriptions)
        return await self.ledger.revise(settlement, bill.groups, event, callbacks=self.plugins.callbacks)

    async def give_up(self, claim: Claim) -> Settlement:
        """The provider has forgotten the batch itself: its cost is unknown, and says so."""
        batch = claim.tracked.batch
        return await self._record(claim, batch, unreadable(batch, BATCH_UNAVAILABLE))

    async def _record(self, claim: Claim, batch: Batch, bill: Bill) -> Settlement:
        settlement = settlement_of(claim.tracked, batch, bill, time=self.ledger.now())
        event = ending_event(claim.tracked.submission, settlement)
        await self.ledger.subscribe(self.plugins.subscriptions)
        owed = self.plugins.callbacks
        if not await self.ledger.settle(claim, settlement, bill.groups, event, callbacks=owed):
            raise LeaseLostError(batch.id)
        log.info("batch %s of %s settled: %s, %s", batch.id, settlement.account, settlement.status, bill.cost.total)
        return settlement

    async def _bill(self, provider: Provider, tracked: TrackedBatch, batch: Batch) -> Bill | Later:
        watched, progress = Watched(()), max(tracked.progress, progress_of(batch))
        try:
            watched = Watched.of(await provider.outputs(batch))
            trouble = awaited(batch, watched.files, progress)
            if trouble is not None:
                later = self._later(trouble, tracked, "the provider lists no output file yet")
                return later or nothing_listed(batch, progress)
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
        return self._all_there(tracked, batch, bill, progress)

    def _all_there(self, tracked: TrackedBatch, batch: Batch, bill: Bill, progress: int) -> Bill | Later:
        """A file cut off between two lines looks whole: read it once more before believing that lines are missing."""
        counts = batch.request_counts or RequestCounts()
        completed = counts.completed if batch.status == "cancelled" else max(counts.completed, progress)
        found = bill.lines.succeeded + bill.lines.failed
        nothing = says_nothing(batch, bill, progress)
        if not nothing and not _short(batch, bill, counts, completed):
            return bill
        trouble: Trouble = "output_not_listed" if nothing else "lines_missing"
        detail = f"{found} lines of {counts.total} could be read, {bill.lines.malformed} could not"
        later = self._later(trouble, tracked, detail)
        if later is not None:
            return later
        if nothing:
            return nothing_listed(batch, progress)
        absent = found + bill.lines.malformed < counts.total
        if absent:
            bill = replace(bill, notes=(*bill.notes, LINES_MISSING))
        sure = batch.status != "cancelled" and completed > _accounted(bill)
        return _partly(bill, completed, LINES_MISSING) if sure else bill

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
        completed = batch.request_counts.completed if batch.request_counts else 0
        return _partly(replace(bill, notes=(*bill.notes, UNAVAILABLE)), completed, UNAVAILABLE)

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


def shows_more(batch: Batch, than: Batch) -> bool:
    """Whether it names an output or an error file where the other named none."""
    output = batch.output_file_id is not None and than.output_file_id is None
    return output or (batch.error_file_id is not None and than.error_file_id is None)


def awaited(batch: Batch, files: Sequence[OutputFile], progress: int) -> Trouble | None:
    """Why the files listed so far cannot be all: a gap that providers close within minutes. None: read them."""
    if any(file.kind != "error" for file in files):
        return None
    counts, usage = batch.request_counts, batch.usage
    answered = max(counts.completed if counts else 0, usage.total_tokens if usage else 0, progress)
    if answered > 0 or (batch.status == "completed" and not files):
        return "output_not_listed"
    if files or (batch.status == "failed" and progress < 0):
        return None  # an error file says by its lines what it covers; and what failed validation has none
    if progress < 0:
        return "never_started"
    return "nothing_done" if counts is not None and counts.total else "output_not_listed"


def says_nothing(batch: Batch, bill: Bill, progress: int) -> bool:
    """Whether no answer was read and nothing says that there is none: an empty file may still be filled."""
    counts = batch.request_counts or RequestCounts()
    if bill.lines.succeeded or bill.lines.malformed:
        return False
    if counts.total and bill.lines.failed >= counts.total:
        return False
    if batch.status == "completed":
        return not bill.lines.failed or not counts.total
    if batch.status == "failed" and progress < 0:
        return False
    return progress > 0 if counts.total else progress >= 0 or batch.request_counts is None


def _short(batch: Batch, bill: Bill, counts: RequestCounts, completed: int) -> bool:
    """Whether the files hold less than the provider counts, or counted; a line cut in two is malformed."""
    found = bill.lines.succeeded + bill.lines.failed
    if batch.status == "completed" and found < counts.total:
        return True
    return completed > bill.lines.succeeded or bill.lines.malformed > 0


def nothing_listed(batch: Batch, progress: int) -> Bill:
    """No answer in all this time: zero only where the provider itself says that nothing succeeded."""
    counts = batch.request_counts
    if counts is None or progress > 0:
        return unreadable(batch)
    if batch.status == "completed":
        if counts.total == 0 or counts.failed < counts.total:
            return unreadable(batch)
        return Bill(lines=LineCounts(total=counts.total, failed=counts.failed), notes=(ERRORS_UNAVAILABLE,))
    return unreadable(batch) if counts.total == 0 and progress >= 0 else Bill()


def _partly(bill: Bill, completed: int, reason: str) -> Bill:
    """Some answers were read, others exist and were not: the known part is a lower bound."""
    missing = max(completed - _accounted(bill), 1)
    unknown = {**bill.cost.unknown, reason: missing}
    return replace(bill, cost=bill.cost.model_copy(update={"total": None, "unknown": unknown}))


def _accounted(bill: Bill) -> int:
    """Good answers that were read, and lines that may be some."""
    return bill.lines.succeeded + bill.cost.unknown.get(LINES_MALFORMED, 0)


def _tell(error: Exception, batch: Batch) -> None:
    """A provider's trouble is a line; anything else is a bug of ours or a plugin's, and keeps its traceback."""
    if not isinstance(error, ProviderError):
        log.error("batch %s: its answers could not be metered", batch.id, exc_info=error)
