"""A batch's life as a line from step to step, and its revisions: what each changed, and why."""

from collections.abc import Sequence

import htpy as h

from batchmeter.access import BatchHistory
from batchmeter.events import Settlement
from batchmeter_ui.chart import Step, timeline
from batchmeter_ui.page import card
from batchmeter_ui.table import table
from batchmeter_ui.words import cost_of, duration, instant, number, shortened, spaced

_MOST_DELIVERIES = 12
_EVENTS = {"acreate_batch": "created", "batch_success": "success", "batch_failure": "failure"}


def life(found: BatchHistory, now: int) -> h.Node:
    """Up to now while it is open."""
    steps = _steps(found)
    until = None if found.tracked.batch.ended else now
    return card("Life", timeline("The batch's life", steps, until=until), _step_list(steps, until))


def event_name(kind: str) -> str:
    return _EVENTS.get(kind, kind)


def _steps(found: BatchHistory) -> list[Step]:
    batch, tracked = found.tracked.batch, found.tracked
    times = [
        ("created", batch.created_at),
        ("in progress", batch.in_progress_at),
        ("finalizing", batch.finalizing_at),
        (spaced(batch.status) if batch.ended else "", batch.ended_at),
    ]
    steps = [
        Step(name, at * 1000, trouble=name in {"failed", "expired"}) for name, at in times if at is not None and name
    ]
    if tracked.settled_at is not None:
        steps.append(Step("settled", tracked.settled_at))
    steps += [
        Step(f"delivered to {one.logger}", one.delivered_at, event_name(one.type))
        for one in found.deliveries
        if one.delivered_at is not None
    ][:_MOST_DELIVERIES]
    return sorted(steps, key=lambda step: step.at)


def _step_list(steps: Sequence[Step], until: int | None) -> h.Element:
    rows: list[h.Node] = []
    for number_, step in enumerate(steps):
        later = _since(steps[number_ - 1].at, step.at) if number_ else ""
        rows.append(
            h.li[
                h.span(class_=f"key s{number_ % 5}"),
                h.b[shortened(step.name, 60)],
                " ",
                step.detail,
                " ",
                h.time(datetime=instant(step.at))[instant(step.at)],
                " ",
                h.span(".quiet")[later],
            ]
        )
    if until is not None and steps:
        rows.append(h.li[h.span(".key.now"), h.b["now"], " ", h.span(".quiet")[_since(steps[-1].at, until)]])
    return h.ol(".steps")[rows]


def _since(earlier: int, later: int) -> str:
    return f"after {duration((later - earlier) / 1000)}"


def revisions_of(revisions: Sequence[Settlement]) -> h.Node:
    rows: list[Sequence[h.Node]] = []
    for earlier, one in zip((None, *revisions), revisions, strict=False):
        rows.append((
            number(one.revision),
            h.time(datetime=one.settled_at.isoformat())[f"{one.settled_at:%Y-%m-%d %H:%M:%SZ}"],
            cost_of(one.cost),
            number(one.request_counts.total),
            "first" if earlier is None else _changes(earlier, one),
            "–" if earlier is None else shortened(_why(earlier, one)),
        ))  # fmt: skip
    return card("Revisions", table("Revisions", ("Revision", "Settled", "Cost>", "Lines>", "Changed", "Why"), rows))


def _changes(earlier: Settlement, later: Settlement) -> str:
    values = (
        ("status", earlier.status, later.status),
        ("cost", earlier.cost.known, later.cost.known),
        ("unknown", earlier.cost.unknown, later.cost.unknown),
        ("lines", earlier.request_counts, later.request_counts),
        ("usage", earlier.usage, later.usage),
        ("price book", earlier.cost.price_book, later.cost.price_book),
        ("notes", earlier.notes, later.notes),
    )
    return ", ".join(name for name, before, after in values if before != after) or "nothing"


def _why(earlier: Settlement, later: Settlement) -> str:
    """As far as the two tell."""
    counts, others = (one.request_counts.model_copy(update={"unpriced": 0}) for one in (earlier, later))
    if counts != others or earlier.usage != later.usage:
        return "its files were read again: they had changed, or could not be read before"
    if earlier.cost.price_book != later.cost.price_book:
        return "priced again, with another price book"
    if earlier.cost != later.cost:
        return "priced again"
    return "the provider told more about it"
