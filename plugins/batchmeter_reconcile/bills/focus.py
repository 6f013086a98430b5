"""FOCUS rows: ours and clouds', any version; tokens by ConsumedQuantity, money by BilledCost."""

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from batchmeter_reconcile.figures import KIND_OF, BilledRow
from batchmeter_reconcile.meters import Meter, any_meter

from .reading import Row

NEEDS = ({"billed_cost"}, {"charge_period_start"}, {"billing_currency", "x_billed_cost_in_usd"})
_TEXTS = ("sku_meter", "x_sku_meter_name", "x_sku_description", "charge_description", "sku_id")
_UNIT = re.compile(r"^\s*(?P<size>[\d,.]*)\s*(?P<letter>[KkMm](?![a-z]))?", re.IGNORECASE)
_SIZES = {"": 1, "k": 1000, "m": 1_000_000}
_USAGE = frozenset({"usage", "credit", ""})
"""Charge categories that are about tokens; taxes, purchases and adjustments are not."""


def billed(row: Row, accounts: Collection[str]) -> BilledRow | None:
    """None for another account's row in a file of ours."""
    ours = row.text("x_batchmeter_account")
    if ours and ours not in accounts:
        return None
    day = row.day(("charge_period_start",), ("charge_period_end",))
    amount, currency = _money(row)
    category = row.text("charge_category").lower()
    meter = _of_details(row) or any_meter(tuple(row.text(name) for name in _TEXTS))
    scope = row.text("sub_account_id", "resource_id", "billing_account_id")
    if category not in _USAGE or not (meter.kind or meter.unknown):
        return BilledRow(
            day or row.day(("charge_period_start",)), "other", "other", None, amount, currency, scope, batch=False
        )
    item = row.text(*_TEXTS)
    if not meter.kind or day is None:
        text = item if day is not None else f"{item}, for more than a day"
        return BilledRow(day, "", "", _quantity(row, meter), amount, currency, scope, meter.batch, text)
    counted = None if category == "credit" else _quantity(row, meter)
    silent = counted is None and category != "credit"
    return BilledRow(day, meter.model, meter.kind, counted, amount, currency, scope, meter.batch, item, silent=silent)


def _money(row: Row) -> tuple[Decimal | None, str]:
    currency = row.text("billing_currency").upper() or "USD"
    if currency != "USD" and (dollars := row.number("x_billed_cost_in_usd")) is not None:
        return dollars, "USD"
    return row.number("billed_cost"), currency


def _of_details(row: Row) -> Meter | None:
    """Rows that say what they are: ours, and those of FOCUS 1.5."""
    details: dict[str, Any] = {
        name.lower().removeprefix("x_"): value for name, value in row.document("sku_price_details").items()
    }
    model, tier = details.get("modelid"), str(details.get("processingtier") or "").lower()
    if not model or not tier:
        return None
    bucket = row.text("sku_id").split("/")
    kind = next((KIND_OF[part] for part in reversed(bucket) if part in KIND_OF), "") or _kind(details)
    return Meter(str(model), kind, tier == "batch", unknown=not kind)


def _kind(details: dict[str, Any]) -> str:
    if str(details.get("tokendirection") or "").lower() == "output":
        return "output"
    action = str(details.get("tokencacheaction") or "").lower()
    return {"read": "cached_input", "write": "cache_write", "uncached": "uncached_input"}.get(action, "")


def _quantity(row: Row, meter: Meter) -> Decimal | None:
    """Tokens. A unit may hold many: `1K`, `1000000 Tokens`."""
    del meter
    consumed = row.number("consumed_quantity")
    if consumed is not None:
        return consumed * size_of(row.text("consumed_unit"))
    priced = row.number("pricing_quantity")
    unit = row.text("x_pricing_unit_description", "pricing_unit")
    return None if priced is None else priced * size_of(unit)


def size_of(unit: str) -> Decimal:
    """`1K tokens`, `1000 Tokens` -> 1000; `Units`, `Tokens`, `1M` as they say."""
    found = _UNIT.match(unit)
    assert found is not None
    digits = found["size"].replace(",", "").rstrip(".")
    return (Decimal(digits) if digits else Decimal(1)) * _SIZES[(found["letter"] or "").lower()]
