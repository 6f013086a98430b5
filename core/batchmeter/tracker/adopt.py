"""Batches that were made elsewhere (scripts, notebooks, other gateways) become tracked like our own.

Also which account and which create a batch belongs to: with a new key it is still the same batch, and has one row.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from batchmeter.accounts import Accounts
from batchmeter.errors import ProviderError, UsageError
from batchmeter.events import full_endpoint
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission, TrackedBatch, is_another, is_same
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import CallOptions, Provider
from batchmeter.web import noted_answers

from .build_events import created_event
from .list_polling import SKEW_SECONDS, back_to, skew_of
from .metadata_tag import tag_of, untagged


@dataclass(slots=True)
class BatchAccounts:
    """Knows the row of a batch that a provider has shown, which proves that its credentials may see it."""

    ledger: Ledger
    accounts: Accounts
    _others: dict[str, Provider] = field(default_factory=dict[str, Provider])
    """By account: who else may see its batches."""

    async def tracked(self, provider: Provider, batch: Batch) -> TrackedBatch | None:
        """Its own account's, else that of another account at the same address; None: nobody tracks it.

        By its tag it is known also where that account, and so its address, is configured only where it was made.
        """
        rows = await self.ledger.batches_of_id(batch.id)
        own = [row for row in rows if row.account == provider.account and not is_another(row.batch, batch)]
        same = [row for row in rows if is_same(row.batch, batch)]
        there = own or [
            row for row in same if _tagged_alike(row.batch, batch) or self.at_address(row.account, provider)
        ]
        return there[0] if there else await self._by_second_id(provider, batch)

    async def _by_second_id(self, provider: Provider, batch: Batch) -> TrackedBatch | None:
        """A gateway may give a batch one id in its answers and another in its lists: our tag is on both.

        The tag is used up by its batch: another one that bears it was made from copied metadata.
        """
        tag = tag_of(batch)
        intent = None if tag is None else await self.ledger.intent(tag)
        if intent is None or intent.batch_id in {None, batch.id}:
            return None
        account = intent.submission.account
        known = await self.ledger.get_batch(str(intent.batch_id), account)
        if known is None or not is_same(known.batch, batch) or not self.at_address(account, provider):
            return None
        return known

    async def shown(self, provider: Provider, batch: Batch) -> TrackedBatch | None:
        """Its row; from now on its batches are followed with the newest token, or with a key that is not refused."""
        known = await self.tracked(provider, batch)
        if known is None:
            return None
        if known.settled_at is None and self.at_address(known.account, provider):
            self.accounts.renew(known.account, provider)
            if known.account != provider.account:
                self._others[known.account] = provider
        return known

    def refused(self, account: str) -> None:
        """Its key is no longer good: go on with another that was shown one of its batches, if any was."""
        other = self._others.pop(account, None)
        if other is not None:
            self.accounts.renew(account, other, refused=True)

    async def is_open(self, provider: Provider, batch_id: str) -> bool:
        """Tracked at this address, or about to be, and not settled; also under a gateway's other id."""
        rows = [row for row in await self.ledger.batches_of_id(batch_id) if self.at_address(row.account, provider)]
        if rows:
            return any(row.settled_at is None for row in rows)
        batch = await provider.retrieve_batch(batch_id, CallOptions())
        known, tag = await self.tracked(provider, batch), tag_of(batch)
        if known is not None:
            return known.settled_at is None
        intent = None if tag is None else await self.ledger.intent(tag)
        return intent is not None and intent.state == "open"

    def at_address(self, account: str, provider: Provider) -> bool:
        """Whether the account is at the provider's address."""
        return account == provider.account or self.accounts.at_address_of(account, provider)


def with_id(batch: Batch, batch_id: str) -> Batch:
    """The batch under the id that the ledger knows: gateways may answer with another."""
    return batch if batch.id == batch_id else batch.model_copy(update={"id": batch_id})


def _tagged_alike(known: Batch, shown: Batch) -> bool:
    tag = tag_of(shown)
    return tag is not None and tag == tag_of(known)


def reads_input_of(batch: Batch, intent: Intent) -> bool:
    """False where both name an input, and not the same."""
    source, read = intent.submission.input_file_id, _input_of(batch)
    return source is None or read is None or _bare(source) == read


