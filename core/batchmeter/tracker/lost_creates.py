"""Creates whose answer was lost: find the batch by its tag, or find out that there is none.

Also batches that were settled without their output: looked at a few times more, because providers list files late.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batchmeter.accounts import Accounts
from batchmeter.errors import BatchmeterError, LedgerError, ProviderError, UsageError, seconds_of
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Intent, LateLook, Millis, TrackedBatch, is_another
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider, WaitsToCreate
from batchmeter.web import noted_answers

from .account_state import answer_in_time
from .adopt import GRACE_SECONDS, UNRECORDABLE, Adopter, made_by, reads_input_of, with_id
from .list_polling import SKEW_SECONDS, back_to, skew_of
from .metadata_tag import tag_of

log = logging.getLogger("batchmeter")

CLOSE_SECONDS = 900.0
"""No batch listed for this long after the call: there is none."""
LISTED_SECONDS = 300.0
"""At least so long after the provider may last have waited within the call."""
QUICK_PAGES = 2
MOST_SECONDS = 120.0
"""For one account's list: no endless one keeps others' creates from being looked for."""
OPEN_INTENTS = 1000
"""Of each account, looked for at a time."""


@dataclass(slots=True)
class Search:
    """A list's answer about some intents."""

    found: dict[str, Batch] = field(default_factory=dict[str, Batch])
    """By intent id."""
    untagged: list[Batch] = field(default_factory=list[Batch])
    """Batches from that time without any tag: candidates for an intent that could not be tagged."""
    complete: bool = False
    """The list reached back past the oldest of them."""
    skew: float = 0.0
    """Seconds that the provider's clock is ahead of the ledger's, by the `Date` of its first answer; negative: behind."""


async def find_lost_create(provider: Provider, intent: Intent, now: Millis) -> Batch | None:
    """A quick search for one create, now; None when it is not there (yet) or cannot be searched for."""
    try:
        return (await search(provider, [intent], now=now, most_pages=QUICK_PAGES, timeout=15.0)).found.get(intent.id)
    except ProviderError as error:
        log.warning("account %s: no answer about intent %s: %s", provider.account, intent.id, error)
        return None


async def search(
    provider: Provider,
    intents: Sequence[Intent],
    *,
    now: Millis,
    most_pages: int | None = None,
    timeout: float = 60.0,
) -> Search:
    """List back to the oldest intent, by the provider's clock too; stops early when all are found."""
    wanted = {intent.id: intent for intent in intents}
    floor = min(intent.created_at for intent in intents) / 1000 - SKEW_SECONDS
    result, count = Search(), 0
    elapsed = now / 1000 - floor - SKEW_SECONDS
    try:
        with noted_answers() as heads:
            async with asyncio.timeout(MOST_SECONDS):
                async for batches in back_to(provider, floor, elapsed=elapsed, timeout=timeout):
                    count += 1
                    if count == 1:
                        result.skew = skew_of(heads, now)
                    _sort(batches, wanted, result)
                    if len(result.found) == len(wanted) or count == most_pages:
                        return result
        result.complete = True
    except (TimeoutError, ProviderError) as error:
        if count == 0:
            raise
        log.warning(
            "account %s: its list was not read to the end: %s", provider.account, str(error) or "it takes too long"
        )
    return result


def _sort(batches: Iterable[Batch], wanted: Mapping[str, Intent], result: Search) -> None:
    for batch in batches:
        tag = tag_of(batch)
        if tag is None:
            result.untagged.append(batch)
        elif tag in wanted and (tag not in result.found or _likelier(wanted[tag], batch, result.found[tag])):
            result.found[tag] = batch


