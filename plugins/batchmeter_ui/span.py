"""The span of days that a page sums: the last 7, 30, 90 or 365, or from one date to another."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import htpy as h
from markupsafe import Markup

from batchmeter_proxy import Refusal

from .piece import Piece
from .view import View

CHOICES = (7, 30, 90, 365)
PERIODS = ("day", "week", "month")
_MOST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class Span:
    first: date
    last: date
    """Inclusive."""
    days: int | None
    """Of `CHOICES`, where the span is one of these."""

    @property
    def dates(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def periods(self, per: str) -> dict[str, date]:
        """Name -> first day of each day, week or month of the span, named as the ledger's sums do (`2026-11-30`,
        `2026-W49`, `2026-11`). The first day may lie before the span."""
        return {name: day for day in self.dates for name, day in [_period(day, per)]}

    @property
    def query(self) -> dict[str, str]:
        """The query of a link that keeps it."""
        if self.days is not None:
            return {"days": str(self.days)}
        return {"from_": self.first.isoformat(), "to": self.last.isoformat()}

    @property
    def text(self) -> str:
        return f"{self.first} – {self.last} UTC, by settlement"


def asked_span(view: View, *, days: int = 30) -> Span:
    """Refusal (400) for dates that are none."""
    today = datetime.fromtimestamp(view.now / 1000, UTC).date()
    if view.query("from"):
        first, last = _date(view.query("from")), _date(view.query("to")) if view.query("to") else today
        if not 0 <= (last - first).days < _MOST_DAYS:
            raise Refusal(400, "A span goes from one date to a later one, ten years at most.", code="invalid_value")
        return Span(first, last, None)
    chosen = view.query("days") or str(days)
    if chosen not in map(str, CHOICES):
        raise Refusal(400, f"days={chosen[:20]!r} is none of {', '.join(map(str, CHOICES))}.", code="invalid_value")
    return Span(today - timedelta(days=int(chosen) - 1), today, int(chosen))


_CHOOSER = Piece('<p class="span">%s<span>%s</span></p>')


def chooser(view: View, span: Span, path: str, **kept: str | None) -> Markup:
    """Links to the usual spans, and what is shown."""
    links = [
        choice(view.url(path, days=str(days), **kept), f"{days} days", chosen=span.days == days) for days in CHOICES
    ]
    return _CHOOSER(links, span.text)


_CHOICE, _CHOSEN = Piece('<a href="%s">%s</a>'), Piece('<a href="%s" aria-current="true">%s</a>')


def choice(address: str, name: str, *, chosen: bool) -> Markup:
    return (_CHOSEN if chosen else _CHOICE)(address, name)


def invented_note(*, shown: bool) -> h.Node:
    """Says so where costs are a sandbox's."""
    if not shown:
        return None
    return h.p(".invented")[
        h.b["Invented"],
        " These are batches of a sandbox: nobody pays for them. Once there are others, they are left out.",
    ]


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(400, f"{text[:20]!r} is no date: write 2026-11-22.", code="invalid_value") from None


def _period(day: date, per: str) -> tuple[str, date]:
    if per == "day":
        return day.isoformat(), day
    year, week, weekday = day.isocalendar()
    return (
        (f"{year}-W{week:02}", day - timedelta(days=weekday - 1))
        if per == "week"
        else (f"{day:%Y-%m}", day.replace(day=1))
    )
