"""The head of a batch's page: how far it is, what it cost and used, how long it takes; and what can be done about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import htpy as h

from batchmeter.access import BatchHistory
from batchmeter.events import Settlement
from batchmeter_ui.page import tiles
from batchmeter_ui.table import progress
from batchmeter_ui.view import Tile, View
from batchmeter_ui.words import cost_of, duration, number

from .batches import ends_in, expires_in, status

if TYPE_CHECKING:
    from batchmeter.host import Estimate


@dataclass(frozen=True, slots=True)
class BatchData:
    """All that a batch's page shows."""

    history: BatchHistory
    estimate: "Estimate | None"
    left: tuple[float, float] | None
    """Likely seconds until it ends."""

    @property
    def newest(self) -> Settlement | None:
        return self.history.revisions[-1] if self.history.revisions else None


def head(view: View, data: BatchData) -> h.Element:
    links = [_link(view, data.history, name, text) for name, text in _actions(data)]
    shown = [] if view.settings.read_only else links
    return h.div[
        tiles([_progress(data), _cost(data), _tokens(data), _time(view, data)]), h.p(".span")[shown] if shown else None
    ]


def left_over(found: BatchHistory) -> int:
    """How many requests seem to want another try."""
    if found.revisions:
        newest = found.revisions[-1]
        return newest.request_counts.failed + newest.missing
    counts = found.tracked.batch.request_counts
    return counts.failed if counts else 0


def _actions(data: BatchData) -> list[tuple[str, str]]:
    found = data.history
    if not found.tracked.batch.ended:
        return [("cancel", "Cancel…")]
    again = [("retry", f"Try {left_over(found):,} failed again…")] if left_over(found) else []
    return [*again, ("reprice", "Price again…")] if found.revisions else again


def _link(view: View, found: BatchHistory, name: str, text: str) -> h.Element:
    return h.a(href=view.batch_url(found.tracked.account, found.tracked.batch_id, f"/{name}"))[text]


def _progress(data: BatchData) -> Tile:
    batch = data.history.tracked.batch
    counts, failed = batch.request_counts, left_over(data.history)
    done = progress(counts.completed + counts.failed, counts.total) if counts else "its provider counts nothing"
    bad = batch.status in {"failed", "expired"}
    return Tile("Status", status(batch.status), [done, h.span(".bad")[f" {failed:,} failed"] if failed else None], bad)


def _cost(data: BatchData) -> Tile:
    newest, estimate = data.newest, data.estimate
    if newest is not None:
        unknown = sum(newest.cost.unknown.values())
        lines = newest.request_counts.total
        return Tile("Cost", cost_of(newest.cost), f"{unknown:,} of {lines:,} lines unknown" if unknown else "all known")
    expected = estimate.expected if estimate else None
    note = "known when it has ended" if expected is None else f"estimated: ${expected:,.2f}"
    return Tile("Cost", "–", note)


def _tokens(data: BatchData) -> Tile:
    if data.newest is None:
        return Tile("Tokens", "–", "read when it has ended")
    usage = data.newest.usage
    return Tile(
        "Tokens",
        number(usage.input_tokens + usage.output_tokens),
        f"{usage.input_tokens:,} in, {usage.output_tokens:,} out",
    )


def _time(view: View, data: BatchData) -> Tile:
    batch = data.history.tracked.batch
    now = view.now / 1000
    if batch.created_at is None:
        return Tile("Time", "–", "its provider tells none")
    if batch.ended:
        took = "–" if batch.ended_at is None else duration(batch.ended_at - batch.created_at)
        return Tile("Took", took, "from created to ended")
    note = [f"{duration(now - batch.created_at)} old; expires in ", expires_in(batch.expires_at, now)]
    return Tile("Ends in", ends_in(batch, data.left, now), note)
