"""Batches that a full queue has failed: the same request again as a new batch, once, by whichever worker is first.

The failed batch keeps its own ending. What is due is read from the ledger, so that a restart goes on where it stopped.
"""

import logging
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from batchmeter.accounts import Accounts
from batchmeter.errors import APIStatusError, BatchmeterError, ProviderError, SubmissionRefusedError, made_nothing
from batchmeter.host import PlannedBatch
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Again, Intent, Millis, Submission, TrackedBatch
from batchmeter.providers import BatchRequest, CallOptions, HasQueue, Provider, next_try, waits_for_room

from .adopt import Adopter
from .guards import PATIENCE, Guards
from .lease import Sleep
from .metadata_tag import RETRY_OF, tagged

log = logging.getLogger("batchmeter")

OVERLAP: Millis = 60_000
"""A settlement may become visible this long after the time it bears."""
LOOK_AGAIN: Millis = 60_000
"""Somebody's create is under way, or its answer was lost: until it is known, or given up, nobody makes another."""
PAGE = 1000


@dataclass(slots=True)
class Waiting:
    """A failed batch whose request is to be submitted again."""

    failed: TrackedBatch
    due: Millis
    refusals: int = 0
    """Of its own next try."""

    @property
    def again(self) -> Again:
        """The next try's number, and the first batch of them all."""
        told = self.failed.submission.again or Again()
        first, since = told.first_id or self.failed.batch_id, told.since or self.failed.recorded_at
        return replace(told, first_id=first, attempt=told.attempt + 1, since=since)

    @property
    def tries(self) -> int:
        """How many there were, of this batch and of those before it."""
        return self.again.attempt - 1 + self.refusals

    @property
    def since(self) -> Millis:
        return self.again.since or 0

    @property
    def key(self) -> str:
        """The idempotency key that makes the next try one, whoever makes it."""
        return f"{RETRY_OF}:{self.again.first_id}:try-{self.again.attempt}"


