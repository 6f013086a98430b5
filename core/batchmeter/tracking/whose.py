"""Under which account a batch is tracked: with a new key or token it is still the same batch, and has one row."""

from dataclasses import dataclass, field

from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import TrackedBatch
from batchmeter.models import Batch
from batchmeter.providers import Provider

from .needs import Accounts
from .tag import tag_of


@dataclass(slots=True)
class Whose:
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
        own = [row for row in rows if row.account == provider.account]
        same = [row for row in rows if _same(row.batch, batch)]
        there = own or [row for row in same if _tagged_alike(row.batch, batch) or self.there(row.account, provider)]
        return there[0] if there else None

    async def shown(self, provider: Provider, batch: Batch) -> str | None:
        """The account; from now on its batches are followed with the newest token, or with a key that is not refused."""
        known = await self.tracked(provider, batch)
        if known is None:
            return None
        if known.settled_at is None and self.there(known.account, provider):
            self.accounts.renew(known.account, provider)
            if known.account != provider.account:
                self._others[known.account] = provider
        return known.account

    def refused(self, account: str) -> None:
        """Its key is no longer good: go on with another that was shown one of its batches, if any was."""
        other = self._others.pop(account, None)
        if other is not None:
            self.accounts.renew(account, other, refused=True)

    async def is_open(self, provider: Provider, batch_id: str) -> bool:
        """Tracked at this address and not settled."""
        rows = await self.ledger.batches_of_id(batch_id)
        return any(row.settled_at is None and self.there(row.account, provider) for row in rows)

    def there(self, account: str, provider: Provider) -> bool:
        """Whether the account is at the provider's address."""
        return account == provider.account or self.accounts.at_address_of(account, provider)


def _same(known: Batch, shown: Batch) -> bool:
    """Servers of one's own may count their ids from 1."""
    pairs = [(known.created_at, shown.created_at), (known.input_file_id, shown.input_file_id)]
    return all(first is None or second is None or first == second for first, second in pairs)


def _tagged_alike(known: Batch, shown: Batch) -> bool:
    tag = tag_of(shown)
    return tag is not None and tag == tag_of(known)
