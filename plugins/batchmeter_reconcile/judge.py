"""The comparison: ours beside the vendor's, a row for each run of days, model and kind, with its status."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Literal

from .figures import EXACT, Cell, Figures
from .names import Names
from .ours import Batches, Ours, Window
from .runs import DAY, Run, runs

Status = Literal[
    "match", "explained", "ours_missing", "vendor_missing", "price_drift", "pending", "unverifiable", "unmatched_items"
]
DRIFT = frozenset({"ours_missing", "vendor_missing", "price_drift"})
ALL = "all"
"""The kind of a row that is about all kinds of a model."""
_HALF = Decimal("0.5")
_CHAIN = 3
"""Runs next to each other whose differences may cancel."""
_CENTS = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Terms:
    """How the comparison is made."""

    first: date
    """Days that are asked about; the figures may reach further to both sides."""
    last: date
    now: datetime
    settle: timedelta
    """Time after the end of a day for which the vendor may still add to it."""
    share: Decimal = Decimal("0.005")
    """Share of the amount by which money may differ; a cent always may."""


@dataclass(slots=True)
class DayFigures:
    """One day of a run of several: the vendor's figure, and the bounds that ours set."""

    day: date
    vendor: Decimal | None
    at_least: int
    at_most: int

    @property
    def outside(self) -> bool:
        return self.vendor is not None and not self.at_least - _HALF <= self.vendor <= self.at_most + _HALF


@dataclass(slots=True)
class Compared:
    """One row of the result."""

    run: Run
    model: str
    kind: str
    status: Status
    ours: int = 0
    vendor: Decimal | None = None
    at_least: int = 0
    """As `ours`, where the run is whole: else without the batches that cross its edge."""
    ours_usd: Decimal | None = None
    vendor_usd: Decimal | None = None
    foreign: str = ""
    days: list[DayFigures] = field(default_factory=list[DayFigures])
    scopes: dict[str, Decimal] = field(default_factory=dict[str, Decimal])
    cause: str = ""
    """Filled in by `causes.py`, for statuses that need one."""
    next: str = ""
    since: date | None = None
    """The day from which the price is another one, where all days before agree."""
    batches: list[str] = field(default_factory=list[str])
    """Some that the cause is about."""

    @property
    def difference(self) -> Decimal:
        return (self.vendor or Decimal(0)) - self.ours


@dataclass(slots=True)
class Comparison:
    terms: Terms
    rows: list[Compared]
    batches: dict[tuple[str, Run], Batches] = field(default_factory=dict[tuple[str, Run], Batches])
    """(model, run) -> the batches behind it."""


def compare(ours: Ours, figures: Figures, names: Names, terms: Terms) -> Comparison:
    """Every run that touches the days that were asked about."""
    found = Comparison(terms, [])
    with localcontext(EXACT):
        sides = _Sides(ours, figures, names)
        for model in sorted(names.groups):
            rows = list(_of_model(sides, model, found))
            _cancel(rows, figures.kinds)
            kept = [row for row in rows if row.run.touches(terms.first, terms.last)]
            found.rows += [*kept, *_in_sum(kept, model, terms)]
    return found


class _Sides:
    """Both sides by the model's common name."""

    def __init__(self, ours: Ours, figures: Figures, names: Names) -> None:
        self.figures, self.open = figures, ours.open or {}
        self.unsplit = {names.of_ours(model) for model, called in ours.endpoints.items() if called & figures.unsplit}
        self.tallies: dict[str, dict[str, dict[Window, tuple[int, Decimal | None]]]] = {}
        for (model, kind, window), tally in ours.tallies.items():
            by_window = self.tallies.setdefault(names.of_ours(model), {}).setdefault(kind, {})
            units, cost = by_window.get(window, (0, Decimal(0)))
            both = None if cost is None or tally.cost is None else cost + tally.cost
            by_window[window] = units + tally.units, both
        self.cells: dict[str, dict[str, dict[date, list[Cell]]]] = {}
        for (model, kind, day), cell in figures.cells.items():
            by_kind = self.cells.setdefault(names.of_vendor(model), {})
            by_kind.setdefault(kind, {}).setdefault(day, []).append(cell)
        self.batches: dict[str, list[tuple[Window, Batches]]] = {}
        for (model, window), batches in ours.batches.items():
            self.batches.setdefault(names.of_ours(model), []).append((window, batches))

    def windows(self, model: str) -> set[Window]:
        return {window for by_window in self.tallies.get(model, {}).values() for window in by_window}

    def days(self, model: str) -> set[date]:
        return {day for by_day in self.cells.get(model, {}).values() for day in by_day}


