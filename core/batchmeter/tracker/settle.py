"""A finished batch's settlement: its files are read whole, metered, and compared with what its provider counts."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial

from batchmeter.errors import (
    APIResponseError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
)
from batchmeter.events import full_endpoint
from batchmeter.ledger.records import TrackedBatch, progress_of
from batchmeter.metering import Job, meter_outputs
from batchmeter.metering.result import LINES_MALFORMED, Metering
from batchmeter.models import Batch, LineCounts, RequestCounts
from batchmeter.plugins import Plugins
from batchmeter.pricing.groups import PriceSource
from batchmeter.pricing.price import Terms
from batchmeter.providers import CallOptions, ContentStream, OutputFile, Provider

from .build_events import LINES_MISSING, UNAVAILABLE, unreadable, with_notes
from .schedule import Trouble

log = logging.getLogger("batchmeter")

Meter = Callable[[Provider, TrackedBatch, Batch, Sequence[OutputFile]], Awaitable[Metering]]
ERRORS_UNAVAILABLE = "errors_unavailable"
"""Note: the file with the failed lines is gone; they are not counted, the cost is whole."""
_ACCOUNT_ERRORS = (AuthenticationError, PermissionDeniedError, RateLimitError)
"""Say nothing about the batch: tried again for as long as it takes."""


class NotReadableError(Exception):
    """The answers cannot be read yet; `without` tells what the batch comes to when patience with this is used up."""

    def __init__(self, trouble: Trouble, detail: str, without: Metering | Callable[[], Awaitable[Metering]]) -> None:
        super().__init__(detail)
        self.trouble: Trouble = trouble
        self._without = without

    async def without(self) -> Metering:
        return self._without if isinstance(self._without, Metering) else await self._without()


async def read_metering(provider: Provider, tracked: TrackedBatch, batch: Batch, meter: Meter) -> Metering:
    """The answers, metered and all there. NotReadableError otherwise; errors of the account as they come."""
    try:
        return await _read_all(provider, tracked, batch, meter)
    except Exception:  # whatever broke may be an error file that no failed line needs; else it is raised
        if (metering := await _read_outputs(provider, tracked, batch, meter)) is None:
            raise
        return metering


async def _read_outputs(provider: Provider, tracked: TrackedBatch, batch: Batch, meter: Meter) -> Metering | None:
    """The answers without an error file that no failed line needs: every request's answer is in the output."""
    counts = batch.request_counts
    if counts is None or counts.failed or not counts.total:
        return None
    try:
        files = await provider.outputs(batch)
        rest = [file for file in files if file.kind != "error"]
        if not rest or len(rest) == len(files):
            return None
        metering = await meter(provider, tracked, batch, _checked(_distinct(rest), set()))
    except Exception:  # noqa: BLE001 - the first reading's error is the one to tell
        return None
    whole = metering.lines.succeeded == counts.total and not metering.lines.malformed
    return with_notes(metering, ERRORS_UNAVAILABLE) if whole else None


async def _read_all(provider: Provider, tracked: TrackedBatch, batch: Batch, meter: Meter) -> Metering:
    progress = max(tracked.progress, progress_of(batch))
    files, gone = list[OutputFile](), set[str]()
    try:
        files = _distinct(await provider.outputs(batch))
        trouble = awaited(batch, files, progress)
        metering = Metering() if trouble else await meter(provider, tracked, batch, _checked(files, gone))
    except NotFoundError as error:
        salvage = partial(_salvage, provider, tracked, batch, files, gone, meter)
        raise NotReadableError("output_not_found", str(error), salvage) from error
    except _ACCOUNT_ERRORS:
        raise
    except Exception as error:
        if not isinstance(error, ProviderError):  # a bug of ours or of a plugin's keeps its traceback
            log.exception("batch %s: its answers could not be metered", batch.id)
        raise NotReadableError("output_broken", f"{type(error).__name__}: {error}", unreadable(batch)) from error
    if trouble is not None:
        raise NotReadableError(trouble, "the provider lists no output file yet", nothing_listed(batch, progress))
    _check_all_there(batch, metering, progress)
    return metering


def _check_all_there(batch: Batch, metering: Metering, progress: int) -> None:
    """A file cut off between two lines looks whole: read it once more before believing that lines are missing."""
    counts = batch.request_counts or RequestCounts()
    completed = counts.completed if batch.status == "cancelled" else max(counts.completed, progress)
    found = metering.lines.succeeded + metering.lines.failed
    detail = f"{found} lines of {counts.total} could be read, {metering.lines.malformed} could not"
    if says_nothing(batch, metering, progress):
        raise NotReadableError("output_not_listed", detail, nothing_listed(batch, progress))
    if not _short(batch, metering, counts, completed):
        return
    if found + metering.lines.malformed < counts.total:
        metering = with_notes(metering, LINES_MISSING)
    sure = batch.status != "cancelled" and completed > _accounted(metering)
    raise NotReadableError("lines_missing", detail, _partly(metering, completed, LINES_MISSING) if sure else metering)


async def _salvage(
    provider: Provider,
    tracked: TrackedBatch,
    batch: Batch,
    files: Sequence[OutputFile],
    gone: set[str],
    meter: Meter,
) -> Metering:
    """The settlement of a batch whose file is gone for good."""
    lost = {file.kind for file in files if file.id in gone} or {"output"}
    metering = Metering()
    if rest := [file for file in files if file.id not in gone]:
        with suppress(NotFoundError):
            metering = await meter(provider, tracked, batch, _checked(rest, gone))
    if lost == {"error"}:
        return with_notes(metering, ERRORS_UNAVAILABLE)
    if not metering.lines.succeeded:
        return unreadable(batch)
    completed = batch.request_counts.completed if batch.request_counts else 0
    return _partly(with_notes(metering, UNAVAILABLE), completed, UNAVAILABLE)


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


