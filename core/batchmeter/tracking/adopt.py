"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from batchmeter.errors import ProviderError, UsageError
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider

from .events_of import created_event, loggers_for
from .listed import SKEW_SECONDS, back_to
from .needs import Accounts, Plugins
from .tag import TAG, tag_of
from .untagged import made_by
from .whose import Whose

log = logging.getLogger("batchmeter")

GRACE_SECONDS = 60.0
"""A create may still be under way this long."""

LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Adopter:
    """Records batches that a list or a look has shown."""

    ledger: Ledger
    plugins: Plugins
    recorded: Callable[[], None]
    """Told after each new event."""
    whose: Whose

    async def adopt(self, provider: Provider, batch: Batch, intent: Intent | None = None) -> bool:
        """False when it is tracked already. With an intent, given or recognised, it counts as submitted by it."""
        if await self.whose.shown(provider, batch) is not None:
            return False
        intent = intent or await self._intent_of(provider, batch)
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
        account = submission.account
        log.info("batch %s of %s is tracked now (%s)", batch.id, account, "lost create" if intent else "adopted")
        self.recorded()
        return True

    async def account_of(self, provider: Provider, batch_id: str) -> str:
        """Under which this batch is tracked; from now on, if it was not."""
        if await self.ledger.get_batch(batch_id, provider.account) is not None:
            return provider.account
        batch = await provider.retrieve_batch(batch_id, CallOptions(timeout=LOOK_SECONDS))
        await self.adopt(provider, batch)
        return await self.whose.shown(provider, batch) or provider.account

    async def adopt_all(self, provider: Provider, *, since: datetime | None = None) -> int:
        """Every batch that the account lists, back to `since`; returns how many were new."""
        floor = None if since is None else since.timestamp()
        return sum([await self.adopt(provider, batch) async for page in back_to(provider, floor) for batch in page])

    async def adopt_grown(self, provider: Provider, *, floor: float) -> int:
        """As `adopt_all`, but an untagged batch is left alone for a minute: a create of ours may be about to record it."""
        young = self.ledger.now() / 1000 - GRACE_SECONDS
        return sum(
            [
                await self.adopt(provider, batch)
                async for page in back_to(provider, floor)
                for batch in page
                if tag_of(batch) is not None or (batch.created_at or young) <= young
            ]
        )

    async def _intent_of(self, provider: Provider, batch: Batch) -> Intent | None:
        """The create of ours that made it; nobody else's tag is taken for ours.

        Without a tag it may be one whose answer is lost, or still on its way.
        """
        tag = tag_of(batch)
        if tag is not None:
            intent = await self.ledger.intent(tag)
            if intent is None or intent.batch_id is None:
                return intent
            return intent if self.whose.there(intent.submission.account, provider) else None
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
        metadata={key: value for key, value in (batch.metadata or {}).items() if key != TAG},
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

    async def sweep(self, account: str) -> int:
        """What is listed since the last whole pass, with room for clocks that differ; returns how many were new.

        How many of them are known says nothing: others' batches may lie between any number of our own.
        """
        now = self.adopter.ledger.now() / 1000
        swept_at = self._swept_at.get(account)
        floor = now - self.first_seconds if swept_at is None else swept_at - GRACE_SECONDS - SKEW_SECONDS
        try:
            new = await self.adopter.adopt_grown(self.accounts.get(account), floor=floor)
        except (ProviderError, UsageError) as error:
            log.warning("account %s: its batches cannot be listed for adoption: %s", account, error)
            return 0
        self._swept_at[account] = now
        return new