def _of_model(sides: _Sides, model: str, found: Comparison) -> Iterator[Compared]:
    figures, terms = sides.figures, found.terms
    known = runs(sides.windows(model), sides.days(model), figures.first, figures.last)
    parts = {kind: _Parts.of(sides, model, kind, known) for kind in figures.kinds}
    for place, run in enumerate(known):
        found.batches[model, run] = _batches(sides, model, run)
        rows = [
            row
            for kind in figures.kinds
            if (row := _tokens(parts[kind].windows[place], parts[kind].days[place], model, kind, run, figures))
            is not None
        ]
        _forgive_requests(rows)
        agreed = all(row.status in ("match", "unverifiable", "explained") for row in rows)
        for row in rows:
            if model in sides.unsplit:
                row.status, row.cause = "unverifiable", "no_split"
            elif run.whole and agreed and row.status == "match":
                _money(row, terms)
            elif row.status == "match" and row.vendor is None:  # money alone, beside tokens that differ
                row.status = "unverifiable"
            if row.status in DRIFT and _unsettled(row, sides, terms):
                row.status = "pending"
        yield from rows


def _batches(sides: _Sides, model: str, run: Run) -> Batches:
    whole = Batches()
    for window, one in sides.batches.get(model, ()):
        if run.has(window):
            whole.count += one.count
            whole.unanswered += one.unanswered
            for name in ("partial", "failing", "repeated", "sample"):
                getattr(whole, name).extend(getattr(one, name))
    return whole


@dataclass(slots=True)
class _Parts:
    """One kind of one model, by the place of the run: a window or day is in one run."""

    windows: list[dict[Window, tuple[int, Decimal | None]]]
    days: list[dict[date, list[Cell]]]

    @classmethod
    def of(cls, sides: _Sides, model: str, kind: str, known: Sequence[Run]) -> "_Parts":
        found = cls([{} for _ in known], [{} for _ in known])
        firsts = [run.first for run in known]
        for window, both in sides.tallies.get(model, {}).get(kind, {}).items():
            place = bisect_right(firsts, max(window.first, sides.figures.first)) - 1
            if place >= 0 and known[place].has(window):
                found.windows[place][window] = both
        for day, cells in sides.cells.get(model, {}).get(kind, {}).items():
            found.days[bisect_right(firsts, day) - 1][day] = cells
        return found


def _tokens(
    windows: dict[Window, tuple[int, Decimal | None]],
    days: dict[date, list[Cell]],
    model: str,
    kind: str,
    run: Run,
    figures: Figures,
) -> Compared | None:
    """None where neither side has any of the kind."""
    cells = [cell for each in days.values() for cell in each]
    row = Compared(run, model, kind, "match", ours=sum(units for units, _ in windows.values()))
    inside = [units for one, (units, _) in windows.items() if _is_inside(one, figures)]
    row.at_least = row.ours if run.whole else sum(inside)
    row.ours_usd = _sum([cost for _, cost in windows.values()])
    row.vendor_usd = _sum([cell.amount for cell in cells if cell.amount is not None]) if _paid(cells) else None
    row.foreign = next((cell.foreign for cell in cells if cell.foreign), "")
    counted = [cell.quantity for cell in cells if cell.quantity is not None]
    if not row.ours and not any(counted) and not row.vendor_usd:
        return None
    for cell in cells:
        for scope, units in cell.scopes.items():
            row.scopes[scope] = row.scopes.get(scope, Decimal(0)) + units
    if any(cell.silent for cell in cells):
        row.status = "unverifiable"
    if row.status == "unverifiable" or (cells and not counted):
        return row
    row.vendor = sum(counted, Decimal(0))
    row.status = _judged(row)
    if run.first < run.last:
        row.days = [_day(day, days, windows) for day in run.days]
    return row


def _is_inside(window: Window, figures: Figures) -> bool:
    return figures.first <= window.first and window.last <= figures.last


