"""Printing: rich tables on a terminal, JSON lines for machines, money and times the same way everywhere."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from .inert import inert, inert_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from batchmeter.models import Cost, ModelUsage, Usage

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON for machines.")
"""The option every command takes."""

_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()
_DETAILS = 3
"""Details shown of one reason."""
PIPE_WIDTH = 160
"""Columns where there is no terminal to ask."""


@cache
def _inert_console() -> "type[Console]":
    """A console on which a stranger's text does nothing but stand there."""
    from rich.console import Console  # a fifth of the time that a small command takes

    class InertConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(inert(one) if isinstance(one, str) else one for one in objects), **options)

    return InertConsole


def console() -> "Console":
    return _inert_console()(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)


def errors() -> "Console":
    """For progress and remarks: standard error, so that standard output stays the result."""
    return _inert_console()(stderr=True, highlight=False, markup=False)


def print_json(value: object) -> None:
    """One JSON document on one line."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    click.echo(inert_json(json.dumps(value, ensure_ascii=False, default=str)))


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; columns whose name ends in `>` are right-aligned, those whose name ends in `!` are never cut."""
    if title is not None:  # a line of its own: rich folds a title to the width of its table
        console().print(title, style="italic")
    console().print(grid(columns, rows))


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> "Table":
    """The same to print later. Where it is too wide, columns `~` are left out, the last first; beside ids (`!`) any, but for two.

    Text folds between its words, a number never: where even that is too wide, each row becomes lines of name and value.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [["" if cell is None else inert(str(cell)) for cell in row] for row in rows]
    places = _fitting(columns, cells, width := width or console().width)
    shown = Table(header_style="bold")
    ids = any(name.endswith("!") for name in columns)
    widths = None if ids else _widths([(columns[place], [row[place] for row in cells]) for place in places], width)
    if widths == []:
        return _records(shown, [name.rstrip(_MARKS) for name in columns], cells)
    for at, place in enumerate(places):
        name = columns[place]
        right, whole = ">" in name, name.endswith("!") or (ids and ">" in name)
        shown.add_column(
            name.rstrip(_MARKS), justify="right" if right else "left", overflow="fold", no_wrap=whole,
            width=widths[at] if widths else None,
            min_width=max((len(row[place]) for row in cells), default=0) if whole else None,
        )  # fmt: skip
    for row in cells:
        shown.add_row(*(Text(row[place]) for place in places))
    return shown


_MARKS = ">!~"
_LONGEST_NAMES = (24, 16, 12, 10)
"""Characters that a text keeps together before it is cut, as room allows: `batch_success`, `gpt-5-mini-2025-`."""
_LONGEST_WORD = 12
"""Characters that a column which may be folded keeps together: `in_progress`, `validating`."""


def _fitting(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Columns that fit beside those that are shown whole; without such columns all that may not be left out, folded."""
    places = list(range(len(columns)))
    ids = any(name.endswith("!") for name in columns)
    widths = [max([len(columns[place].rstrip(_MARKS)), *(len(row[place]) for row in cells)]) for place in places]

    def least(place: int) -> int:
        if not ids or columns[place].endswith(("!", ">")):
            return widths[place]
        words = [word for row in cells for word in row[place].split()]
        return min(max(map(len, (columns[place].rstrip(_MARKS), *words))), _LONGEST_WORD)

    def needed(chosen: Sequence[int]) -> int:
        return sum(map(least, chosen)) + 3 * len(chosen) + 1

    droppable = [place for place in places if (not columns[place].endswith("!") if ids else "~" in columns[place])]
    kept = 2 if ids else 1  # an id alone says nothing
    while needed(places) > width and len(droppable) > kept:
        places.remove(droppable.pop())
    return places


def _widths(columns: Sequence[tuple[str, Sequence[str]]], width: int) -> list[int] | None:
    """Each column's width where they have to fold, None where they need not, nothing where they cannot."""
    room = width - 3 * len(columns) - 1
    full = [max(map(len, (name.rstrip(_MARKS), *cells))) for name, cells in columns]
    if sum(full) <= room:
        return None
    for longest in _LONGEST_NAMES:
        widths = [_least(name, cells, longest) for name, cells in columns]
        if sum(widths) <= room:
            break
    else:
        return []
    while sum(widths) < room:
        place = max(range(len(widths)), key=lambda each: full[each] - widths[each])
        widths[place] += 1
    return widths


def _least(name: str, cells: Sequence[str], longest: int) -> int:
    heads, words = name.rstrip(_MARKS).split(), [word for cell in cells for word in cell.split()]
    body = max(map(len, cells), default=0) if ">" in name else min(max(map(len, words), default=0), longest)
    return max([body, *map(len, heads)])


def _records(shown: "Table", names: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    from rich.text import Text

    shown.box, shown.show_header = None, False
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column(overflow="fold")
    for number, row in enumerate(rows):
        if number:
            shown.add_row("", "")
        for name, cell in zip(names, row, strict=True):
            if cell:
                shown.add_row(name, Text(cell))
    return shown


def money(amount: Decimal | None) -> str:
    """`$0.39`, every digit that counts and at least two."""
    if amount is None:
        return "unknown"
    text = format(amount.normalize(), "f")
    whole, _, digits = text.partition(".")
    return f"${int(whole):,}.{digits.ljust(2, '0')}" if not whole.startswith("-") else f"-{money(-amount)}"


def cost(value: "Cost") -> str:
    """The total, or what is known of it."""
    if value.total is not None:
        return money(value.total) + (" (estimated)" if value.estimated else "")
    return f"unknown (at least {money(value.known)})"


def reasons(value: "Cost") -> str:
    """`missing_rate: 3 lines (gpt-5: web_search)`, by reason."""
    return ", ".join(
        f"{reason}: {lines:,} line{'' if lines == 1 else 's'}{_details(value.details.get(reason, ()))}"
        for reason, lines in value.unknown.items()
    )


def _details(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_DETAILS])
    return f" ({shown}{', …' if len(texts) > _DETAILS else ''})" if texts else ""


def instant(epoch: float | None) -> str:
    """Epoch seconds as UTC, at most the last there are dates for."""
    return "" if epoch is None else datetime.fromtimestamp(min(epoch, _LAST), UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def millis(text: str | None) -> int | None:
    """An ISO 8601 time or date, UTC unless it says otherwise, as epoch milliseconds."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is not a time: write 2026-11-22 or 2026-11-22T09:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s" if minutes else f"{seconds:.3g}s"


def cost_table(models: "Mapping[str, ModelUsage]", usage: "Usage", total: "Cost", lines: Any) -> None:
    """A table of every model's usage and cost, and the sum."""
    columns = ("model", "lines>", "input>", "cached>~", "output>", "reasoning>~", "cost (USD)>")
    rows = [(name, *_row(share.lines, share.usage), money(share.cost)) for name, share in sorted(models.items())]
    rows.append(("total", *_row(lines.total, usage), cost(total)))
    table(None, columns, rows)
    remarks = [f"{lines.succeeded:,} succeeded, {lines.failed:,} failed, {lines.malformed:,} malformed"]
    if total.unknown:
        remarks.append(f"not priced: {reasons(total)}")
    if total.flags:
        remarks.append(", ".join(total.flags))
    console().print("; ".join(remarks))


def _row(lines: int, usage: "Usage") -> tuple[str, ...]:
    numbers = (lines, usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens)
    return tuple(f"{number:,}" for number in numbers)