def says_nothing(batch: Batch, metering: Metering, progress: int) -> bool:
    """Whether no answer was read and nothing says that there is none: an empty file may still be filled."""
    counts = batch.request_counts or RequestCounts()
    if metering.lines.succeeded or metering.lines.malformed:
        return False
    if counts.total and metering.lines.failed >= counts.total:
        return False
    if batch.status == "completed":
        return not metering.lines.failed or not counts.total
    if batch.status == "failed" and progress < 0:
        return False
    return progress > 0 if counts.total else progress >= 0 or batch.request_counts is None


def _short(batch: Batch, metering: Metering, counts: RequestCounts, completed: int) -> bool:
    """Whether the files hold less than the provider counts, or counted; a line cut in two is malformed."""
    found = metering.lines.succeeded + metering.lines.failed
    if batch.status == "completed" and found < counts.total:
        return True
    return completed > metering.lines.succeeded or metering.lines.malformed > 0


def nothing_listed(batch: Batch, progress: int) -> Metering:
    """No answer in all this time: zero only where the provider itself says that nothing succeeded."""
    counts = batch.request_counts
    if counts is None or progress > 0:
        return unreadable(batch)
    if batch.status == "completed":
        if counts.total == 0 or counts.failed < counts.total:
            return unreadable(batch)
        return Metering(lines=LineCounts(total=counts.total, failed=counts.failed), notes=(ERRORS_UNAVAILABLE,))
    return unreadable(batch) if counts.total == 0 and progress >= 0 else Metering()


def _partly(metering: Metering, completed: int, reason: str) -> Metering:
    """Some answers were read, others exist and were not: the known part is a lower bound."""
    missing = max(completed - _accounted(metering), 1)
    unknown = {**metering.cost.unknown, reason: missing}
    return metering.model_copy(update={"cost": metering.cost.model_copy(update={"total": None, "unknown": unknown})})


def _accounted(metering: Metering) -> int:
    """Good answers that were read, and lines that may be some."""
    return metering.lines.succeeded + metering.cost.unknown.get(LINES_MALFORMED, 0)


def _distinct(files: Sequence[OutputFile]) -> list[OutputFile]:
    """Each once: some servers name one file as output and as error file."""
    return list({file.id: file for file in reversed(files)}.values())[::-1]


def _checked(files: Sequence[OutputFile], gone: set[str]) -> list[OutputFile]:
    """The same files, each read whole or an error: nothing is settled on a file that was cut off.

    Reading one raises APIResponseError when fewer or more bytes came than were announced. `gone` takes the ids of files
    that their provider no longer has.
    """

    @asynccontextmanager
    async def whole(file: OutputFile) -> AsyncGenerator[ContentStream]:
        try:
            async with file.open() as stream:
                yield replace(stream, chunks=_counted(stream, file))
        except NotFoundError:
            gone.add(file.id)
            raise

    return [replace(file, open=partial(whole, file)) for file in files]


async def _counted(stream: ContentStream, file: OutputFile) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in stream.chunks:
        size += len(chunk)
        yield chunk
    if stream.size is not None and size != stream.size:
        raise APIResponseError(f"{file.kind} file {file.id}: {size} bytes came, {stream.size} were announced")


def meter_with(prices: PriceSource, plugins: Plugins) -> Meter:
    """The meter that prices with these."""

    async def meter(provider: Provider, tracked: TrackedBatch, batch: Batch, files: Sequence[OutputFile]) -> Metering:
        return await meter_outputs(files, job_of(provider, tracked, batch, prices, plugins))

    return meter


def job_of(provider: Provider, tracked: TrackedBatch, batch: Batch, prices: PriceSource, plugins: Plugins) -> Job:
    """Prices are those of the day it ended, by the provider's clock; else of the day it was made.

    Counts of a cancelled batch are not its answers': they are seen to fall while it is being cancelled.
    """
    submission, counts = tracked.submission, batch.request_counts
    file_id = batch.input_file_id or submission.input_file_id
    return Job(
        provider=submission.provider,
        endpoint=full_endpoint(batch.endpoint or submission.endpoint),
        region=submission.region or provider.region,
        model=batch.model or submission.model,
        completed=counts.completed if counts and batch.status != "cancelled" else None,
        priced_at=_day(batch.ended_at) or _day(batch.created_at),
        created=_day(batch.created_at),
        prices=prices,
        price_model=provider.price_model,
        terms=Terms(provider.capabilities.priced_as, provider.capabilities.standard_factor),
        ask=plugins.price_lines if plugins.prices_lines else None,
        dialects=getattr(provider, "dialects", None),
        input_file=partial(_input, provider, file_id) if file_id else None,
    )


@asynccontextmanager
async def _input(provider: Provider, file_id: str) -> AsyncGenerator[ContentStream]:
    """An input file that was deleted names no models; the answers are still there."""
    async with AsyncExitStack() as stack:
        try:
            content = await stack.enter_async_context(provider.file_content(file_id, CallOptions()))
        except NotFoundError:
            content = ContentStream(_no_bytes())
        yield content


async def _no_bytes() -> AsyncIterator[bytes]:
    yield b""


def _day(epoch: int | None) -> date | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).date()
