"""The event of a reconciliation that found a drift: one for each account, run of days and status, once."""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from batchmeter.events import AlertEvent
from batchmeter.models import Usd

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://batchmeter.dev/reconcile")
DriftKind = Literal["ours_missing", "vendor_missing", "price_drift", "unmatched_items"]


class ReconcileDrift(AlertEvent, frozen=True):
    """The vendor's figures and the ledger's differ; `account` is the bill's name."""

    type: Literal["reconcile_drift"] = "reconcile_drift"
    kind: DriftKind
    """`ours_missing`: the vendor has more; `vendor_missing`: it has less; `price_drift`: the same tokens at another
    price; `unmatched_items`: lines that nobody can read, which may be batches'."""
    reconciliation: str
    """Id of the document: `batchmeter reconcile show ID`."""
    first_day: date
    last_day: date
    models: tuple[str, ...] = ()
    difference_usd: Usd | None = None
    """None where money is not known on both sides."""
    cause: str = ""
    """As the document names it, such as `batches_elsewhere`."""
    next: str = ""
    """The command, or step, that helps."""


def drifts(found: Mapping[str, Any]) -> Iterator[ReconcileDrift]:
    """Events for one document. The same drift found again has the same id."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        if row["status"] in ("ours_missing", "vendor_missing", "price_drift"):
            groups.setdefault((row["from"], row["to"], row["status"]), []).append(row)
    for (first, last, status), rows in groups.items():
        yield _event(found, first, last, status, rows)
    unread = [one for one in found["unmatched"] if one["batch"]]
    if unread:
        named = ", ".join(one["item"] for one in unread[:3])
        text = f"Bill of {found['account']}: {len(unread)} kinds of lines cannot be read and may be batches': {named}."
        yield _made(
            found, found["from"], found["to"], "unmatched_items", sorted(one["item"] for one in unread), message=text
        )


def _event(
    found: Mapping[str, Any], first: str, last: str, status: str, rows: list[Mapping[str, Any]]
) -> ReconcileDrift:
    models = sorted({row["model"] for row in rows})
    worst = max(rows, key=lambda row: abs(Decimal(row["difference"] or 0)))
    days = first if first == last else f"{first} to {last}"
    text = f"Bill of {found['account']}, {days}: {_sentence(status, worst)} {worst.get('why', '')}".strip()
    difference = _difference(rows)
    return _made(
        found, first, last, status, models, message=text, models=tuple(models), difference_usd=difference,
        cause=worst.get("cause", ""), next=worst.get("next", ""),
    )  # fmt: skip


def _sentence(status: str, row: Mapping[str, Any]) -> str:
    if status == "price_drift":
        return f"{row['model']} {row['kind']} costs ${row['vendor_usd']} there and ${row['ours_usd']} here."
    more = abs(Decimal(row["difference"] or 0))
    side = "the vendor has" if status == "ours_missing" else "the ledger has"
    unit = "requests" if row["kind"] == "requests" else "units" if row["kind"] == "all" else f"{row['kind']} tokens"
    return f"{side} {more:,f} more {unit} of {row['model']}."


def _difference(rows: list[Mapping[str, Any]]) -> Decimal | None:
    known = [
        Decimal(row["vendor_usd"]) - Decimal(row["ours_usd"])
        for row in rows
        if row["vendor_usd"] is not None and row["ours_usd"] is not None and row["kind"] != "prompt"
    ]
    return sum(known, Decimal(0)) if known else None


def _made(
    found: Mapping[str, Any], first: str, last: str, status: str, about: list[str], **more: Any
) -> ReconcileDrift:
    name = "\x1f".join([found["account"], found["source"], first, last, status, *about])
    return ReconcileDrift.model_validate({
        "id": str(uuid.uuid5(_NAMESPACE, name)),
        "time": datetime.fromisoformat(found["made_at"]).astimezone(UTC),
        "account": found["account"],
        "provider": found["provider"],
        "kind": status,
        "reconciliation": found["id"],
        "first_day": first,
        "last_day": last,
        **more,
    })  # fmt: skip
