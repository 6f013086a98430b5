"""Which account and which create a batch belongs to: with a new key it is still the same batch, and has one row."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from batchmeter.accounts import Accounts
from batchmeter.events import full_endpoint
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, TrackedBatch, is_another, is_same
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider

from .list_polling import SKEW_SECONDS
from .metadata_tag import tag_of


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
    asked, read = intent.submission.input_file_id, _input_of(batch)
    return asked is None or read is None or _bare(asked) == read


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
    said = intent.submission
    return (
        full_endpoint(batch.endpoint) in {None, full_endpoint(said.endpoint)}
        and batch.created_at is not None
        and _seconds_after(intent, batch) >= min(skew, 0.0) - SKEW_SECONDS
        and all(said.metadata.get(key, value) == value for key, value in (batch.metadata or {}).items())
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
