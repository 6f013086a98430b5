"""Money, numbers, times and shares as people read them; an unknown amount is never shown as zero."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

import htpy as h

from batchmeter.host import CostSum
from batchmeter.models import Cost

_CENT = Decimal("0.01")
_SMALL = Context(prec=4, rounding=ROUND_HALF_EVEN)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_SHORT = 44
"""Characters that stay on one line."""
_LONGEST = 120
"""Characters of a text that somebody else chose; the whole is in its title."""


def dollars(amount: Decimal) -> str:
    """`$1,234.56`; under a cent four significant digits; exactly 0 is `$0.00`."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    if size == 0 or size >= _CENT:
        return f"{sign}${size:,.2f}"
    return f"{sign}${_SMALL.plus(size).normalize():f}"


def amount(known: Decimal, *, complete: bool, lines: int | None = None) -> h.Node:
    """The known amount, as a lower bound where some of it is not; `unknown` where nothing is."""
    if complete:
        return dollars(known)
    why = "Some of it has no known cost" if lines is None else f"{lines:,} lines have no known cost"
    if known == 0:
        return h.span(".unknown", title=why)["unknown"]
    return h.span(".unknown", title=f"{why}: this is a lower bound")[f"≥ {dollars(known)}"]


def cost_of(cost: Cost) -> h.Node:
    return amount(cost.known, complete=cost.total is not None, lines=sum(cost.unknown.values()))


def spent(one: CostSum) -> h.Node:
    """The cost of a sum of batches."""
    return amount(one.known, complete=one.total is not None, lines=one.unpriced_lines or None)


def counted(count: int, noun: str, many: str = "") -> str:
    """`1 line`, `2 lines`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def number(count: int) -> str:
    return f"{count:,}"


def share(part: Decimal, whole: Decimal) -> str:
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    return "<1 %" if 0 < percent < 1 else f"{percent:.0f} %"


def instant(millis: int) -> str:
    """ISO 8601 in UTC, to the second."""
    try:
        return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{millis} ms"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `2.1 d`."""
    size = abs(seconds)
    if size < _MINUTE:
        return f"{seconds:.0f} s"
    if size < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if size < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} d"


def between(least: float, most: float) -> str:
    """About so long; or from so long to so long."""
    low, high = duration(least), duration(most)
    return f"≈ {low}" if low == high else f"{low} – {high}"


def age(millis: int) -> str:
    return f"{duration(millis / 1000)} ago" if millis >= 0 else f"in {duration(-millis / 1000)}"


def shortened(text: str, longest: int = _LONGEST) -> h.Node:
    """A text of any length in a line of a table."""
    if len(text) <= _SHORT:
        return text
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return h.span(".text", title=text[:2000])[cut] if len(cut) > _SHORT else h.span(title=text[:2000])[cut]


def spaced(word: str) -> str:
    """`in_progress` -> `in progress`."""
    return word.replace("_", " ")


def cell(text: str) -> str:
    """For CSV: a spreadsheet takes what begins so for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
