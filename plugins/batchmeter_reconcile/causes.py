"""Causes: why a row drifts, as far as the figures tell, and the command that helps next."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from .judge import DRIFT, Compared, Comparison
from .ours import Batches

if TYPE_CHECKING:
    from .runs import Run


@dataclass(frozen=True, slots=True)
class Cause:
    """Words for people; `{…}` is filled in from the row."""

    words: str
    next: str = ""


CAUSES = {
    "batches_elsewhere": Cause(
        "The vendor counts more requests: batches that this ledger does not know, made with the same key or project.",
        "batchmeter reconcile {account} --from {first} --to {last} --untracked",
    ),
    "partial_answers": Cause(
        "Batches were cancelled or expired: the vendor counts answers that are in no file.",
        "ask the vendor, with the ids of these batches",
    ),
    "failed_lines_billed": Cause(
        "Lines failed or are missing, and the vendor counts tokens for them.",
        "batchmeter check {batch}",
    ),
    "cached_share": Cause(
        "All of the input agrees, and the part that was read from the cache does not: it is counted otherwise.",
        "compare `usage` of some lines of the output file with the vendor's report",
    ),
    "more_tokens": Cause(
        "The vendor counts more tokens for as many requests.", "ask the vendor, with the ids of these batches"
    ),
    "repeated_lines": Cause(
        "Outputs hold lines twice: we count both, the vendor one.", "batchmeter check {batch}"
    ),
    "less_booked": Cause(
        "The vendor has not booked all of it, refunded it, or gives it for free.",
        "wait a day and reconcile again; then ask the vendor, with the ids of these batches",
    ),
    "twice": Cause(
        "The vendor bills twice our amount: the batch discount is not in these figures, or was not given.",
        "include credits in the bill; else ask the vendor, with the ids of these batches",
    ),
    "regional": Cause(
        "The vendor bills 10 % more: its regional price.", "set `region` in [accounts.{account}], then `batchmeter reprice --since {first}`"
    ),
    "price_changed": Cause(
        "The price changed on {changed}: the days before agree.",
        "batchmeter prices update, then batchmeter reprice --since {changed}",
    ),
    "other_rate": Cause(
        "The vendor's rate is {ratio} times ours: a negotiated price, or another price list.",
        '[prices."{provider}/{model}"] multiplier = "{ratio}", then batchmeter reprice --since {first}',
    ),
    "free_here": Cause("The vendor bills money for what our prices call free.", "batchmeter prices show {provider}/{model}"),
    "free_there": Cause(
        "The vendor bills nothing: a credit or a free tier.", "batchmeter prices show {provider}/{model}"
    ),
    "not_settled": Cause("The vendor may still add to these days.", "reconcile again later"),
    "bill_ends": Cause("The bill does not reach these days yet.", "reconcile again with a newer bill"),
    "still_open": Cause("Batches are open that may be booked on these days.", "reconcile again when they have ended"),
    "other_day": Cause("The vendor books a part on the day beside: together the days agree."),
    "requests_only": Cause("All tokens agree; requests are counted otherwise, failed ones for one."),
    "across_edge": Cause(
        "Batches cross the first or last day: only bounds are known.", "give more days, or --edge-days"
    ),
    "other_currency": Cause("The vendor bills in {currency}: tokens are compared, money is not."),
    "unpriced": Cause("Some lines have no known price: tokens are compared, money is not.", "batchmeter prices show {provider}/{model}"),
    "no_split": Cause(
        "The vendor's report does not tell batches of this endpoint from other calls.",
        "set exclusive = true in [plugins.reconcile.{account}] where the project makes batches only",
    ),
    "silent": Cause("The vendor's report leaves this number out."),
}  # fmt: skip
_UNSAFE = re.compile(r"[^\w.:/@+ -]")
"""Characters of a model's name that a command or setting to copy does not hold."""
_TWICE, _REGIONAL = Decimal(2), Decimal("1.1")
_NEAR = Decimal("0.01")


