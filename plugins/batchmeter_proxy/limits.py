"""A key's limits: requests a minute, open batches, lines a day; counted in the ledger, so by all workers together."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from .errors import Refusal
from .identity import Action, Done, Identity
from .keyring import PERIOD, KeyLimits, Keyring, LimitName
from .reservation import LEASE, held

_PATIENCE = 60
"""Seconds after which an open batch may have ended."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


@dataclass(frozen=True, slots=True)
class KeyIdentity(Identity):
    """A caller with a key, and what the key is limited to."""

    limits: KeyLimits = field(default_factory=KeyLimits)

    @property
    def key_id(self) -> str:
        return self.attribution.key or ""


class Limits:
    """Refuses what would be too much."""

    async def admit(self, keyring: Keyring, who: KeyIdentity, action: Action) -> Done | None:
        """Refusal (429, with retry-after) when this would be too much; 403 for a file that cannot be counted."""
        if action.kind == "request" and who.limits.requests_per_minute is not None:
            await _use(keyring, who.key_id, "requests_per_minute", who.limits.requests_per_minute, 1)
        elif action.kind == "upload" and who.limits.lines_per_day is not None:
            await _room(keyring, who.key_id, who.limits.lines_per_day, action.lines)
        elif action.kind == "batch":
            return await self._batch(keyring, who, action)
        return None

    async def _batch(self, keyring: Keyring, who: KeyIdentity, action: Action) -> Done | None:
        lines = await _lines(keyring, who, action)
        if action.once and action.account and await keyring.access.was_created(action.account, action.once):
            return None  # a repeat: the first create has paid, and has its place
        async with AsyncExitStack() as places:
            if who.limits.open_batches is not None:
                await places.enter_async_context(_place(keyring, who.key_id, who.limits.open_batches))
            back = None
            if who.limits.lines_per_day is not None:
                once = None if action.once is None else f"{action.account} {action.once}"
                back = await _use(keyring, who.key_id, "lines_per_day", who.limits.lines_per_day, lines, once)
            kept = places.pop_all()

        async def done(made: bool) -> None:
            await kept.aclose()
            if back is not None and not made:
                await back()

        return done


@asynccontextmanager
async def _place(keyring: Keyring, key_id: str, most: int) -> AsyncGenerator[None]:
    """One of the key's places, until its batch is recorded; where one under way could decide, it is waited for."""
    place, pause = str(uuid.uuid4()), _FIRST_PAUSE
    while (got := await keyring.take_place(key_id, place, most=most, lease_seconds=LEASE)) != "mine":
        if got == "full":
            raise _too_much(f"This key may have {most:,} open batches.", _PATIENCE)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    try:
        async with held(lambda seconds: keyring.renew_place(key_id, place, lease_seconds=seconds)):
            yield
    finally:
        await keyring.leave_place(key_id, place)


async def _lines(keyring: Keyring, who: KeyIdentity, action: Action) -> int:
    """Of the batch's input file, counted as it was uploaded; its models were checked then too."""
    checked = who.limits.lines_per_day is not None or who.models is not None
    if not checked or action.input_file_id is None:
        return action.lines
    owner = await keyring.access.owner_of(action.input_file_id, action.account) if action.counted else None
    if owner is None or owner.lines is None:
        message = "This key may submit only files that were uploaded through this proxy with purpose 'batch'."
        raise Refusal(403, message, code="input_file_not_checked", param="input_file_id")
    return owner.lines


async def _use(
    keyring: Keyring, key_id: str, what: LimitName, most: int, amount: int, once: str | None = None
) -> Callable[[], Awaitable[None]]:
    """Returns what gives it back."""
    period, left = _now(keyring, what)
    if not await keyring.use_key(key_id, what, period=period, amount=amount, most=most, once=once):
        raise _too_much(f"This key is limited to {most:,} {what.replace('_', ' ')}.", left)
    return partial(keyring.return_key, key_id, what, period=period, amount=amount, once=once)


async def _room(keyring: Keyring, key_id: str, most: int, lines: int) -> None:
    """An upload counts when it is submitted; one that could not be is refused before it is at the provider."""
    period, left = _now(keyring, "lines_per_day")
    if not await keyring.use_key(key_id, "lines_per_day", period=period, amount=0, most=most - lines):
        raise _too_much(f"This key is limited to {most:,} lines per day; the file has {lines:,}.", left)


def _now(keyring: Keyring, what: LimitName) -> tuple[int, int]:
    """The present period, and how many seconds of it are left."""
    seconds = PERIOD[what]
    now = keyring.now() / 1000
    period = int(now // seconds)
    return period, max(1, round((period + 1) * seconds - now))


def _too_much(message: str, seconds: int) -> Refusal:
    headers = {"retry-after": str(seconds)}
    if seconds > _PATIENCE:
        headers["x-should-retry"] = "false"
    return Refusal(429, message, code="rate_limit_exceeded", headers=headers)
