"""Batches that were settled without their output: looked at a few times more, because providers list files late."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from batchmeter.errors import BatchmeterError, LedgerError, ProviderError, UsageError
from batchmeter.events import Settlement
from batchmeter.ledger.claims import in_order, millis
from batchmeter.ledger.records import TrackedBatch, is_another
from batchmeter.ledger.session import Millis, Session
from batchmeter.models import Batch
from batchmeter.providers import Provider
from batchmeter.tracker.rows import with_id
from batchmeter.tracker.schedule import LATE_LOOKS
from batchmeter.tracker.settle import NotReadableError, read_metering
from batchmeter.tracker.tracker import Tracker

log = logging.getLogger("batchmeter")

LATE_HORIZON: Millis = 25 * 3_600_000
"""No look is planned further ahead: such a time was written under a clock that was wrong, and the look is due."""
LEASE_SECONDS = 600.0
"""A look that a crash cut short is made again after this."""
MOST_COMPARED = 10_000
"""Batches remembered as compared; then they are compared anew."""
BLOCK = 20
"""Looks at the same time."""
ROUND_SECONDS = 30.0
"""No further block is begun after this: other rounds wait for this one."""


@dataclass(frozen=True, slots=True)
class LateLook:
    """A batch that was settled without its output, leased to be looked at once more."""

    account: str
    batch_id: str
    settled_at: Millis
    looks: int
    """Looks since the settlement."""


@dataclass(frozen=True, slots=True)
class LateFiles:
    """The ledger keeps what is to be looked at: any tracker does it, after a restart too."""

    tracker: Tracker
    _compared: set[tuple[str | None, ...]] = field(default_factory=set[tuple[str | None, ...]])
    """Batches with the files that were compared already."""

    async def look(self) -> int:
        """Look at the due batches of the tracker's accounts; returns how many have their output now."""
        ledger, accounts = self.tracker.ledger, self.tracker.ready_accounts()
        found, end = 0, ledger.now() + ROUND_SECONDS * 1000
        while ledger.now() < end:
            claim = partial(claim_late_looks, accounts=accounts, lease_seconds=LEASE_SECONDS, limit=BLOCK)
            looks = await ledger.database.write(claim)
            results = await asyncio.gather(*map(self._look, looks), return_exceptions=True)
            found += sum(result is True for result in results)
            for error in results:
                if isinstance(error, BaseException):
                    raise error
            if len(looks) < BLOCK:
                break
        return found

    async def _look(self, look: LateLook) -> bool:
        try:
            found = await self._found(look)
        except LedgerError:
            raise  # due again after the lease
        except Exception as error:  # one that always fails is looked at no more often, and stops no other
            bug = None if isinstance(error, BatchmeterError) else error
            level = logging.DEBUG if bug is None else logging.ERROR
            log.log(level, "batch %s: its late files cannot be looked for: %s", look.batch_id, error, exc_info=bug)
            found = False
        done = found or look.looks + 1 == len(LATE_LOOKS)
        again_at = None if done else look.settled_at + round(LATE_LOOKS[look.looks + 1] * 1000)
        await self.tracker.ledger.database.write(partial(finish_late_look, look=look, again_at=again_at))
        return found

    async def _found(self, look: LateLook) -> bool:
        provider = self.tracker.accounts.get(look.account)
        batch = with_id(await self.tracker.poller.look(provider, look.batch_id), look.batch_id)
        tracked = await self.tracker.ledger.observe(look.account, batch)
        if tracked is None or is_another(tracked.batch, batch):
            return True  # pruned, or its server has given its id to another: nobody waits for its files any more
        return await self._revise(provider, tracked, batch) and batch.output_file_id is not None

    async def observed(self, tracked: TrackedBatch, batch: Batch) -> None:
        """Files that were listed only after it was settled: a revision tells what they hold.

        Where they cannot be read, the next one who shows them has them tried again.
        """
        files = (tracked.account, batch.id, batch.output_file_id, batch.error_file_id)
        if files in self._compared:
            return
        if len(self._compared) == MOST_COMPARED:
            self._compared.clear()
        self._compared.add(files)
        revised = False
        try:
            revised = await self._revise(self.tracker.accounts.get(tracked.account), tracked, batch)
        except (ProviderError, UsageError) as error:
            log.warning("batch %s: its late files cannot be read: %s", tracked.batch_id, error)
        finally:
            if not revised:
                self._compared.discard(files)

    async def _revise(self, provider: Provider, tracked: TrackedBatch, batch: Batch) -> bool:
        """A settled batch shows files that its settlement has not seen: the next revision.

        False where they cannot be read yet; ProviderError where their provider does not answer.
        """
        poller, ledger = self.tracker.poller, self.tracker.ledger
        known = await self._lacking(tracked, batch)
        if known is None:
            return True
        try:
            metering = await read_metering(provider, tracked, batch, poller.meter)
        except NotReadableError as error:
            if isinstance(error.__cause__, ProviderError):
                raise error.__cause__ from None
            return False
        await ledger.subscribe(poller.plugins.subscriptions)
        while known is not None:
            settlement, event = poller.ending(tracked, batch, metering, revision=known.revision + 1)
            if await ledger.revise(settlement, metering.groups, event, callbacks=poller.plugins.callbacks):
                revision, account = settlement.revision, tracked.account
                log.info(
                    "batch %s of %s: late files, revision %d: %s", batch.id, account, revision, metering.cost.total
                )
                poller.recorded()
                break
            known = await self._lacking(tracked, batch, after=known.revision)  # another revision was faster
        return True

    async def _lacking(self, tracked: TrackedBatch, batch: Batch, *, after: int = 0) -> Settlement | None:
        """The newest settlement, where it has not seen all files that the batch shows."""
        found = await self.tracker.ledger.settlement(tracked.batch_id, tracked.account)
        if found is None or found[0].revision <= after or not shows_more(batch, found[0].batch):
            return None
        return found[0]


async def claim_late_looks(
    session: Session, accounts: Collection[str], *, lease_seconds: float, limit: int
) -> list[LateLook]:
    """The due batches of these accounts, leased; one whose look does not end is due again after the lease."""
    due = await session.rows("due_late_looks", accounts=sorted(accounts), horizon=LATE_HORIZON, limit=limit)
    items = [{name: row[name] for name in ("account", "batch_id", "next_look_at")} for row in due]
    leases = await session.each("claim_late_look", in_order(items), lease=millis(lease_seconds))
    return [
        LateLook(row["account"], row["batch_id"], min(row["settled_at"], session.now), row["looks"]) for row in leases
    ]


def shows_more(batch: Batch, than: Batch) -> bool:
    """Whether it names an output or an error file where the other named none."""
    output = batch.output_file_id is not None and than.output_file_id is None
    return output or (batch.error_file_id is not None and than.error_file_id is None)


async def finish_late_look(session: Session, look: LateLook, again_at: Millis | None) -> None:
    """Plan the next one; None: its files were found, or it was the last."""
    names = {"account": look.account, "batch_id": look.batch_id}
    if again_at is None:
        await session.run("forget_late_look", **names)
    else:
        await session.run(
            "plan_late_look", **names, settled_at=look.settled_at, looks=look.looks, next_look_at=again_at
        )
