"""Charts drawn on the server as SVG: geometry in attributes, colours in classes, the numbers in a table beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise

import htpy as h
from markupsafe import Markup

from .table import table, written
from .words import dollars

COLOURS = 7
"""Classes `c0` to `c6`; the last one is for all the rest."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 1120, 190, 62, 14, 22
_CAP = 7
_GRID = 4
_MOST_LABELS = 12
_WHOLE_DOLLARS, _MILLION = 100, 1_000_000
_OVER = Markup('<rect class="over" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>')


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


def bars(title: str, names: Sequence[str], given: Sequence[Bar], *, per: str = "day") -> h.Element:
    """Stacked bars, one a day, week or month; a dashed cap where lines of unknown cost make the bar a lower bound."""
    top = _rounded(max((bar.total for bar in given), default=Decimal(0)) or Decimal(1))
    step = (_WIDTH - _LEFT) / max(len(given), 1)
    every = -(-len(given) // _MOST_LABELS) or 1
    labels = [
        h.text(x=_point(_LEFT + step * (place + 0.5)), y=_HEIGHT - 6, text_anchor="middle")[_label(bar.day, per)]
        for place, bar in enumerate(given)
        if place % every == 0
    ]
    chart = h.svg(".bars", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title)[
        _grid(top), _stacks(names, given, step, top), labels, _titles(names, given, step, per)
    ]
    legend = h.ul(".legend")[
        (h.li[h.span(class_=f"key c{place}"), name] for place, name in enumerate(names)),
        h.li[h.span(".key.cap"), "has lines of unknown cost"] if any(bar.unknown for bar in given) else None,
    ]
    shown = [bar for bar in given if bar.parts or bar.unknown]
    rows = [(_name(bar.day, per), *_amounts(names, bar), f"{bar.unknown:,}" if bar.unknown else "–") for bar in shown]
    columns = (per.title(), *(f"{name}>" for name in names), "Lines unknown>")
    same = h.details[h.summary["The same as a table"], table("The same as a table", columns, reversed(rows))]
    return h.div[h.div(".scroll", tabindex="0", role="group", aria_label=title)[written(chart)], legend, same]


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
    drawn = [h.path(class_=f"c{place}", d="".join(shape)) for place, shape in enumerate(shapes) if shape]
    return [drawn, h.path(".cap", d="".join(caps)) if caps else None]


def _box(x: float, y: float, width: float, tall: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{tall:.1f}h-{width:.1f}z"


def _titles(names: Sequence[str], given: Sequence[Bar], step: float, per: str) -> h.Node:
    """Each bar's parts and their amounts, where the mouse is over it."""
    width, height = _point(step), _HEIGHT - _BOTTOM - _TOP
    found: list[h.Node] = []
    for place, bar in enumerate(given):
        parts = [f"{name} {dollars(bar.parts[name])}" for name in names if name in bar.parts]
        parts += [f"{bar.unknown:,} lines of unknown cost"] if bar.unknown else []
        if parts:
            text = f"{_name(bar.day, per)}: {', '.join(parts)}"
            found.append(_OVER % (_point(_LEFT + step * place), _TOP, width, height, text))
    return found


def _grid(top: Decimal) -> h.Node:
    found: list[h.Node] = []
    for place in range(_GRID + 1):
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * place / _GRID
        found += [
            h.line(".grid", x1=_LEFT, x2=_WIDTH, y1=_point(y), y2=_point(y)),
            h.text(x=_LEFT - 8, y=_point(y + 4), text_anchor="end")[_axis(top * place / _GRID, top)],
        ]
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
