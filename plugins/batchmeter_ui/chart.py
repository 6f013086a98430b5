"""Charts drawn on the server as SVG: geometry in attributes, colours in classes, the numbers in a table beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

import htpy as h
from markupsafe import Markup

from .piece import Piece
from .table import boxed, table
from .words import dollars

COLOURS = 7
"""Classes `c0` to `c6`; the last one is for all the rest."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1120, 190, 62, 14, 22
_CAP = 7
_GRID = 4
_MOST_LABELS = 12
_WHOLE_DOLLARS, _MILLION = 100, 1_000_000
_CHART = Piece(f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="%s">%s</svg>')
_OVER = Piece(
    f'<rect class="over" x="%s" y="{_TOP}" width="%s" height="{_HEIGHT - _BOTTOM - _TOP}"><title>%s</title></rect>'
)
_BELOW = Piece(f'<text x="%s" y="{_HEIGHT - 6}" text-anchor="middle">%s</text>')
_GRID_LINE = Piece(
    f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="%s" y2="%s"></line>'
    f'<text x="{_LEFT - 8}" y="%s" text-anchor="end">%s</text>'
)
_SHAPE, _UNKNOWN = Piece('<path class="c%s" d="%s"></path>'), Piece('<path class="cap" d="%s"></path>')
_WHOLE = Piece('<div>%s<ul class="legend">%s%s</ul><details><summary>The same as a table</summary>%s</details></div>')
_KEY = Piece('<li><span class="key c%s"></span>%s</li>')
_CAP_KEY = Piece('<li><span class="key cap"></span>has lines of unknown cost</li>')


@dataclass(frozen=True, slots=True)
class Bar:
    """One day, week or month: what each name came to, from the bottom up, and whether some of it is unknown."""

    day: date
    """The first day of the bar."""
    parts: Mapping[str, Decimal]
    unknown: int = 0
    """Lines whose cost is unknown."""

    @property
    def total(self) -> Decimal:
        return sum(self.parts.values(), Decimal(0))


def bars(title: str, names: Sequence[str], given: Sequence[Bar], *, per: str = "day") -> Markup:
    """Stacked bars, one a day, week or month; a dashed cap where lines of unknown cost make the bar a lower bound."""
    top = _rounded(max((bar.total for bar in given), default=Decimal(0)) or Decimal(1))
    step = (_WIDTH - _LEFT) / max(len(given), 1)
    every = -(-len(given) // _MOST_LABELS) or 1
    labels = [
        _BELOW(_point(_LEFT + step * (place + 0.5)), _label(bar.day, per))
        for place, bar in enumerate(given)
        if place % every == 0
    ]
    shown = [(place, bar, _amounts(names, bar)) for place, bar in enumerate(given) if bar.parts or bar.unknown]
    over = [_over(names, bar, amounts, _LEFT + step * place, step, per) for place, bar, amounts in shown]
    chart = _CHART(title, [_grid(top), _stacks(names, given, step, top), labels, over])
    keys = [_KEY(str(place), name) for place, name in enumerate(names)]
    rows = [
        (_name(bar.day, per), *amounts, f"{bar.unknown:,}" if bar.unknown else "–")
        for _, bar, amounts in reversed(shown)
    ]
    columns = (per.title(), *(f"{name}>" for name in names), "Lines unknown>")
    same = table("The same as a table", columns, rows)
    return _WHOLE(boxed(title, chart), keys, _CAP_KEY() if any(bar.unknown for bar in given) else None, same)


def _over(names: Sequence[str], bar: Bar, amounts: Sequence[str], x: float, step: float, per: str) -> Markup:
    """The bar's parts and their amounts, where the mouse is over it."""
    parts = [f"{name} {amount}" for name, amount in zip(names, amounts, strict=True) if name in bar.parts]
    parts += [f"{bar.unknown:,} lines of unknown cost"] if bar.unknown else []
    return _OVER(_point(x), _point(step), f"{_name(bar.day, per)}: {', '.join(parts)}")


def _label(day: date, per: str) -> str:
    return f"{day:%Y-%m}" if per == "month" else f"{day:%m-%d}"


def _name(day: date, per: str) -> str:
    return f"{day:%Y-%m}" if per == "month" else f"week of {day}" if per == "week" else day.isoformat()


def _amounts(names: Sequence[str], bar: Bar) -> list[str]:
    return [dollars(bar.parts[name]) if name in bar.parts else "–" for name in names]


def _rounded(top: Decimal) -> Decimal:
    """The next amount whose parts are round: 1, 2, 2.5 or 5 and zeros for each line of the grid."""
    part = top / _GRID
    power = Decimal(1).scaleb(part.adjusted())
    return _GRID * next(step * power for step in map(Decimal, ("1", "2", "2.5", "5", "10")) if step * power >= part)


def _stacks(names: Sequence[str], given: Sequence[Bar], step: float, top: Decimal) -> h.Node:
    """One shape for each name, over all bars: a page of a year has few elements."""
    width, room = max(step * 0.8, 1), _HEIGHT - _BOTTOM - _TOP
    shapes: list[list[str]] = [[] for _ in names]
    caps: list[str] = []
    for place, bar in enumerate(given):
        x, y = _LEFT + step * place + (step - width) / 2, float(_HEIGHT - _BOTTOM)
        for shape, name in zip(shapes, names, strict=True):
            part = bar.parts.get(name, Decimal(0))
            if part > 0:
                tall = float(part / top) * room
                y -= tall
                shape.append(_box(x, y, width, tall))
        if bar.unknown:
            caps.append(_box(x, y - _CAP - 1, width, _CAP))
    drawn = [_SHAPE(str(place), "".join(shape)) for place, shape in enumerate(shapes) if shape]
    return [drawn, _UNKNOWN("".join(caps)) if caps else None]


def _box(x: float, y: float, width: float, tall: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{tall:.1f}h-{width:.1f}z"


def _grid(top: Decimal) -> h.Node:
    found: list[h.Node] = []
    for place in range(_GRID + 1):
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * place / _GRID
        found.append(_GRID_LINE(_point(y), _point(y), _point(y + 4), _axis(top * place / _GRID, top)))
    return found


def _axis(amount: Decimal, top: Decimal) -> str:
    """Short enough for the margin: `$12,500`, `$2.5M`."""
    if not amount:
        return "$0"
    if top >= _MILLION:
        return f"${(amount / _MILLION).normalize():f}M"
    return f"${amount:,.0f}" if top >= _WHOLE_DOLLARS else dollars(amount)


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
