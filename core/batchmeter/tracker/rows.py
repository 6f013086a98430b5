"""The ledger's row of each batch that a provider shows: found, or made where nobody tracks the batch yet.

With a new key, or under another id of a gateway, it is still the same batch, and has one row.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from batchmeter.accounts import Accounts
from batchmeter.errors import ProviderError
from batchmeter.events import full_endpoint
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, Submission, TrackedBatch, is_another, is_same
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import CallOptions, Provider

from .build_events import created_event
from .metadata_tag import tag_of, untagged
from .schedule import LOOK_SECONDS

log = logging.getLogger("batchmeter")

SKEW_SECONDS = 600.0
"""How far a provider's clock may be behind ours."""
QUICK_PAGES = 2
QUICK_SECONDS = 15.0


@dataclass(slots=True)
class BatchRows:
    """Rows of batches; a provider that shows a batch proves that its credentials may see it."""

    ledger: Ledger
    accounts: Accounts
    plugins: Plugins
    recorded: Callable[[], None]
    """Called after each new event."""
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
        if known is not None and known.settled_at is None and self.at_address(known.account, provider):
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

    async def adopt(self, provider: Provider, batch: Batch, intent: Intent | None = None, *, skew: float = 0.0) -> bool:
        """False when it is tracked already. With an intent, given or recognised, it counts as submitted by it.

        `skew`: seconds that the provider's clock is ahead of the ledger's.
        """
        if not batch.id or await self.shown(provider, batch) is not None:
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
        known = await self.shown(provider, batch)
        return (provider.account, batch_id) if known is None else (known.account, known.batch_id)

    async def _intent_of(self, provider: Provider, batch: Batch, skew: float) -> Intent | None:
        """The create of ours that made it; nobody else's tag is taken for ours.

        Without a tag it may be one whose answer is lost, or still on its way.
        """
        tag = tag_of(batch)
        if tag is not None:
            intent = await self.ledger.intent(tag)
            if intent is None or intent.batch_id is None:
                return intent
            mine = intent.batch_id == batch.id and self.at_address(intent.submission.account, provider)
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


def with_id(batch: Batch, batch_id: str) -> Batch:
    """The batch under the id that the ledger knows: gateways may answer with another."""
    return batch if batch.id == batch_id else batch.model_copy(update={"id": batch_id})


def _tagged_alike(known: Batch, shown: Batch) -> bool:
    tag = tag_of(shown)
    return tag is not None and tag == tag_of(known)


async def find_create(provider: Provider, intent: Intent) -> Batch | None:
    """The batch of a create whose answer was lost, by its tag, among the account's newest.

    None where it is not there (yet), or the list is not answered.
    """
    found: Batch | None = None
    after: str | None = None
    try:
        for _ in range(QUICK_PAGES):
            page = await provider.list_batches(after=after, limit=100, options=CallOptions(timeout=QUICK_SECONDS))
            for batch in page.data:
                if tag_of(batch) == intent.id and (found is None or likelier(intent, batch, found)):
                    found = batch
            if found is not None or not page.has_more or not page.data:
                break
            after = page.last_id or page.data[-1].id
    except ProviderError as error:
        log.warning("account %s: no answer about intent %s: %s", provider.account, intent.id, error)
    return found


def likelier(intent: Intent, batch: Batch, than: Batch) -> bool:
    """Of two batches with the tag: the one that reads this input, else the older; the other has copied metadata."""
    keys = [(not _reads_input_of(one, intent), one.created_at or 0) for one in (batch, than)]
    return keys[0] < keys[1]


def _reads_input_of(batch: Batch, intent: Intent) -> bool:
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
    fitting: list[tuple[int, float, str, str, Batch]] = []
    for intent in intents:
        source = intent.submission.input_file_id
        for batch in [] if source is None else over[_bare(source)]:
            after = (batch.created_at or 0) - intent.created_at / 1000
            if after >= min(skew, 0.0) - SKEW_SECONDS and _may_be(intent, batch):
                differences = len(intent.submission.metadata.items() ^ (batch.metadata or {}).items())
                fitting.append((differences, min(abs(after), abs(after - skew)), intent.id, batch.id, batch))
    found, used = dict[str, Batch](), set[str]()
    for *_, intent_id, batch_id, batch in sorted(fitting, key=lambda fit: fit[:-1]):
        if intent_id not in found and batch_id not in used:
            found[intent_id] = batch
            used.add(batch_id)
    return found


def _may_be(intent: Intent, batch: Batch) -> bool:
    """Providers show metadata whole, in part or not at all, and gateways add to it; nobody changes a value."""
    submission = intent.submission
    return (
        full_endpoint(batch.endpoint) in {None, full_endpoint(submission.endpoint)}
        and batch.created_at is not None
        and all(submission.metadata.get(key, value) == value for key, value in (batch.metadata or {}).items())
    )


def _input_of(batch: Batch) -> str | None:
    """The batch's input file; or its blob, where it reads the caller's own storage (and carries no metadata)."""
    blob: object = (batch.model_extra or {}).get("input_blob")
    return batch.input_file_id or (_bare(blob) if isinstance(blob, str) else None)


def _bare(name: str) -> str:
    """A URL may have been signed."""
    return name.partition("?")[0]
