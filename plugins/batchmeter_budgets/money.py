"""Exact dollars as two whole numbers, so that both engines compare and add them alike."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

NANO = 10**9
"""Parts of a dollar that amounts are reserved in; parts of those, attodollars, are kept of what is spent."""
MOST = 2**62 // NANO
"""US dollars: the highest limit."""


def nano_up(amount: Decimal) -> int:
    """At least the amount."""
    return int((amount * NANO).to_integral_value(ROUND_CEILING))


def nano_down(amount: Decimal) -> int:
    return int((amount * NANO).to_integral_value(ROUND_FLOOR))


def split(amount: Decimal) -> tuple[int, int]:
    """Nanodollars, and attodollars from 0 to below 10^9; of a negative amount the first is negative alone."""
    return divmod(int((amount * NANO * NANO).to_integral_value(ROUND_HALF_EVEN)), NANO)


def usd(nano: int, atto: int = 0) -> Decimal:
    return (Decimal(nano) / NANO + Decimal(atto) / (NANO * NANO)).normalize() + Decimal(0)