def _likelier(intent: Intent, batch: Batch, than: Batch) -> bool:
    """Of two that bear its tag the one that reads its input, then the older: the other was made from copied metadata."""
    keys = [(not reads_input_of(one, intent), one.created_at or 0) for one in (batch, than)]
    return keys[0] < keys[1]


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Brings open intents to an end."""

    ledger: Ledger
    accounts: Accounts
    adopter: Adopter

    async def reconcile(self) -> int:
        """Adopt what is found, close what is provably not there; returns how many ended."""
        before = self.ledger.now() - int(GRACE_SECONDS * 1000)
        by_account: dict[str, list[Intent]] = {}
        for intent in await self.ledger.open_intents(created_before=before, limit=OPEN_INTENTS):
            by_account.setdefault(intent.submission.account, []).append(intent)
        return sum(await asyncio.gather(*(self._alone(account, intents) for account, intents in by_account.items())))

    async def _alone(self, account: str, intents: Sequence[Intent]) -> int:
        """One account's trouble costs no other account."""
        try:
            return await self._account(self.accounts.get(account), intents)
        except UsageError:
            log.debug("account %s is not configured here; its intents wait for a process that has it", account)
        except LedgerError:
            raise
        except (BatchmeterError, TimeoutError) as error:
            log.warning("account %s: lost creates cannot be looked for: %s", account, str(error) or "no answer in time")
        except Exception:
            log.exception("account %s: lost creates cannot be looked for", account)
        return 0

    async def _account(self, provider: Provider, intents: Sequence[Intent]) -> int:
        result = await search(provider, intents, now=self.ledger.now())
        waits = seconds_of(provider.create_wait) if isinstance(provider, WaitsToCreate) else None
        patience = max(CLOSE_SECONDS, (waits or 0.0) + LISTED_SECONDS)
        if lost := [intent for intent in intents if intent.id not in result.found]:
            known = await self.ledger.owners_of([batch.id for batch in result.untagged], provider.account)
            strangers = [batch for batch in result.untagged if batch.id not in known]
            result.found.update(made_by(lost, strangers, skew=result.skew))
        ended = 0
        for intent in intents:
            batch = result.found.get(intent.id)
            if batch is not None:
                ended += await self._found(provider, batch, intent)
            elif result.complete and self.ledger.now() - intent.created_at >= patience * 1000:
                await self.ledger.close_intent(intent.id, "no batch of this create was found at the provider")
                ended += 1
        return ended

    async def _found(self, provider: Provider, batch: Batch, intent: Intent) -> bool:
        try:
            await self.adopter.adopt(provider, batch, intent)
        except UNRECORDABLE as error:
            log.warning("account %s: batch %.100r cannot be recorded: %s", provider.account, batch.id, error)
            return False
        return True


LATE_LOOKS = (900.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds after the settlement at which its batch is looked at once more."""
LOOK_SECONDS = 60.0
LEASE_SECONDS = 600.0
"""A look that a crash cut short is made again after this."""
BLOCK = 20
"""Looks at the same time."""
ROUND_SECONDS = 30.0
"""No further block is begun after this: lost creates are looked for in the same round."""


@dataclass(frozen=True, slots=True)
class LateFiles:
    """The ledger keeps what is to be looked at: any tracker does it, after a restart too."""

    ledger: Ledger
    accounts: Accounts
    revise: Callable[[Provider, TrackedBatch, Batch], Awaitable[bool]]
    """Makes a revision of files that the settlement has not seen; False where they cannot be read yet."""

    async def look(self, accounts: Collection[str]) -> int:
        """At those of these accounts that are due; returns how many have their output now."""
        found, end = 0, self.ledger.now() + ROUND_SECONDS * 1000
        while self.ledger.now() < end:
            looks = await self.ledger.claim_late_looks(accounts, lease_seconds=LEASE_SECONDS, limit=BLOCK)
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
        except BatchmeterError as error:
            log.debug("batch %s: its late files cannot be looked for: %s", look.batch_id, error)
            found = False
        done = found or look.looks + 1 == len(LATE_LOOKS)
        again_at = None if done else look.settled_at + round(LATE_LOOKS[look.looks + 1] * 1000)
        await self.ledger.finish_late_look(look, again_at)
        return found

    async def _found(self, look: LateLook) -> bool:
        provider = self.accounts.get(look.account)
        call = provider.retrieve_batch(look.batch_id, CallOptions(timeout=LOOK_SECONDS))
        batch = with_id(await answer_in_time(provider, call, LOOK_SECONDS), look.batch_id)
        tracked = await self.ledger.observe(look.account, batch)
        if tracked is None or is_another(tracked.batch, batch):
            return True  # pruned, or its server has given its id to another: nobody waits for its files any more
        return await self.revise(provider, tracked, batch) and batch.output_file_id is not None