def explain(found: Comparison, account: str, provider: str) -> None:
    """Fill in cause, next step and batch ids of every row that is no match."""
    by_run: dict[tuple[str, Run], list[Compared]] = {}
    by_kind: dict[tuple[str, str], list[Compared]] = {}
    for row in found.rows:
        by_run.setdefault((row.model, row.run), []).append(row)
        if row.vendor_usd is not None:
            by_kind.setdefault((row.model, row.kind), []).append(row)
    changes = {name: _changed_on(rows) for name, rows in by_kind.items()}
    for (model, run), rows in by_run.items():
        batches = found.batches.get((model, run), Batches())
        for row in rows:
            if not row.cause:
                row.since = changes.get((model, row.kind))
                row.cause = _cause(row, rows, batches)
            if row.cause:
                row.batches = row.batches or _ids(row.cause, batches)
                row.next = _filled(CAUSES[row.cause].next, row, account, provider)


def _cause(row: Compared, beside: Sequence[Compared], batches: Batches) -> str:
    if row.status == "price_drift":
        return _of_price(row)
    if row.status in DRIFT:
        return _of_tokens(row, beside, batches)
    return {"explained": "across_edge", "unverifiable": "silent"}.get(row.status, "")


def _of_tokens(row: Compared, beside: Sequence[Compared], batches: Batches) -> str:
    by_kind = {one.kind: one for one in beside}
    whole = by_kind.get("prompt")
    if row.kind in ("cached_input", "uncached_input") and whole is not None and whole.status == "match":
        return "cached_share"
    requests = by_kind.get("requests")
    if row.status == "vendor_missing":
        return "repeated_lines" if batches.repeated else "less_booked"
    if not batches.count or (requests is not None and requests.difference > batches.unanswered):
        return "batches_elsewhere"
    if batches.partial or batches.failing:
        return "partial_answers" if batches.partial else "failed_lines_billed"
    return "batches_elsewhere" if requests is None and row.difference * 10 >= row.ours else "more_tokens"


def _of_price(row: Compared) -> str:
    if not row.ours_usd:
        return "free_here"
    if not row.vendor_usd:
        return "free_there"
    ratio = row.vendor_usd / row.ours_usd
    if abs(ratio - _TWICE) <= _TWICE * _NEAR:
        return "twice"
    if row.since is not None:
        return "price_changed"
    return "regional" if abs(ratio - _REGIONAL) <= _NEAR / 2 else "other_rate"


def _changed_on(rows: Sequence[Compared]) -> date | None:
    """The first day of drift of one model and kind, where all before agrees and nothing after does."""
    ordered = sorted(rows, key=lambda one: one.run.first)
    drifting = [one.status == "price_drift" for one in ordered]
    if True not in drifting or drifting[0] or False in drifting[drifting.index(True) :]:
        return None
    return ordered[drifting.index(True)].run.first


def _ids(cause: str, batches: Batches) -> list[str]:
    named = {
        "partial_answers": batches.partial,
        "failed_lines_billed": batches.failing,
        "repeated_lines": batches.repeated,
        "cached_share": batches.sample,
        "more_tokens": batches.sample,
        "less_booked": batches.sample,
        "twice": batches.sample,
        "across_edge": batches.sample,
    }
    return list(named.get(cause, ()))[:5]


def _filled(text: str, row: Compared, account: str, provider: str) -> str:
    return text.format(**_parts(row, account, provider))


def words(row: Compared, account: str, provider: str) -> str:
    """The cause as a sentence; empty where there is none."""
    return CAUSES[row.cause].words.format(**_parts(row, account, provider)) if row.cause else ""


def _parts(row: Compared, account: str, provider: str) -> dict[str, str]:
    ratio = row.vendor_usd / row.ours_usd if row.vendor_usd and row.ours_usd else Decimal(1)
    return {
        "account": shlex.quote(account),
        "provider": provider,
        "model": _UNSAFE.sub("?", row.model),
        "first": row.run.first.isoformat(),
        "changed": (row.since or row.run.first).isoformat(),
        "last": row.run.last.isoformat(),
        "batch": shlex.quote(row.batches[0]) if row.batches else "BATCH",
        "ratio": f"{ratio:.4f}".rstrip("0").rstrip("."),
        "currency": row.foreign,
    }
