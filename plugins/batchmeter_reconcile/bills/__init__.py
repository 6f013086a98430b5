"""Bill files: rows of FOCUS, BigQuery billing exports and AWS CUR, read in flat memory and added up."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchmeter.errors import UsageError
from batchmeter_reconcile.figures import BilledRow, Figures

from . import bigquery, cur, focus
from .reading import BillError, Row, read_rows


@dataclass(frozen=True, slots=True)
class Layout:
    """One layout of bills."""

    name: str
    needs: Sequence[Collection[str]]
    """Of each set one column has to be there."""
    read: Callable[..., BilledRow | None]
    """None for a row that is left out."""


LAYOUTS = (
    Layout("FOCUS", focus.NEEDS, focus.billed),
    Layout("AWS CUR", cur.NEEDS, cur.billed),
    Layout("BigQuery billing export", bigquery.NEEDS, bigquery.billed),
)


def read_bill(path: Path, figures: Figures, accounts: Collection[str], scopes: Collection[str]) -> None:
    """Add the file's rows. UsageError that names the row and column for what cannot be read: nothing is then compared."""
    layout: Layout | None = None
    skipped = 0
    for place, row in read_rows(path, figures.saw):
        layout = layout or _layout(path, row)
        try:
            found = layout.read(row, accounts)
        except (BillError, ValueError, ArithmeticError) as error:
            raise UsageError(f"{path}: {place}: {error}") from None
        if found is None or (scopes and found.scope and not _in_scope(found.scope, scopes)):
            skipped += 1
            continue
        if found.day is not None:
            figures.through = max(figures.through or found.day, found.day)
        figures.add(found)
    if layout is None:
        raise UsageError(f"{path} holds no rows: is it the whole file?")
    figures.notes.append(f"{layout.name}, {figures.rows:,} rows of these days; {skipped:,} rows are about others")
    if figures.through is None:
        figures.through = figures.first


def _in_scope(scope: str, scopes: Collection[str]) -> bool:
    return any(scope == one or scope.lower().endswith(one.lower()) for one in scopes)


def _layout(path: Path, row: "Row") -> Layout:
    names = set(row.names)
    for layout in LAYOUTS:
        if all(names & set(choice) for choice in layout.needs):
            return layout
    lacking: Mapping[str, list[Any]] = {
        layout.name: [min(choice) for choice in layout.needs if not names & set(choice)] for layout in LAYOUTS
    }
    nearest = min(lacking, key=lambda name: len(lacking[name]))
    raise UsageError(
        f"{path} is none of {', '.join(one.name for one in LAYOUTS)}: as {nearest} it lacks {', '.join(lacking[nearest])}; "
        f"its columns: {', '.join(sorted(names)[:12])}"
    )
