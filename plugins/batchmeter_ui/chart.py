"""Charts drawn on the server as SVG: geometry in attributes, colours in classes, the numbers in a table beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

import htpy as h

from .words import dollars

COLOURS = 7
"""Classes `c0` to `c6`; the last one is for all the rest."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1120, 190, 62, 14, 22
_CAP = 7
_GRID = 4
_MOST_LABELS = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: what each name came to, from the bottom up, and whether some of it is unknown."""

    day: date
    parts: Mapping[str, Decimal]
    unknown: int = 0
    """Lines whose cost is unknown."""

    @property
    def total(self) -> Decimal:
        return sum(self.parts.values(), Decimal(0))


def bars(title: str, names: Sequence[str], given: Sequence[Bar]) -> h.Element:
    """Stacked bars, one a day; a dashed cap where lines of unknown cost make the bar a lower bound."""
    top = _rounded(max((bar.total for bar in given), default=Decimal(0)) or Decimal(1))
    step = (_WIDTH - _LEFT) / max(len(given), 1)
    every = -(-len(given) // _MOST_LABELS) or 1
    drawn = [_bar(bar, names, _LEFT + step * place, step, top) for place, bar in enumerate(given)]
    labels = [
        h.text(x=_point(_LEFT + step * (place + 0.5)), y=_HEIGHT - 6, text_anchor="middle")[f"{bar.day:%m-%d}"]
        for place, bar in enumerate(given)
        if place % every == 0
    ]
    chart = h.svg(".bars", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title)[_grid(top), drawn, labels]
    legend = h.ul(".legend")[
        (h.li[h.span(class_=f"key c{place}"), name] for place, name in enumerate(names)),
        h.li[h.span(".key.cap"), "has lines of unknown cost"] if any(bar.unknown for bar in given) else None,
    ]
    return h.div[h.div(".scroll", tabindex="0", role="group", aria_label=title)[chart], legend, _as_table(names, given)]


def _rounded(top: Decimal) -> Decimal:
    """The next amount whose parts are round: 1, 2, 2.5 or 5 and zeros for each line of the grid."""
    part = top / _GRID
    power = Decimal(1).scaleb(part.adjusted())
    return _GRID * next(step * power for step in map(Decimal, ("1", "2", "2.5", "5", "10")) if step * power >= part)


def _bar(bar: Bar, names: Sequence[str], left: float, step: float, top: Decimal) -> h.Node:
    width, y = max(step * 0.8, 1), float(_HEIGHT - _BOTTOM)
    x = left + (step - width) / 2
    found: list[h.Node] = []
    for place, name in enumerate(names):
        part = bar.parts.get(name, Decimal(0))
        if part > 0:
            tall = float(part / top) * (_HEIGHT - _BOTTOM - _TOP)
            y -= tall
            label = f"{bar.day}: {name} {dollars(part)}"
            found.append(
                h.rect(class_=f"c{place}", x=_point(x), y=_point(y), width=_point(width), height=_point(tall))[
                    h.title[label]
                ]
            )
    if bar.unknown:
        cap = h.title[f"{bar.day}: {bar.unknown:,} lines of unknown cost"]
        found.append(h.rect(".cap", x=_point(x), y=_point(y - _CAP - 1), width=_point(width), height=_CAP)[cap])
    return found


def _grid(top: Decimal) -> h.Node:
    found: list[h.Node] = []
    for place in range(_GRID + 1):
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * place / _GRID
        found += [
            h.line(".grid", x1=_LEFT, x2=_WIDTH, y1=_point(y), y2=_point(y)),
            h.text(x=_LEFT - 8, y=_point(y + 4), text_anchor="end")[dollars(top * place / _GRID) if place else "$0"],
        ]
    return found


def _as_table(names: Sequence[str], given: Sequence[Bar]) -> h.Element:
    rows = [
        h.tr[
            h.th(scope="row")[bar.day.isoformat()],
            (h.td(".n")[dollars(bar.parts[name]) if name in bar.parts else "–"] for name in names),
            h.td(".n")[f"{bar.unknown:,}" if bar.unknown else "–"],
        ]
        for bar in reversed(given)
        if bar.parts or bar.unknown
    ]
    head = h.tr[
        h.th(scope="col")["Day"],
        (h.th(".n", scope="col")[name] for name in names),
        h.th(".n", scope="col")["Lines unknown"],
    ]
    return h.details[
        h.summary["The same as a table"],
        h.div(".scroll", tabindex="0", role="group", aria_label="The same as a table")[
            h.table[h.thead[head], h.tbody[rows]]
        ],
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """A moment in a batch's life."""

    name: str
    at: int
    """Epoch milliseconds."""
    detail: str = ""
    trouble: bool = False


_TALL, _LINE = 46, 24


def timeline(title: str, steps: Sequence[Step], *, until: int | None = None) -> h.Node:
    """Moments along a line, each stretch between two in a colour of its own; the last one goes on to `until`."""
    if not steps:
        return None
    first, last = steps[0].at, max([*(step.at for step in steps), until or 0])
    wide = _WIDTH - 2 * 12
    scale = wide / max(last - first, 1)
    places = [12 + (step.at - first) * scale for step in steps]
    stretches = [
        h.rect(class_=f"s{number % 5}", x=_point(here), y=_LINE - 5, width=_point(max(there - here, 0)), height=10)[
            h.title[f"{steps[number].name} → {steps[number + 1].name}"]
        ]
        for number, (here, there) in enumerate(pairwise(places))
    ]
    dots = [
        h.circle(class_="dot bad" if step.trouble else "dot", cx=_point(x), cy=_LINE, r=6)[
            h.title[f"{step.name} {step.detail}"]
        ]
        for step, x in zip(steps, places, strict=True)
    ]
    if until is not None:
        goes_on = max(12 + (until - first) * scale - places[-1], 0)
        stretches.append(
            h.rect(".now", x=_point(places[-1]), y=_LINE - 4, width=_point(goes_on), height=8)[h.title["until now"]]
        )
    return h.svg(".timeline", viewBox=f"0 0 {_WIDTH} {_TALL}", role="img", aria_label=title)[stretches, dots]


def _point(number: float) -> str:
    return f"{number:.1f}"
