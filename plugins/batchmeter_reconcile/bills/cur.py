"""AWS Cost and Usage Report rows (CUR and CUR 2.0): Bedrock's batch tokens by usage type."""

from collections.abc import Collection

from batchmeter_reconcile.figures import BilledRow
from batchmeter_reconcile.meters import aws_usage

from .focus import size_of
from .reading import Row

NEEDS = (
    {"line_item_usage_type"},
    {"line_item_usage_amount"},
    {"line_item_unblended_cost", "line_item_net_unblended_cost"},
)
_BEGIN, _END = ("line_item_usage_start_date",), ("line_item_usage_end_date",)
_USAGE = frozenset({"usage", "discountedusage", "credit", "ediscount", "privatediscount", "bundleddiscount", ""})


def billed(row: Row, accounts: Collection[str]) -> BilledRow | None:
    """Discounts and credits of a usage type are added to its cost."""
    del accounts
    usage_type, kind = row.text("line_item_usage_type"), row.text("line_item_line_item_type").replace(" ", "").lower()
    product = str(row.document("product").get("product_name") or "") or row.text(
        "product_product_name", "product_servicename", "line_item_line_item_description"
    )
    currency = row.text("line_item_currency_code").upper() or "USD"
    amount = row.number("line_item_net_unblended_cost", "line_item_unblended_cost")
    scope = row.text("line_item_usage_account_id")
    day = row.day(_BEGIN, _END)
    meter = aws_usage(usage_type, product)
    if kind not in _USAGE or not (meter.kind or meter.unknown):
        return BilledRow(day or row.day(_BEGIN), "other", "other", None, amount, currency, scope, batch=False)
    quantity = row.number("line_item_usage_amount") if kind in ("usage", "discountedusage", "") else None
    if quantity is not None:
        quantity *= meter.per if meter.per > 1 else size_of(row.text("pricing_unit"))
    if not meter.kind or day is None:
        text = usage_type if day is not None else f"{usage_type}, for more than a day"
        return BilledRow(day, "", "", quantity, amount, currency, scope, meter.batch, text)
    return BilledRow(day, meter.model, meter.kind, quantity, amount, currency, scope, meter.batch, usage_type)