def _paid(cells: Sequence[Cell]) -> bool:
    return any(cell.amount is not None for cell in cells)


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """None as soon as one is not known."""
    known = [one for one in amounts if one is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def _judged(row: Compared) -> Status:
    assert row.vendor is not None
    if row.vendor > row.ours + _HALF:
        return "ours_missing"
    if row.vendor < row.at_least - _HALF:
        return "vendor_missing"
    return "match" if row.run.whole else "explained"


def _day(day: date, days: dict[date, list[Cell]], windows: dict[Window, tuple[int, Decimal | None]]) -> DayFigures:
    """A batch of one day is sure; one of several may lie on any of them."""
    vendor = sum((cell.quantity or Decimal(0) for cell in days.get(day, ())), Decimal(0))
    touching = [(one, units) for one, (units, _) in windows.items() if one.first <= day <= one.last]
    sure = sum(units for one, units in touching if one.first == one.last)
    return DayFigures(day, vendor, sure, sum(units for _, units in touching))


def _forgive_requests(rows: Sequence[Compared]) -> None:
    """Where all tokens agree, requests are counted otherwise (failed ones, for one): nothing follows from them."""
    tokens = [row for row in rows if row.kind != "requests"]
    if tokens and all(row.status in ("match", "explained") for row in tokens):
        for row in rows:
            if row.kind == "requests" and row.status in DRIFT:
                row.status, row.cause = "explained", "requests_only"


def _money(row: Compared, terms: Terms) -> None:
    """Of a row whose tokens agree, or are not counted by the report."""
    if row.foreign:
        row.status, row.cause = "unverifiable", "other_currency"
    elif row.vendor_usd is None:
        return
    elif row.ours_usd is None:
        row.status, row.cause = "unverifiable", "unpriced"
    elif not _near(row.vendor_usd, row.ours_usd, terms):
        row.status = "price_drift"


def _near(vendor: Decimal, ours: Decimal, terms: Terms) -> bool:
    return abs(vendor - ours) <= max(terms.share * abs(ours), _CENTS)


def _unsettled(row: Compared, sides: _Sides, terms: Terms) -> bool:
    """The vendor may still add to these days, or a batch is open that may be booked on them."""
    end = datetime.combine(row.run.last + DAY, datetime.min.time(), UTC)
    if end + terms.settle > terms.now:
        row.cause = "not_settled"
    elif sides.figures.through is not None and row.run.last > sides.figures.through:
        row.cause = "bill_ends"
    elif row.status == "ours_missing" and any(made <= row.run.last for made in sides.open.values()):
        row.cause = "still_open"
        row.batches = sorted(sides.open)[:5]
    return bool(row.cause)


def _cancel(rows: Sequence[Compared], kinds: Collection[str]) -> None:
    """Neighbouring runs whose differences cancel in every kind: the vendor books some of it on the next day, or before."""
    by_run: dict[Run, list[Compared]] = {}
    for row in rows:
        by_run.setdefault(row.run, []).append(row)
    order = list(by_run)
    place = 0
    while place < len(order):
        for size in range(2, _CHAIN + 1):
            chain = order[place : place + size]
            if len(chain) == size and _cancels(chain, by_run, kinds):
                for row in (row for run in chain for row in by_run[run] if row.status in {*DRIFT, "pending"}):
                    row.status, row.cause = "explained", "other_day"
                place += size - 1
                break
        place += 1


def _cancels(chain: Sequence[Run], by_run: dict[Run, list[Compared]], kinds: Collection[str]) -> bool:
    adjacent = all(one.last + DAY == other.first for one, other in pairwise(chain))
    rows = [row for run in chain for row in by_run[run]]
    moved = {"ours_missing", "vendor_missing", "pending"}
    if not adjacent or not all(run.whole for run in chain):
        return False
    if not any(row.status in moved for row in by_run[chain[0]]) or any(row.status == "price_drift" for row in rows):
        return False
    sums = {kind: sum((row.difference for row in rows if row.kind == kind), Decimal(0)) for kind in kinds}
    return all(abs(rest) <= _HALF for rest in sums.values())


def _in_sum(rows: Sequence[Compared], model: str, terms: Terms) -> Iterator[Compared]:
    """A row for a model whose rows each are within a cent, and together are not."""
    paid = [row for row in rows if row.status == "match" and row.vendor_usd is not None and row.ours_usd is not None]
    if len(paid) < 2:  # noqa: PLR2004 - the sum of one is that one
        return
    vendor = sum((row.vendor_usd or Decimal(0) for row in paid), Decimal(0))
    ours = sum((row.ours_usd or Decimal(0) for row in paid), Decimal(0))
    if not _near(vendor, ours, terms):
        run = Run(min(row.run.first for row in paid), max(row.run.last for row in paid))
        status: Status = "price_drift" if run.last + DAY <= (terms.now - terms.settle).date() else "pending"
        yield Compared(
            run, model, ALL, status, ours_usd=ours, vendor_usd=vendor, cause="" if status in DRIFT else "not_settled"
        )
