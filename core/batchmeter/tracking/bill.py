"""Settlement's call to the meter: what the lines do not say, from the batch and its account."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from functools import partial

from batchmeter.errors import NotFoundError
from batchmeter.ledger.records import TrackedBatch
from batchmeter.metering import Job, meter_outputs
from batchmeter.models import Batch, full_endpoint, utc_from_epoch
from batchmeter.pricing.groups import PriceSource
from batchmeter.pricing.price import Terms
from batchmeter.providers import CallOptions, ContentStream, OutputFile, Provider

from .events_of import Bill
from .needs import Plugins
from .settle import Meter


def meter_with(prices: PriceSource, plugins: Plugins) -> Meter:
    """The real meter."""

    async def bill(provider: Provider, tracked: TrackedBatch, batch: Batch, files: Sequence[OutputFile]) -> Bill:
        metering = await meter_outputs(files, job_of(provider, tracked, batch, prices, plugins))
        return Bill(
            lines=metering.lines,
            usage=metering.usage,
            cost=metering.cost,
            models=metering.models,
            groups=metering.groups,
            notes=metering.notes,
            duplicates=metering.duplicates,
            rates=metering.rates,
            reported_cost=metering.reported_cost,
        )

    return bill


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
        terms=terms_of(provider),
        ask=plugins.price_lines if plugins.prices_lines else None,
        input_file=partial(_input, provider, file_id) if file_id else None,
    )


def terms_of(provider: Provider) -> Terms:
    return Terms(provider.capabilities.priced_as, provider.capabilities.standard_factor)


@asynccontextmanager
async def _input(provider: Provider, file_id: str) -> AsyncGenerator[ContentStream]:
    """An input file that was deleted names no models; the answers are still there."""
    async with AsyncExitStack() as stack:
        try:
            content = await stack.enter_async_context(provider.file_content(file_id, CallOptions()))
        except NotFoundError:
            content = ContentStream(_nothing())
        yield content


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


def _day(epoch: int | None) -> date | None:
    moment = utc_from_epoch(epoch)
    return None if moment is None else moment.date()
