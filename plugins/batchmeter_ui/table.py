"""Tables: named columns of text or numbers, in a box that scrolls on a narrow screen."""

from collections.abc import Iterable, Sequence

import htpy as h
from markupsafe import Markup

from .piece import Piece, html_of, joined

_BOX = Piece('<div class="scroll" tabindex="0" role="group" aria-label="%s">%s</div>')
_TABLE = Piece("<table><thead><tr>%s</tr></thead><tbody>%s</tbody></table>")
_HEAD, _HEAD_OF_NUMBERS, _NO_HEAD = (
    Piece('<th scope="col">%s</th>'),
    Piece('<th class="n" scope="col">%s</th>'),
    Piece("<td></td>"),
)
_EMPTY = Piece('<p class="quiet">%s</p>')
_MORE = Piece("<div>%s%s</div>")
_TEXT, _NUMBER = "<td>", '<td class="n">'
_MOST_CELLS, _LEAST_ROWS = 1300, 10


def table(
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[h.Node]],
    *,
    empty: str = "Nothing here.",
    elsewhere: str = "",
    more: int = 0,
) -> Markup:
    """A column whose name ends in `>` holds numbers. The first cell of a row names it.

    A page stays quick and small: rows beyond some 1,300 cells are counted only. `elsewhere`: where they are, such as `in the CSV`.
    `more`: rows that are not among these.
    """
    found = list(rows)
    if not found:
        return _EMPTY(empty)
    numeric = [column.endswith(">") for column in columns]
    head = [_head(column, right) for column, right in zip(columns, numeric, strict=True)]
    starts = [_NUMBER if right else _TEXT for right in numeric[1:]]
    most = most_rows(len(columns))
    body = joined([_row(row, starts) for row in found[:most]])
    shown = boxed(name, _TABLE(head, body))
    rest = max(len(found) - most, 0) + more
    return _MORE(shown, _EMPTY(f"{rest:,} more {elsewhere or 'are not shown'}.")) if rest > 0 else shown


def most_rows(columns: int) -> int:
    """Rows of a table that a page shows."""
    return max(_MOST_CELLS // columns, _LEAST_ROWS)


def boxed(name: str, body: h.Node) -> Markup:
    """In a box that scrolls where the screen is narrow."""
    return _BOX(name, body)


def _head(column: str, right: bool) -> Markup:
    if not column:
        return _NO_HEAD()
    return _HEAD_OF_NUMBERS(column.removesuffix(">")) if right else _HEAD(column)


def _row(row: Sequence[h.Node], starts: Sequence[str]) -> Markup:
    parts = ['<tr><th scope="row">', html_of(row[0]), "</th>"]
    for start, cell in zip(starts, row[1:], strict=True):
        parts += (start, html_of(cell), "</td>")
    return Markup("".join([*parts, "</tr>"]))  # noqa: S704 - html_of has escaped it


def facts(pairs: Iterable[tuple[str, h.Node]]) -> h.Element:
    """Names and what they are, one under the other; a pair without a value is left out."""
    return h.dl[(h.div[h.dt[name], h.dd[value]] for name, value in pairs if value not in (None, ""))]


def progress(done: int, total: int) -> h.Node:
    if not total:
        return "–"
    share = f"{done:,}/{total:,}"
    return h.span(".progress")[h.progress(value=str(min(done, total)), max=str(total), aria_label=share), " ", share]
