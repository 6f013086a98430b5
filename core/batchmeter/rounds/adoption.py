"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own.

`adopt = true`: whatever an account lists becomes tracked, pass by pass.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from batchmeter.accounts import Accounts
from batchmeter.errors import ProviderError, UsageError
from batchmeter.ledger.ledger import Ledger
from batchmeter.models import Batch
from batchmeter.providers import Provider
from batchmeter.tracker.metadata_tag import tag_of
from batchmeter.tracker.rows import SKEW_SECONDS, BatchRows
from batchmeter.web import noted_answers

from .listing import back_to, skew_of

log = logging.getLogger("batchmeter")

MOST_SECONDS = 600.0
"""For one account's list."""
FIRST_SECONDS = 48 * 3600.0
"""How far back a starting tracker looks, until it has read the account's list once."""
GRACE_SECONDS = 60.0
"""A create may still be under way this long."""
UNRECORDABLE = (RecursionError, ValueError, TypeError)
"""Errors of a batch that no ledger takes: nested hundreds of levels deep, say."""


async def adopt_all(rows: BatchRows, provider: Provider, *, since: datetime | None = None) -> int:
    """Track every batch that the account lists, back to `since`; returns how many were new."""
    floor = None if since is None else since.timestamp()
    return sum([await rows.adopt(provider, batch) async for page in back_to(provider, floor) for batch in page])


@dataclass(slots=True)
class Adoption:
    """The accounts whose every batch is tracked, whoever made it."""

    ledger: Ledger
    accounts: Accounts
    rows: BatchRows
    names: Collection[str]
    _swept_at: dict[str, float] = field(default_factory=dict[str, float])
    """When the last pass that read an account to its end began."""
    _top: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Ids that its list began with then: by the provider's clock, which may be behind ours, all is old."""

    async def sweep_all(self) -> int:
        """Side by side: an endless list costs no other account."""
        return sum(await asyncio.gather(*(self.sweep(account) for account in self.names)))

    async def sweep(self, account: str) -> int:
        """Adopt batches listed since the last whole pass, with room for clocks that differ; returns how many were new.

        How many of them are known says nothing: others' batches may lie between any number of our own.
        """
        now = self.ledger.now() / 1000
        swept_at = self._swept_at.get(account)
        floor = now - FIRST_SECONDS if swept_at is None else swept_at - GRACE_SECONDS - SKEW_SECONDS
        known = self._top.get(account)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                new, top = await self._adopt_grown(self.accounts.get(account), floor, known)
        except (ProviderError, UsageError, TimeoutError) as error:
            why = error if str(error) else f"its list was not read to the end within {MOST_SECONDS:g} s"
            log.warning("account %s: its batches cannot be listed for adoption: %s", account, why)
            return 0
        self._swept_at[account] = now
        self._top[account] = top or known or frozenset()  # all may be young
        return new

    async def _adopt_grown(
        self, provider: Provider, floor: float, known: Collection[str] | None
    ) -> tuple[int, frozenset[str]]:
        """A young batch is left alone for a minute: a create of ours may be about to record it.

        Returns how many were new, and the ids at the top of the list, without those that were left alone.
        """
        new, top, left_alone = 0, list[str](), set[str]()
        with noted_answers() as heads:
            async for page in back_to(provider, floor, known=known, top=top):
                skew = skew_of(heads[:1], self.ledger.now())
                for batch in page:
                    if await self._may_be_under_way(batch, skew):
                        left_alone.add(batch.id)
                        continue
                    try:
                        new += await self.rows.adopt(provider, batch, skew=skew)
                    except UNRECORDABLE as error:  # it keeps no other from being found
                        log.warning("account %s: batch %.100r cannot be adopted: %s", provider.account, batch.id, error)
        return new, frozenset(top) - left_alone

    async def _may_be_under_way(self, batch: Batch, skew: float) -> bool:
        now = self.ledger.now()
        young = now / 1000 - GRACE_SECONDS
        tag = tag_of(batch)
        if tag is None:
            return (batch.created_at or young) > young + skew
        intent = await self.ledger.intent(tag)
        return intent is not None and intent.state == "open" and intent.created_at > now - GRACE_SECONDS * 1000
