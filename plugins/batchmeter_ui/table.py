"""Tables: named columns of text or numbers, in a box that scrolls on a narrow screen."""

from collections.abc import Iterable, Sequence

import htpy as h


def table(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[h.Node]], *, empty: str = "Nothing here."
) -> h.Element:
    """A column whose name ends in `>` holds numbers. The first cell of a row names it."""
    found = list(rows)
    if not found:
        return h.p(".quiet")[empty]
    numeric = [column.endswith(">") for column in columns]
    head = h.tr[
        (
            h.th(class_="n" if right else None, scope="col")[column.rstrip(">")] if column else h.td
            for column, right in zip(columns, numeric, strict=True)
        )
    ]
    body = [
        h.tr[
            h.th(scope="row")[row[0]],
            (h.td(class_="n" if right else None)[each] for each, right in zip(row[1:], numeric[1:], strict=True)),
        ]
        for row in found
    ]
    return h.div(".scroll", tabindex="0", role="group", aria_label=name)[h.table[h.thead[head], h.tbody[body]]]


def facts(pairs: Iterable[tuple[str, h.Node]]) -> h.Element:
    """Names and what they are, one under the other; a pair without a value is left out."""
    return h.dl[(h.div[h.dt[name], h.dd[value]] for name, value in pairs if value not in (None, ""))]


def progress(done: int, total: int) -> h.Node:
    if not total:
        return "–"
    share = f"{done:,}/{total:,}"
    return h.span(".progress")[h.progress(value=str(min(done, total)), max=str(total), aria_label=share), " ", share]
