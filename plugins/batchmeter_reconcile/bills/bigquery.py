"""BigQuery billing export rows, as the documented query makes them, or as the table has them; credits are netted."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, cast

from batchmeter_reconcile.figures import BilledRow, number
from batchmeter_reconcile.meters import google_sku

from .focus import size_of
from .reading import BillError, Row

NEEDS = ({"day", "usage_start_time"}, {"sku", "sku_description"}, {"cost"})


def billed(row: Row, accounts: Collection[str]) -> BilledRow | None:
    """Net cost: list cost and credits together, since batch discounts may be credits."""
    del accounts
    day = row.day(("day", "usage_start_time"), ("usage_end_time",))
    sku = row.text("sku_description") or _inner(row, "sku", "description")
    scope = row.text("project_id") or _inner(row, "project", "id")
    amount, currency = _net(row), row.text("currency").upper() or "USD"
    meter = google_sku(sku)
    if not meter.kind or day is None:
        if not meter.unknown and day is not None:
            return BilledRow(day, "other", "other", None, amount, currency, scope, batch=False)
        text = sku if day is not None else f"{sku}, for more than a day"
        return BilledRow(day, "", "", _quantity(row), amount, currency, scope, meter.batch, text)
    counted = _quantity(row)
    silent = counted is None
    return BilledRow(day, meter.model, meter.kind, counted, amount, currency, scope, meter.batch, sku, silent=silent)


def _inner(row: Row, column: str, name: str) -> str:
    """Of a record, or the text itself."""
    found = row.names.get(column)
    if isinstance(found, dict):
        return str(cast("Mapping[str, Any]", found).get(name) or "")
    return "" if found is None else str(found)


def _net(row: Row) -> Decimal | None:
    cost = row.number("net_cost")
    if cost is not None:
        return cost
    cost = row.number("cost")
    credits_ = row.names.get("credits")
    if isinstance(credits_, list):
        rest = sum((_amount(one) for one in cast("list[object]", credits_)), Decimal(0))
    else:
        rest = row.number("credits") or Decimal(0)
    return None if cost is None else cost + rest


def _amount(credit: object) -> Decimal:
    given = cast("Mapping[str, Any]", credit).get("amount") if isinstance(credit, dict) else credit
    try:
        return Decimal(0) if given is None else number(Decimal(repr(given)) if isinstance(given, float) else given)
    except ValueError as error:
        raise BillError(f"credits: {error}") from None


def _quantity(row: Row) -> Decimal | None:
    """`usage.amount` counts tokens; the pricing unit's amount may be in thousands."""
    usage = row.document("usage")
    if usage:
        row = Row({f"usage_{name}": value for name, value in usage.items()})
    found = row.number("usage_amount", "usage")
    if found is not None:
        unit = row.text("usage_unit", "unit")
        return found if unit.lower() in ("", "count", "tokens", "token") else found * size_of(unit)
    priced = row.number("usage_amount_in_pricing_units")
    return None if priced is None else priced * size_of(row.text("usage_pricing_unit"))
