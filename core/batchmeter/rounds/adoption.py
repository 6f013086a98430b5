"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own.

`adopt = true`: whatever an account lists becomes tracked, pass by pass.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from batchmeter.errors import ProviderError, UsageError
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider
from batchmeter.tracker.build_events import created_event
from batchmeter.tracker.metadata_tag import tag_of, untagged
from batchmeter.tracker.schedule import LOOK_SECONDS
from batchmeter.tracker.tracker import Tracker
from batchmeter.web import noted_answers

from .listing import back_to, skew_of
from .recognition import SKEW_SECONDS, made_by

log = logging.getLogger("batchmeter")

MOST_SECONDS = 600.0
"""For one account's list."""
FIRST_SECONDS = 48 * 3600.0
"""How far back a starting tracker looks, until it has read the account's list once."""
GRACE_SECONDS = 60.0
"""A create may still be under way this long."""
UNRECORDABLE = (RecursionError, ValueError, TypeError)
"""Errors of a batch that no ledger takes: nested hundreds of levels deep, say."""


async def adopt_id(tracker: Tracker, account: str, batch_id: str) -> bool:
    """As `adopt`, by the id that its provider knows."""
    provider = tracker.accounts.get(account)
    return await adopt(tracker, provider, await tracker.poller.look(provider, batch_id))


async def adopt_all(tracker: Tracker, provider: Provider, *, since: datetime | None = None) -> int:
    """Track every batch that the account lists, back to `since`; returns how many were new."""
    floor = None if since is None else since.timestamp()
    return sum([await adopt(tracker, provider, batch) async for page in back_to(provider, floor) for batch in page])


async def adopt(
    tracker: Tracker, provider: Provider, batch: Batch, intent: Intent | None = None, *, skew: float = 0.0
) -> bool:
    """False when it is tracked already. With an intent, given or recognised, it counts as submitted by it.

    `skew`: seconds that the provider's clock is ahead of the ledger's.
    """
    if not batch.id or await tracker.rows.shown(provider, batch) is not None:
        return False
    intent = intent or await _intent_of(tracker, provider, batch, skew)
    submission = intent.submission if intent else _found(provider, batch)
    now = tracker.ledger.now()
    event = created_event(submission, batch, time=now)
    await tracker.ledger.subscribe(tracker.poller.plugins.subscriptions)
    await tracker.ledger.record_created(
        submission,
        batch,
        event,
        callbacks=tracker.poller.plugins.callbacks,
        next_poll_at=now,
        intent_id=intent.id if intent else None,
    )
    account = submission.account
    log.info("batch %s of %s is tracked now (%s)", batch.id, account, "lost create" if intent else "adopted")
    tracker.poller.recorded()
    return True


async def tracked_as(tracker: Tracker, provider: Provider, batch_id: str) -> tuple[str, str]:
    """The account and the id under which this batch is tracked; from now on, if it was not."""
    if await tracker.ledger.get_batch(batch_id, provider.account) is not None:
        return provider.account, batch_id
    batch = await provider.retrieve_batch(batch_id, CallOptions(timeout=LOOK_SECONDS))
    await adopt(tracker, provider, batch)
    known = await tracker.rows.shown(provider, batch)
    return (provider.account, batch_id) if known is None else (known.account, known.batch_id)


async def is_open(tracker: Tracker, provider: Provider, batch_id: str) -> bool:
    """Tracked at this address, or about to be, and not settled; also under a gateway's other id."""
    rows = [
        row for row in await tracker.ledger.batches_of_id(batch_id) if tracker.rows.at_address(row.account, provider)
    ]
    if rows:
        return any(row.settled_at is None for row in rows)
    batch = await provider.retrieve_batch(batch_id, CallOptions())
    known, tag = await tracker.rows.tracked(provider, batch), tag_of(batch)
    if known is not None:
        return known.settled_at is None
    intent = None if tag is None else await tracker.ledger.intent(tag)
    return intent is not None and intent.state == "open"


async def _intent_of(tracker: Tracker, provider: Provider, batch: Batch, skew: float) -> Intent | None:
    """The create of ours that made it; nobody else's tag is taken for ours.

    Without a tag it may be one whose answer is lost, or still on its way.
    """
    tag = tag_of(batch)
    if tag is not None:
        intent = await tracker.ledger.intent(tag)
        if intent is None or intent.batch_id is None:
            return intent
        mine = intent.batch_id == batch.id and tracker.rows.at_address(intent.submission.account, provider)
        return intent if mine else None
    under_way = await tracker.ledger.open_intents(created_before=tracker.ledger.now() + 1, account=provider.account)
    made = made_by(under_way, [batch], skew=skew)
    return next((intent for intent in under_way if intent.id in made), None)


def _found(provider: Provider, batch: Batch) -> Submission:
    """A submission as the batch itself tells it."""
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
    """The accounts whose every batch is tracked, whoever made it."""

    tracker: Tracker
    names: Collection[str]
    _swept_at: dict[str, float] = field(default_factory=dict[str, float])
    """When the last pass that read an account to its end began."""
    _top: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Ids at the top of that pass's list. Below them all is old, also where the provider's clock is behind ours."""

    async def sweep_all(self) -> int:
        """Sweep all accounts side by side, so that an endless list delays no other account."""
        return sum(await asyncio.gather(*(self.sweep(account) for account in self.names)))

    async def sweep(self, account: str) -> int:
        """Adopt batches listed since the last whole pass, with room for clocks that differ; returns how many were new.

        How many of them are known says nothing: others' batches may lie between any number of our own.
        """
        now = self.tracker.ledger.now() / 1000
        swept_at = self._swept_at.get(account)
        floor = now - FIRST_SECONDS if swept_at is None else swept_at - GRACE_SECONDS - SKEW_SECONDS
        known = self._top.get(account)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                new, top = await self._adopt_grown(self.tracker.accounts.get(account), floor, known)
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
                skew = skew_of(heads[:1], self.tracker.ledger.now())
                for batch in page:
                    if await self._may_be_under_way(batch, skew):
                        left_alone.add(batch.id)
                        continue
                    try:
                        new += await adopt(self.tracker, provider, batch, skew=skew)
                    except UNRECORDABLE as error:  # it keeps no other from being found
                        log.warning("account %s: batch %.100r cannot be adopted: %s", provider.account, batch.id, error)
        return new, frozenset(top) - left_alone

    async def _may_be_under_way(self, batch: Batch, skew: float) -> bool:
        now = self.tracker.ledger.now()
        young = now / 1000 - GRACE_SECONDS
        tag = tag_of(batch)
        if tag is None:
            return (batch.created_at or young) > young + skew
        intent = await self.tracker.ledger.intent(tag)
        return intent is not None and intent.state == "open" and intent.created_at > now - GRACE_SECONDS * 1000
