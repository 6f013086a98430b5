"""A key's limits: requests a minute, open batches, lines a day; counted in the ledger, so by all workers together."""

from batchmeter.ledger.port import KeyLimits, Ledger, LimitName

from .identity import Action
from .refusal import Refusal

_PERIOD: dict[LimitName, int] = {"requests_per_minute": 60, "lines_per_day": 86_400}
"""Seconds; periods begin on the UTC clock's whole minutes and days."""
_PATIENCE = 60
"""Seconds after which an open batch may have ended."""


async def admit(ledger: Ledger, key_id: str, limits: KeyLimits, action: Action) -> None:
    """Refusal (429, with retry-after) when this would be too much."""
    if action.kind == "request" and action.account is None and limits.requests_per_minute is not None:
        # A handler that has found the account asks about it again: counted was the request before.
        await _use(ledger, key_id, "requests_per_minute", limits.requests_per_minute, 1)
    elif action.kind == "upload" and limits.lines_per_day is not None:
        await _room(ledger, key_id, limits.lines_per_day, action.lines)
    elif action.kind == "batch":
        await _batch(ledger, key_id, limits, action)


async def _batch(ledger: Ledger, key_id: str, limits: KeyLimits, action: Action) -> None:
    if limits.open_batches is not None and await ledger.open_batches(key_id) >= limits.open_batches:
        raise _too_much(f"This key may have {limits.open_batches:,} open batches.", _PATIENCE)
    if limits.lines_per_day is not None and action.input_file_id is not None:
        owner = await ledger.owner_of(action.input_file_id, action.account)
        lines = owner.lines if owner is not None else None
        await _use(ledger, key_id, "lines_per_day", limits.lines_per_day, lines or 0)


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
