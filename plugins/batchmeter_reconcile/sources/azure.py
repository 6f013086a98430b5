"""Azure Cost Management: daily cost and quantity by meter, whose name tells model, direction, place and batch."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, cast

from batchmeter.errors import APIResponseError, ConfigError
from batchmeter.http import Headers
from batchmeter_reconcile.figures import BilledRow, Figures, number
from batchmeter_reconcile.meters import azure_meter

from . import BillingSource, Question
from .web import MOST_PAGES, Page, base_of, key_of, part, report, text_of

BASE = "https://management.azure.com"
AUDIENCE = "https://management.azure.com/.default"
API_VERSION = "2025-03-01"
NEEDS = "an identity with the roles Reader and Cost Management Reader on the scope"
PATH = "/providers/Microsoft.CostManagement/query"
_THOUSAND = 1000
"""Tokens of one unit of a token meter."""


async def ask(question: Question, figures: Figures) -> None:
    settings = question.settings
    if not settings.scope:
        raise ConfigError("Azure: set scope in [plugins.reconcile.NAME]: /subscriptions/… of the account")
    given = settings.admin_key or settings.admin_key_env or settings.admin_key_file
    token = await key_of(settings, "", "Azure") if given else ""
    if settings.base_url and not token:
        raise ConfigError("Azure: base_url needs a token of its own: set admin_key_env in the same table")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    auth = None if token else _identity()
    async with report(figures, base_of(settings, BASE), headers, needs=NEEDS, secret=token, auth=auth) as opened:
        path, params = f"/{settings.scope.strip('/')}{PATH}", {"api-version": API_VERSION}
        links: set[str] = set()
        for _ in range(MOST_PAGES):
            page = part((await opened.post(path, _body(figures), params)).get("properties"))
            for row in rows(page):
                figures.add(row)
                if row.day is not None:
                    figures.through = max(figures.through or row.day, row.day)
            link = text_of(page.get("nextLink"))
            if not link:
                figures.through = figures.through or figures.first
                return
            if link in links:
                break
            links.add(link)
            path, params = link, {}
    raise APIResponseError(f"{PATH}: the pages of this report have no end")


def _identity() -> Any:
    """Entra tokens as azure-identity finds them: a managed identity, the CLI's login, the environment."""
    try:
        from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            "Azure: pip install 'batchmeter[azure]' for Entra logins, or set admin_key_env to a token's variable"
        ) from None
    credential = DefaultAzureCredential()

    async def headers() -> Headers:
        return {"authorization": f"Bearer {(await credential.get_token(AUDIENCE)).token}"}

    return headers


def _body(figures: Figures) -> dict[str, Any]:
    sums = {"totalCost": "Cost", "quantity": "UsageQuantity"}
    return {
        "type": "ActualCost",
        "timeframe": "Custom",
        "timePeriod": {"from": f"{figures.first}T00:00:00Z", "to": f"{figures.last}T23:59:59Z"},
        "dataset": {
            "granularity": "Daily",
            "aggregation": {name: {"name": column, "function": "Sum"} for name, column in sums.items()},
            "grouping": [{"type": "Dimension", "name": name} for name in ("Meter", "ResourceId")],
        },
    }


def rows(page: Page) -> Iterator[BilledRow]:
    """Columns are read by name. Meters of other services count as other traffic; token meters nobody knows, as unmatched."""
    names = [
        text_of(part(column).get("name")).lower() for column in cast("Sequence[object]", page.get("columns") or ())
    ]
    for values in cast("Sequence[Sequence[object]]", page.get("rows") or ()):
        row = dict(zip(names, values, strict=False))
        meter, currency = text_of(row.get("meter")), text_of(row.get("currency")) or "USD"
        cost = row.get("cost", row.get("totalcost", row.get("pretaxcost")))
        amount = None if cost is None else number(cost)
        quantity = row.get("usagequantity", row.get("quantity"))
        tokens = None if quantity is None else number(quantity) * _THOUSAND
        read = azure_meter(meter)
        found = (read.model, read.kind) if read.kind else ("", "")
        scope = text_of(row.get("resourceid")).rpartition("/")[2]
        if read.kind or read.unknown:
            yield BilledRow(
                _day(row), *found, tokens, amount, currency, scope, read.batch, meter, silent=tokens is None
            )
        else:
            yield BilledRow(_day(row), meter, "other", None, amount, currency, scope, batch=False)


def _day(row: Page) -> date:
    """`20261129`, or a time."""
    text = text_of(row.get("usagedate") or row.get("usagedatekey") or row.get("date"))
    if text.isdecimal():
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    return datetime.fromisoformat(text).date()


SOURCE = BillingSource("azure", ask, settle_hours=48.0)
