"""reprice_batches and areprice_batches: what `batchmeter reprice` does, from Python."""

from collections.abc import Collection

from batchmeter.faces import api
from batchmeter.faces.client import AsyncClient
from batchmeter.faces.sync import Client
from batchmeter.reports.reprice import Repriced, Repricer


def reprice_batches(
    batch_ids: Collection[str],
    *,
    custom_llm_provider: str | None = None,
    dry_run: bool = False,
    using: Client | None = None,
) -> list[Repriced]:
    """Price settled batches at today's prices of the day each ended; a changed cost is a new revision and event.

    Returns those whose cost differs. `custom_llm_provider`: the account, where two have a batch of one id. `dry_run` changes
    nothing. UnknownAccountError where a batch's account is not configured here.
    """
    engine = api.engine if using is None else using.engine
    return engine.call(lambda client: _reprice(client, batch_ids, custom_llm_provider, dry_run))


async def areprice_batches(
    batch_ids: Collection[str],
    *,
    custom_llm_provider: str | None = None,
    dry_run: bool = False,
    using: AsyncClient | None = None,
) -> list[Repriced]:
    """As `reprice_batches`."""
    if using is not None:
        return await _reprice(using, batch_ids, custom_llm_provider, dry_run)
    return await api.engine.acall(lambda client: _reprice(client, batch_ids, custom_llm_provider, dry_run))


async def _reprice(
    client: AsyncClient, batch_ids: Collection[str], account: str | None, dry_run: bool
) -> list[Repriced]:
    if not batch_ids:  # none would mean all
        return []
    parts = await client.ready()
    repricer = Repricer(parts.ledger, client.accounts, parts.plugins, parts.prices)
    changed = await repricer.reprice(batch_ids, account=account, dry_run=dry_run)
    parts.deliverer.notify()
    return changed