def made_by(intents: Iterable[Intent], batches: Iterable[Batch], *, skew: float = 0.0) -> dict[str, Batch]:
    """Intent id -> its batch, by input file; of several the one whose metadata is most alike, then the closest in time.

    `skew` says by how many seconds the provider's clock is ahead of ours: what it dates by either clock is in time.
    """
    over = defaultdict[str | None, list[Batch]](list)
    for batch in batches:
        over[_input_of(batch)].append(batch)
    fitting = [
        (_differences(intent, batch), _distance(intent, batch, skew), intent.id, batch.id, batch)
        for intent in intents
        if intent.submission.input_file_id is not None
        for batch in over[_bare(intent.submission.input_file_id)]
        if _may_be(intent, batch, skew)
    ]
    found, used = dict[str, Batch](), set[str]()
    for *_, intent_id, batch_id, batch in sorted(fitting, key=lambda fit: fit[:-1]):
        if intent_id not in found and batch_id not in used:
            found[intent_id] = batch
            used.add(batch_id)
    return found


def _may_be(intent: Intent, batch: Batch, skew: float) -> bool:
    """Providers show metadata whole, in part or not at all, and gateways add to it; nobody changes a value."""
    submission = intent.submission
    return (
        full_endpoint(batch.endpoint) in {None, full_endpoint(submission.endpoint)}
        and batch.created_at is not None
        and _seconds_after(intent, batch) >= min(skew, 0.0) - SKEW_SECONDS
        and all(submission.metadata.get(key, value) == value for key, value in (batch.metadata or {}).items())
    )


def _differences(intent: Intent, batch: Batch) -> int:
    return len(intent.submission.metadata.items() ^ (batch.metadata or {}).items())


def _distance(intent: Intent, batch: Batch, skew: float) -> float:
    after = _seconds_after(intent, batch)
    return min(abs(after), abs(after - skew))


def _seconds_after(intent: Intent, batch: Batch) -> float:
    return (batch.created_at or 0) - intent.created_at / 1000


def _input_of(batch: Batch) -> str | None:
    """Its file, or the blob that a batch on the caller's own storage (which carries no metadata) reads instead."""
    blob: object = (batch.model_extra or {}).get("input_blob")
    return batch.input_file_id or (_bare(blob) if isinstance(blob, str) else None)


def _bare(name: str) -> str:
    """A URL may have been signed."""
    return name.partition("?")[0]


log = logging.getLogger("batchmeter")

MOST_SECONDS = 600.0
"""For one account's list."""
GRACE_SECONDS = 60.0
"""A create may still be under way this long."""

LOOK_SECONDS = 60.0
UNRECORDABLE = (RecursionError, ValueError, TypeError)
"""Errors of a batch that no ledger takes: nested hundreds of levels deep, say."""


@dataclass(frozen=True, slots=True)
class Adopter:
    """Records batches that a list or a look has shown."""

    ledger: Ledger
    plugins: Plugins
    recorded: Callable[[], None]
    """Told after each new event."""
    batch_accounts: BatchAccounts

    async def adopt(self, provider: Provider, batch: Batch, intent: Intent | None = None, *, skew: float = 0.0) -> bool:
        """False when it is tracked already. With an intent, given or recognised, it counts as submitted by it.

        `skew`: seconds that the provider's clock is ahead of the ledger's.
        """
        if not batch.id or await self.batch_accounts.shown(provider, batch) is not None:
            return False
        intent = intent or await self._intent_of(provider, batch, skew)
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
        with noted_answers() as heads:
            async for page in back_to(provider, floor, known=known, top=top):
                skew = skew_of(heads[:1], self.ledger.now())
                for batch in page:
                    if await self._may_be_under_way(batch, skew):
                        left_alone.add(batch.id)
                    else:
                        new += await self._adopt_one(provider, batch, skew)
        return new, frozenset(top) - left_alone

    async def _adopt_one(self, provider: Provider, batch: Batch, skew: float) -> bool:
        """A batch that cannot be recorded (nested too deep, say) keeps no other from being found."""
        try:
            return await self.adopt(provider, batch, skew=skew)
        except UNRECORDABLE as error:
            log.warning("account %s: batch %.100r cannot be adopted: %s", provider.account, batch.id, error)
            return False

    async def _may_be_under_way(self, batch: Batch, skew: float) -> bool:
        now = self.ledger.now()
        young = now / 1000 - GRACE_SECONDS
        tag = tag_of(batch)
        if tag is None:
            return (batch.created_at or young) > young + skew
        intent = await self.ledger.intent(tag)
        return intent is not None and intent.state == "open" and intent.created_at > now - GRACE_SECONDS * 1000

    async def _intent_of(self, provider: Provider, batch: Batch, skew: float) -> Intent | None:
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
        """Adopt batches listed since the last whole pass, with room for clocks that differ; returns how many were new.

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
