"""Looks at batches that were settled without their output: planned, leased, and planned anew or forgotten."""

from collections.abc import Collection, Sequence

from .claims import in_order, millis
from .records import LateLook, Millis
from .session import Session

HORIZON: Millis = 25 * 3_600_000
"""No look is planned further ahead: such a time was written under a clock that was wrong, and the look is due."""


async def claim_late_looks(
    session: Session, accounts: Collection[str], *, lease_seconds: float, limit: int
) -> list[LateLook]:
    """Due ones of these accounts; where their look does not end, they are due again after the lease."""
    due = await session.rows("due_late_looks", accounts=sorted(accounts), horizon=HORIZON, limit=limit)
    items = [{name: row[name] for name in ("account", "batch_id", "next_look_at")} for row in due]
    taken = await session.each("claim_late_look", in_order(items), lease=millis(lease_seconds))
    return [
        LateLook(row["account"], row["batch_id"], min(row["settled_at"], session.now), row["looks"]) for row in taken
    ]


async def finish_late_look(session: Session, look: LateLook, again_at: Millis | None) -> None:
    """Plan the next one; None: its files were found, or it was the last."""
    names = {"account": look.account, "batch_id": look.batch_id}
    if again_at is None:
        await session.run("forget_late_look", **names)
    else:
        await session.run(
            "plan_late_look", **names, settled_at=look.settled_at, looks=look.looks, next_look_at=again_at
        )


async def forget_late_looks(session: Session, batches: Sequence[dict[str, object]]) -> None:
    """Of batches (`account`, `batch_id`) that are pruned, or have another name now."""
    await session.each("forget_late_look", in_order([dict(batch) for batch in batches]))
