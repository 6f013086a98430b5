"""The ledger's row of each batch that a provider shows: found, or made where nobody tracks the batch yet.

With a new key, or under another id of a gateway, it is still the same batch, and has one row.
"""

import logging
from dataclasses import dataclass, field

from batchmeter.accounts import Accounts
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import TrackedBatch, is_another, is_same
from batchmeter.models import Batch
from batchmeter.providers import Provider

from .metadata_tag import tag_of

log = logging.getLogger("batchmeter")


@dataclass(slots=True)
class BatchRows:
    """Rows of batches; a provider that shows a batch proves that its credentials may see it."""

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

    def at_address(self, account: str, provider: Provider) -> bool:
        """Whether the account is at the provider's address."""
        return account == provider.account or self.accounts.at_address_of(account, provider)


def with_id(batch: Batch, batch_id: str) -> Batch:
    """The batch under the id that the ledger knows: gateways may answer with another."""
    return batch if batch.id == batch_id else batch.model_copy(update={"id": batch_id})


def _tagged_alike(known: Batch, shown: Batch) -> bool:
    tag = tag_of(shown)
    return tag is not None and tag == tag_of(known)