@dataclass
class Resubmitter:
    """Finds what waits for room, and submits what is due."""

    ledger: Ledger
    accounts: Accounts
    adopter: Adopter
    guards: Guards
    _read: dict[str, Millis] = field(default_factory=dict[str, Millis])
    """Up to when each account's endings were read."""
    _waiting: dict[tuple[str, str], Waiting] = field(default_factory=dict[tuple[str, str], Waiting])
    _over: dict[tuple[str, str], Millis] = field(default_factory=dict[tuple[str, str], Millis])
    """When those were settled that nothing more is to be done about: kept while they may be read again."""

    async def resubmit(self) -> int:
        """One pass; returns how many batches it made."""
        for provider in self.accounts.in_use():
            queue = waits_for_room(provider)
            if queue is not None:
                await self._find(provider, queue)
        now = self.ledger.now()
        due = sorted((one.due, key) for key, one in self._waiting.items() if one.due <= now)
        return sum([await self._next(key) for _, key in due])

    async def next_try(self, account: str, batch_id: str, sleep: Sleep) -> str | None:
        """The batch that follows a failed one, once there is room; None where none will."""
        failed = await self.ledger.get_batch(batch_id, account)
        if failed is None or failed.submission.again is None:
            return None
        one = Waiting(failed, 0)
        while True:
            await self.resubmit()
            intent = await self.ledger.intent_of(account, one.key)
            if intent is not None and intent.state == "created":
                return intent.batch_id
            waiting = self._waiting.get((account, batch_id))
            if waiting is None:
                return None
            await sleep(max((waiting.due - self.ledger.now()) / 1000, 0.05))

    async def _find(self, provider: Provider, queue: HasQueue) -> None:
        now, account = self.ledger.now(), provider.account
        since = self._read.get(account, now - int(queue.queue_patience * 1000))
        self._over = {key: at for key, at in self._over.items() if key[0] != account or at >= since}
        async for failed in self._failed(account, since):
            key = account, failed.batch_id
            if failed.submission.again is None or key in self._waiting or key in self._over:
                continue
            one = Waiting(failed, 0)
            due = next_try(provider, failed.batch, one.tries, since=one.since, ended=failed.settled_at or now)
            if due is not None:
                self._waiting[key] = replace(one, due=due)
        self._read[account] = now - OVERLAP

    async def _failed(self, account: str, since: Millis) -> AsyncIterator[TrackedBatch]:
        after: str | None = None
        while page := await self.ledger.failed(account, since=since, after=after, limit=PAGE):
            for failed in page:
                yield failed
            after = f"{account}\x1f{page[-1].batch_id}"

    async def _next(self, key: tuple[str, str]) -> bool:
        """The next try, unless somebody else has it; whatever comes of it, there is at most one."""
        one = self._waiting[key]
        provider = self.accounts.get(one.failed.account)
        asked = Intent(str(uuid.uuid4()), _submission(one), one.key, created_at=self.ledger.now())
        try:
            planned = await self._ask(provider, asked)
        except SubmissionRefusedError as error:
            log.warning("batch %s: not submitted again for now: %s", key[1], error)
            self._put_off(key, self.ledger.now() + LOOK_AGAIN)
            return False
        until = asked.created_at + PATIENCE if planned else None
        intent = await self.ledger.open_intent(asked, until=until)
        if intent.id != asked.id:
            await self.guards.dropped(planned, "somebody else submits it again")
            self._put_off(key, None if intent.state == "created" else self.ledger.now() + LOOK_AGAIN)
            return False
        try:
            batch = await provider.create_batch(self._request(one, provider, intent), _options(one))
        except BatchmeterError as error:
            await self._refused(key, provider, intent, error, planned)
            return False
        self._put_off(key, None)
        log.info("batch %s: submitted again as %s, try %d", one.failed.batch_id, batch.id, one.again.attempt + 1)
        return await self.adopter.adopt(provider, batch, intent)

    async def _ask(self, provider: Provider, asked: Intent) -> PlannedBatch | None:
        """Plugins may refuse this try as any submission."""
        if await self.ledger.intent_of(asked.submission.account, asked.idempotency_key or "") is not None:
            return None  # somebody's create has this try already
        return await self.guards.ask(provider, asked.submission, asked.id)

    async def _refused(
        self,
        key: tuple[str, str],
        provider: Provider,
        intent: Intent,
        error: BatchmeterError,
        planned: PlannedBatch | None,
    ) -> None:
        one, now = self._waiting[key], self.ledger.now()
        if isinstance(error, ProviderError) and not made_nothing(error):
            log.warning("batch %s: nobody knows whether it was submitted again: %s", key[1], error)
            self._put_off(key, now + LOOK_AGAIN)
            return
        await self.ledger.close_intent(intent.id, f"refused: {error}")
        await self.guards.dropped(planned, f"refused: {error}")
        one.refusals += 1
        due = None
        if isinstance(error, APIStatusError):
            due = next_try(provider, error, one.tries, since=one.since, ended=now)
        if due is None:
            log.warning("batch %s: not submitted again, it stays failed: %s", key[1], error)
        self._put_off(key, due)

    def _put_off(self, key: tuple[str, str], due: Millis | None) -> None:
        """None: there is no more to do."""
        if due is None:
            self._over[key] = self._waiting.pop(key).failed.settled_at or self.ledger.now()
        else:
            self._waiting[key].due = due

    def _request(self, one: Waiting, provider: Provider, intent: Intent) -> BatchRequest:
        """The first one's, and the keys that tell what it is, where the provider has room for them."""
        told, able = intent.submission, provider.capabilities
        metadata = told.metadata if len(told.metadata) <= able.max_metadata_pairs else _original(one)
        if able.metadata_tag and self.accounts.tags(provider.account):
            metadata = tagged(metadata, intent.id, room=able.max_metadata_pairs) or {}
        window = one.failed.batch.completion_window or "24h"
        return BatchRequest(
            told.input_file_id,
            told.endpoint or "",
            window,
            metadata or None,
            one.again.output_expires_after,
            told.model,
        )


def _original(one: Waiting) -> dict[str, str]:
    return {key: value for key, value in one.failed.submission.metadata.items() if key != RETRY_OF}


def _submission(one: Waiting) -> Submission:
    metadata = {**one.failed.submission.metadata, RETRY_OF: str(one.again.first_id)}
    return replace(one.failed.submission, metadata=metadata, again=one.again)


def _options(one: Waiting) -> CallOptions:
    return CallOptions(extra_body=one.again.extra_body)
