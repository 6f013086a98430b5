"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from batchmeter.accounts import Accounts
from batchmeter.errors import ProviderError, UsageError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import CallOptions, Provider

from .batch_account import BatchAccounts, made_by
from .build_events import created_event
from .list_polling import SKEW_SECONDS, back_to
from .metadata_tag import tag_of, untagged

log = logging.getLogger("batchmeter")

MOST_SECONDS = 600.0
"""For one account's list."""
GRACE_SECONDS = 60.0
"""A create may still be under way this long."""

LOOK_SECONDS = 60.0
UNRECORDABLE = (RecursionError, ValueError, TypeError)
"""What is raised by a batch that no ledger takes: nested hundreds of levels deep, say."""


@dataclass(frozen=True, slots=True)
class Adopter:
    """Records batches that a list or a look has shown."""

    ledger: Ledger
    plugins: Plugins
    recorded: Callable[[], None]
    """Told after each new event."""
    batch_accounts: BatchAccounts

    async def adopt(self, provider: Provider, batch: Batch, intent: Intent | None = None) -> bool:
        """False when it is tracked already. With an intent, given or recognised, it counts as submitted by it."""
        if not batch.id or await self.batch_accounts.shown(provider, batch) is not None:
            return False
        intent = intent or await self._intent_of(provider, batch)
        submission = intent.submission if intent else _found(provider, batch)
        now = self.ledger.now()
        event = created_event(submission, batch, time=now)
        await self.ledger.subscribe(self.plugins.subscriptions)
        await self.ledger.record_created(
            submission,
            batch,
            event,
            callbacks=self.plugins.callbacks,
            next_poll_at=now,
            intent_id=intent.id if intent else None,
        )
        account = submission.account
        log.info("batch %s of %s is tracked now (%s)", batch.id, account, "lost create" if intent else "adopted")
        self.recorded()
        return True

    async def tracked_as(self, provider: Provider, batch_id: str) -> tuple[str, str]:
        """The account and the id under which this batch is tracked; from now on, if it was not."""
        if await self.ledger.get_batch(batch_id, provider.account) is not None:
            return provider.account, batch_id
        batch = await provider.retrieve_batch(batch_id, CallOptions(timeout=LOOK_SECONDS))
        await self.adopt(provider, batch)
        known = await self.batch_accounts.shown(provider, batch)
        return (provider.account, batch_id) if known is None else (known.account, known.batch_id)

    async def adopt_all(self, provider: Provider, *, since: datetime | None = None) -> int:
        """Every batch that the account lists, back to `since`; returns how many were new."""
        floor = None if since is None else since.timestamp()
        return sum([await self.adopt(provider, batch) async for page in back_to(provider, floor) for batch in page])

    async def adopt_grown(
        self, provider: Provider, *, floor: float, known: Collection[str] | None = None
    ) -> tuple[int, frozenset[str]]:
        """As `adopt_all`, but a young batch is left alone for a minute: a create of ours may be about to record it.

        Returns how many were new, and the ids at the top of the list, without those that were left alone.
        """
        new, top, left_alone = 0, list[str](), set[str]()
        async for page in back_to(provider, floor, known=known, top=top):
            for batch in page:
                if await self._may_be_under_way(batch):
                    left_alone.add(batch.id)
                else:
                    new += await self._adopt_one(provider, batch)
        return new, frozenset(top) - left_alone

    async def _adopt_one(self, provider: Provider, batch: Batch) -> bool:
        """A batch that cannot be recorded (nested too deep, say) keeps no other from being found."""
        try:
            return await self.adopt(provider, batch)
        except UNRECORDABLE as error:
            log.warning("account %s: batch %.100r cannot be adopted: %s", provider.account, batch.id, error)
            return False

    async def _may_be_under_way(self, batch: Batch) -> bool:
        now = self.ledger.now()
        young = now / 1000 - GRACE_SECONDS
        tag = tag_of(batch)
        if tag is None:
            return (batch.created_at or young) > young
        intent = await self.ledger.intent(tag)
        return intent is not None and intent.state == "open" and intent.created_at > now - GRACE_SECONDS * 1000

    async def _intent_of(self, provider: Provider, batch: Batch) -> Intent | None:
        """The create of ours that made it; nobody else's tag is taken for ours.

        Without a tag it may be one whose answer is lost, or still on its way.
        """
        tag = tag_of(batch)
        if tag is not None:
            intent = await self.ledger.intent(tag)
            if intent is None or intent.batch_id is None:
                return intent
            mine = intent.batch_id == batch.id and self.batch_accounts.at_address(intent.submission.account, provider)
            return intent if mine else None
        under_way = await self.ledger.open_intents(created_before=self.ledger.now() + 1, account=provider.account)
        made = made_by(under_way, [batch])
        return next((intent for intent in under_way if intent.id in made), None)


def _found(provider: Provider, batch: Batch) -> Submission:
    """What a batch says of itself."""
    return Submission(
        account=provider.account,
        provider=provider.name,
        endpoint=batch.endpoint,
        region=provider.region,
        input_file_id=batch.input_file_id,
        model=batch.model,
        metadata=untagged(batch.metadata),
        adopted=True,
    )


@dataclass(slots=True)
class Adoption:
    """`adopt = true`: whatever an account lists becomes tracked, pass by pass."""

    adopter: Adopter
    accounts: Accounts
    first_seconds: float
    """How far back an account is read until that has worked once: the tracker was away."""
    _swept_at: dict[str, float] = field(default_factory=dict[str, float])
    """When the last pass that read an account to its end began."""
    _top: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Ids that its list began with then: by the provider's clock, which may be behind ours, all is old."""

    async def sweep_all(self, accounts: Collection[str]) -> None:
        """Side by side: an endless list costs no other account."""
        await asyncio.gather(*(self.sweep(account) for account in accounts))

    async def sweep(self, account: str) -> int:
        """What is listed since the last whole pass, with room for clocks that differ; returns how many were new.

        How many of them are known says nothing: others' batches may lie between any number of our own.
        """
        now = self.adopter.ledger.now() / 1000
        swept_at = self._swept_at.get(account)
        floor = now - self.first_seconds if swept_at is None else swept_at - GRACE_SECONDS - SKEW_SECONDS
        known = self._top.get(account)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                new, top = await self.adopter.adopt_grown(self.accounts.get(account), floor=floor, known=known)
        except (ProviderError, UsageError, TimeoutError) as error:
            why = error if str(error) else f"its list was not read to the end within {MOST_SECONDS:g} s"
            log.warning("account %s: its batches cannot be listed for adoption: %s", account, why)
            return 0
        self._swept_at[account] = now
        self._top[account] = top or known or frozenset()  # all may be young
        return new
