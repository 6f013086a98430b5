"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime

from batchmeter.ledger.port import Intent, Ledger, Submission
from batchmeter.models import Batch, Page
from batchmeter.providers import CallOptions, Provider

from .events_of import created_event, loggers_for
from .needs import Plugins
from .tag import TAG, tag_of

log = logging.getLogger("batchmeter")

PAGE = 100
GRACE_SECONDS = 60.0
"""A create may still be under way this long."""


@dataclass(frozen=True, slots=True)
class Adopter:
    """Records batches that a list or a look has shown."""

    ledger: Ledger
    plugins: Plugins
    recorded: Callable[[], None]
    """Told after each new event."""

    async def adopt(self, provider: Provider, batch: Batch, intent: Intent | None = None) -> bool:
        """False when it is tracked already. With an intent, ours or by its tag, it counts as submitted by it."""
        account = provider.account
        if await self.ledger.get_batch(batch.id, account) is not None:
            return False
        intent = intent or await self._intent_of(account, batch)
        submission = intent.submission if intent else _found(provider, batch)
        now = self.ledger.now()
        event = created_event(submission, batch, time=now)
        await self.ledger.record_created(
            submission,
            batch,
            event,
            loggers=loggers_for(event, self.plugins.loggers),
            next_poll_at=now,
            intent_id=intent.id if intent else None,
        )
        log.info("batch %s of %s is tracked now (%s)", batch.id, account, "lost create" if intent else "adopted")
        self.recorded()
        return True

    async def adopt_all(self, provider: Provider, *, since: datetime | None = None) -> int:
        """Every batch that the account lists, back to `since`; returns how many were new."""
        floor = None if since is None else since.timestamp()
        new = 0
        async for page in pages(provider):
            for batch in page.data:
                if floor is not None and batch.created_at is not None and batch.created_at < floor:
                    return new
                new += await self.adopt(provider, batch)
        return new

    async def sweep(self, provider: Provider, *, since: datetime, far: bool) -> int:
        """As `adopt_all`, again and again: ends at a page that holds nothing new, unless it is to look `far` back.

        An untagged batch is left alone for a minute: one of our own creates may be about to record it.
        """
        young = self.ledger.now() / 1000 - GRACE_SECONDS
        new = 0
        async for page in pages(provider):
            known = True
            for batch in page.data:
                created = young if batch.created_at is None else batch.created_at
                if created < since.timestamp():
                    return new
                if created > young and tag_of(batch) is None:
                    known = False
                elif await self.adopt(provider, batch):
                    known, new = False, new + 1
            if known and not far:
                return new
        return new

    async def _intent_of(self, account: str, batch: Batch) -> Intent | None:
        """The create of ours that made it, if its answer was lost; nobody else's tag is taken for ours."""
        tag = tag_of(batch)
        intent = await self.ledger.intent(tag) if tag else None
        return intent if intent is not None and intent.submission.account == account else None


async def pages(provider: Provider, *, timeout: float = 60.0) -> AsyncIterator[Page[Batch]]:
    """The account's batches, newest first; a page's `has_more` is False where a cursor leads nowhere new."""
    after: str | None = None
    seen: set[str] = set()
    while True:
        page = await provider.list_batches(after=after, limit=PAGE, options=CallOptions(timeout=timeout))
        ids = {batch.id for batch in page.data}
        more = page.has_more and bool(ids - seen)
        yield page.model_copy(update={"has_more": more})
        if not more:
            return
        after, seen = page.last_id or page.data[-1].id, ids


def _found(provider: Provider, batch: Batch) -> Submission:
    """What a batch says of itself."""
    return Submission(
        account=provider.account,
        provider=provider.name,
        endpoint=batch.endpoint,
        region=provider.region,
        input_file_id=batch.input_file_id,
        model=batch.model,
        metadata={key: value for key, value in (batch.metadata or {}).items() if key != TAG},
        adopted=True,
    )
