"""Turns where creates wait for room: the oldest of each key in turn, so that no key waits behind another's many."""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchmeter.host import TableSession

    from .amounts import Target

PATIENCE = 30_000
"""Milliseconds; who has not asked for so long no longer waits."""


class NotYetError(Exception):
    """Undoes the transaction: others wait in this queue, and were here first."""

    def __init__(self, target: "Target", waiting: int) -> None:
        super().__init__()
        self.target = target
        self.waiting = waiting


async def whose_turn(session: "TableSession", target: "Target", submission: str) -> None:
    """NotYetError where others were here first; who waited and gets through waits no more."""
    where = {"budget_id": target.budget.id, "bucket": target.bucket}
    rows = await session.rows("waiting", **where, seen=session.now - PATIENCE)
    first = _first([(row["submission"], row["who"]) for row in rows])
    if first is not None and first != submission:
        raise NotYetError(target, len(rows))
    if first is not None:
        await session.run("waited", submission=submission)


def _first(waiting: list[tuple[str, str]]) -> str | None:
    """The next submission of (submission, key) by age: each key's oldest before any key's second, the oldest of those first."""
    ahead = Counter[str]()
    ranked: list[tuple[int, int, str]] = []
    for place, (submission, key) in enumerate(waiting):
        ranked.append((ahead[key], place, submission))
        ahead[key] += 1
    return min(ranked)[2] if ranked else None
