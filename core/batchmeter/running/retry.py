"""retry_batch and aretry_batch: what `batchmeter retry` does, from Python."""

from collections.abc import Collection

from batchmeter import api
from batchmeter.client import AsyncClient
from batchmeter.rerun.rerun import REASONS, Retry, retry
from batchmeter.sync import Client


def retry_batch(
    batch_id: str,
    *,
    only: Collection[str] = tuple(REASONS),
    custom_llm_provider: str | None = None,
    using: Client | None = None,
) -> Retry:
    """Submit the requests of a finished batch that failed, expired or are missing (`only`) again, once.

    `.batch` has them, its metadata names the first batch. UsageError while that is open, or where nothing is left.
    """
    engine = api.engine if using is None else using.engine
    return engine.call(lambda client: retry(client, batch_id, only=only, custom_llm_provider=custom_llm_provider))


async def aretry_batch(
    batch_id: str,
    *,
    only: Collection[str] = tuple(REASONS),
    custom_llm_provider: str | None = None,
    using: AsyncClient | None = None,
) -> Retry:
    """As `retry_batch`."""
    if using is not None:
        return await retry(using, batch_id, only=only, custom_llm_provider=custom_llm_provider)
    return await api.engine.acall(
        lambda client: retry(client, batch_id, only=only, custom_llm_provider=custom_llm_provider)
    )
