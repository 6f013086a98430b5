"""Creates whose answer was lost: find the batch by its tag, or find out that there is none."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchmeter.errors import BatchmeterError, LedgerError, ProviderError, UsageError, seconds_of
from batchmeter.ledger.records import Intent, Millis
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, Provider, WaitsToCreate
from batchmeter.tracker.metadata_tag import tag_of
from batchmeter.tracker.tracker import Tracker
from batchmeter.web import noted_answers

from .adoption import GRACE_SECONDS, UNRECORDABLE, adopt
from .listing import back_to, skew_of
from .recognition import SKEW_SECONDS, likelier, made_by

log = logging.getLogger("batchmeter")

CLOSE_SECONDS = 900.0
"""Seconds after the call: a batch that is not listed by then does not exist."""
LISTED_SECONDS = 300.0
"""Seconds for the list to show a batch, after the longest time that the provider may wait within the call."""
MOST_SECONDS = 120.0
"""Seconds for one account's list, so that an endless one does not keep the search from other accounts."""
OPEN_INTENTS = 1000
"""Intents of each account that one search looks for."""
QUICK_PAGES = 2
"""Pages of the list that are read while the caller of a create waits."""
QUICK_SECONDS = 15.0
"""Seconds for each of these pages."""


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


@dataclass(frozen=True, slots=True)
class LostCreates:
    """Brings open intents to an end."""

    tracker: Tracker

    async def reconcile(self) -> int:
        """Adopt what is found, close what is provably not there; returns how many ended."""
        before = self.tracker.ledger.now() - int(GRACE_SECONDS * 1000)
        by_account: dict[str, list[Intent]] = {}
        for intent in await self.tracker.ledger.open_intents(created_before=before, limit=OPEN_INTENTS):
            by_account.setdefault(intent.submission.account, []).append(intent)
        return sum(await asyncio.gather(*(self._alone(account, intents) for account, intents in by_account.items())))

    async def _alone(self, account: str, intents: Sequence[Intent]) -> int:
        """One account's trouble costs no other account."""
        try:
            return await self._account(self.tracker.accounts.get(account), intents)
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
        result = await _search(provider, intents, self.tracker.ledger.now())
        waits = seconds_of(provider.create_wait) if isinstance(provider, WaitsToCreate) else None
        patience = max(CLOSE_SECONDS, (waits or 0.0) + LISTED_SECONDS)
        if lost := [intent for intent in intents if intent.id not in result.found]:
            known = await self.tracker.ledger.owners_of([batch.id for batch in result.untagged], provider.account)
            strangers = [batch for batch in result.untagged if batch.id not in known]
            result.found.update(made_by(lost, strangers, skew=result.skew))
        ended = 0
        for intent in intents:
            batch = result.found.get(intent.id)
            if batch is not None:
                ended += await self._found(provider, batch, intent)
            elif result.complete and self.tracker.ledger.now() - intent.created_at >= patience * 1000:
                await self.tracker.ledger.close_intent(intent.id, "no batch of this create was found at the provider")
                ended += 1
        return ended

    async def _found(self, provider: Provider, batch: Batch, intent: Intent) -> bool:
        try:
            await adopt(self.tracker, provider, batch, intent)
        except UNRECORDABLE as error:
            log.warning("account %s: batch %.100r cannot be recorded: %s", provider.account, batch.id, error)
            return False
        return True


async def find_lost_create(provider: Provider, intent: Intent) -> Batch | None:
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
    except Exception as error:  # whatever it is: the create's own error is the one to tell
        bug = None if isinstance(error, ProviderError | TimeoutError) else error
        why = str(error) or "no answer in time"
        log.warning("account %s: no answer about intent %s: %s", provider.account, intent.id, why, exc_info=bug)
    return found


async def _search(provider: Provider, intents: Sequence[Intent], now: Millis) -> Search:
    """List back to the oldest intent, by the provider's clock too; stops early when all are found."""
    wanted = {intent.id: intent for intent in intents}
    oldest = min(intent.created_at for intent in intents) / 1000
    result, read = Search(), False
    try:
        with noted_answers() as heads:
            async with asyncio.timeout(MOST_SECONDS):
                async for batches in back_to(provider, oldest - SKEW_SECONDS, elapsed=now / 1000 - oldest):
                    if not read:
                        read, result.skew = True, skew_of(heads, now)
                    for batch in batches:
                        tag = tag_of(batch)
                        if tag is None:
                            result.untagged.append(batch)
                        elif tag in wanted and (
                            tag not in result.found or likelier(wanted[tag], batch, result.found[tag])
                        ):
                            result.found[tag] = batch
                    if len(result.found) == len(wanted):
                        return result
        result.complete = True
    except (TimeoutError, ProviderError) as error:
        if not read:
            raise
        why = str(error) or "it takes too long"
        log.warning("account %s: its list was not read to the end: %s", provider.account, why)
    return result
