"""A key's limits: requests a minute, open batches, lines a day; counted in the ledger, so by all workers together."""

import asyncio
from dataclasses import dataclass, field

from batchmeter.ledger.port import KeyLimits, Ledger, LimitName

from .identity import Action, Done, Identity
from .refusal import Refusal

_PERIOD: dict[LimitName, int] = {"requests_per_minute": 60, "lines_per_day": 86_400}
"""Seconds; periods begin on the UTC clock's whole minutes and days."""
_PATIENCE = 60
"""Seconds after which an open batch may have ended."""


@dataclass(frozen=True, slots=True)
class KeyIdentity(Identity):
    """A caller with a key, and what the key is limited to."""

    limits: KeyLimits = field(default_factory=KeyLimits)

    @property
    def key_id(self) -> str:
        return self.attribution.key or ""


@dataclass(slots=True)
class _Gate:
    """One key's batches being submitted here: not in the ledger yet, or only just."""

    starting: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self) -> None:
        self.starting -= 1
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Limits:
    """Refuses what would be too much."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    async def admit(self, ledger: Ledger, who: KeyIdentity, action: Action) -> Done | None:
        """Refusal (429, with retry-after) when this would be too much; 403 for a file that cannot be counted."""
        if action.kind == "request" and who.limits.requests_per_minute is not None:
            await _use(ledger, who.key_id, "requests_per_minute", who.limits.requests_per_minute, 1)
        elif action.kind == "upload" and who.limits.lines_per_day is not None:
            await _room(ledger, who.key_id, who.limits.lines_per_day, action.lines)
        elif action.kind == "batch":
            return await self._batch(ledger, who, action)
        return None

    async def _batch(self, ledger: Ledger, who: KeyIdentity, action: Action) -> Done | None:
        lines = await _lines(ledger, who, action)
        done = None
        if who.limits.open_batches is not None:
            done = await self._enter(ledger, who.key_id, who.limits.open_batches)
        try:
            if who.limits.lines_per_day is not None:
                await _use(ledger, who.key_id, "lines_per_day", who.limits.lines_per_day, lines)
        except BaseException:
            if done is not None:
                done()
            raise
        return done

    async def _enter(self, ledger: Ledger, key_id: str, most: int) -> Done:
        """Exact among this process's requests: where one under way could decide, it is waited for."""
        gate = self._gates.setdefault(key_id, _Gate())
        while True:
            changed = gate.changed
            opened = await ledger.open_batches(key_id)
            if opened >= most:
                raise _too_much(f"This key may have {most:,} open batches.", _PATIENCE)
            if changed.is_set():
                continue
            if opened + gate.starting < most:
                gate.starting += 1
                return gate.leave
            await changed.wait()


async def _lines(ledger: Ledger, who: KeyIdentity, action: Action) -> int:
    """Of the batch's input file, counted as it was uploaded; its models were checked then too."""
    checked = who.limits.lines_per_day is not None or who.models is not None
    if not checked or action.input_file_id is None:
        return 0
    owner = await ledger.owner_of(action.input_file_id, action.account)
    if owner is None or owner.lines is None:
        message = "This key may submit only files that were uploaded through this proxy with purpose 'batch'."
        raise Refusal(403, message, code="input_file_not_checked", param="input_file_id")
    return owner.lines


async def _use(ledger: Ledger, key_id: str, what: LimitName, most: int, amount: int) -> None:
    period, left = _now(ledger, what)
    if not await ledger.use_key(key_id, what, period=period, amount=amount, most=most):
        raise _too_much(f"This key is limited to {most:,} {what.replace('_', ' ')}.", left)


async def _room(ledger: Ledger, key_id: str, most: int, lines: int) -> None:
    """An upload counts when it is submitted; one that could not be is refused before it is at the provider."""
    period, left = _now(ledger, "lines_per_day")
    if not await ledger.use_key(key_id, "lines_per_day", period=period, amount=0, most=most - lines):
        raise _too_much(f"This key is limited to {most:,} lines per day; the file has {lines:,}.", left)


def _now(ledger: Ledger, what: LimitName) -> tuple[int, int]:
    """The present period, and how many seconds of it are left."""
    seconds = _PERIOD[what]
    now = ledger.now() / 1000
    period = int(now // seconds)
    return period, max(1, round((period + 1) * seconds - now))


def _too_much(message: str, seconds: int) -> Refusal:
    headers = {"retry-after": str(seconds)}
    if seconds > _PATIENCE:
        headers["x-should-retry"] = "false"
    return Refusal(429, message, code="rate_limit_exceeded", headers=headers)
