"""Tables: named columns of text or numbers, in a box that scrolls on a narrow screen."""

from collections.abc import Iterable, Sequence

import htpy as h
from markupsafe import Markup

_ROW, _END_ROW = Markup("<tr>"), Markup("</tr>")
_NAME, _END_NAME = Markup('<th scope="row">'), Markup("</th>")
_TEXT, _NUMBER, _END = Markup("<td>"), Markup('<td class="n">'), Markup("</td>")
"""Pages have hundreds of cells, and htpy takes ten times as long for one. Joined to these, a text is escaped."""


_MOST_CELLS, _LEAST_ROWS = 1300, 10


def table(
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[h.Node]],
    *,
    empty: str = "Nothing here.",
    elsewhere: str = "",
) -> h.Element:
    """A column whose name ends in `>` holds numbers. The first cell of a row names it.

    A page stays quick and small: rows beyond some 1,300 cells are counted only. `elsewhere`: where they are, such as `in the CSV`.
    """
    found = list(rows)
    if not found:
        return h.p(".quiet")[empty]
    numeric = [column.endswith(">") for column in columns]
    head = h.tr[
        (
            h.th(class_="n" if right else None, scope="col")[column.removesuffix(">")] if column else h.td
            for column, right in zip(columns, numeric, strict=True)
        )
    ]
    starts = [_NUMBER if right else _TEXT for right in numeric[1:]]
    most = max(_MOST_CELLS // len(columns), _LEAST_ROWS)
    body = Markup().join(_row(row, starts) for row in found[:most])
    shown = h.div(".scroll", tabindex="0", role="group", aria_label=name)[
        written(h.table[h.thead[head], h.tbody[body]])
    ]
    rest = len(found) - most
    return h.div[shown, h.p(".quiet")[f"{rest:,} more {elsewhere or 'are not shown'}."]] if rest > 0 else shown


def _row(row: Sequence[h.Node], starts: Sequence[Markup]) -> Markup:
    cells = [_ROW, _NAME, _inside(row[0]), _END_NAME]
    for start, each in zip(starts, row[1:], strict=True):
        cells += (start, _inside(each), _END)
    return Markup().join([*cells, _END_ROW])


def _inside(node: h.Node) -> str:
    return node if isinstance(node, str) else written(h.fragment[node])


def written(element: h.Renderable) -> Markup:
    """The element as it will be sent: htpy hands each piece of a page up through all that it stands in, so that the many
    small ones cost less when they are put together where they are made."""
    return Markup(str(element))  # noqa: S704 - htpy has escaped it


def facts(pairs: Iterable[tuple[str, h.Node]]) -> h.Element:
    """Names and what they are, one under the other; a pair without a value is left out."""
    return h.dl[(h.div[h.dt[name], h.dd[value]] for name, value in pairs if value not in (None, ""))]


def progress(done: int, total: int) -> h.Node:
    if not total:
        return "–"
    share = f"{done:,}/{total:,}"
    return h.span(".progress")[h.progress(value=str(min(done, total)), max=str(total), aria_label=share), " ", share]
