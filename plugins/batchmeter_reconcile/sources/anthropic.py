"""Anthropic's usage and cost reports: analytics first, else the older admin reports; tokens and money by service tier."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from batchmeter.errors import BadRequestError, NotFoundError, PermissionDeniedError
from batchmeter_reconcile.figures import BilledRow, Figures, number

from . import BillingSource, Question
from .web import Page, Report, base_of, items, key_of, part, report, text_of

BASE = "https://api.anthropic.com"
VARIABLE = "ANTHROPIC_ADMIN_KEY"
NEEDS = "an admin key of the organization (sk-ant-admin…), or one with the scope read:analytics"
VERSION, BETA = "2023-06-01", "analytics-usage-cost-2026-08-24"
ANALYTICS = "v1/organizations/analytics/"
OLDER_USAGE, OLDER_COST = "v1/organizations/usage_report/messages", "v1/organizations/cost_report"
_DAY = timedelta(days=1)
_MOST_DAYS = 31
_CENTS = Decimal(100)
_TOKENS = {
    "uncached_input_tokens": "uncached_input",
    "cache_read_input_tokens": "cached_input",
    "output_tokens": "output",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write",
    "server_tool_use.web_search_requests": "web_search",
}
"""A counter's place, or a cost's token type -> its kind."""
_COSTS = {"web_search": "web_search"}


async def ask(question: Question, figures: Figures) -> None:
    settings = question.settings
    key = await key_of(settings, VARIABLE, "Anthropic")
    headers = {"x-api-key": key, "anthropic-version": VERSION, "anthropic-beta": BETA}
    async with report(figures, base_of(settings, BASE), headers, needs=NEEDS, secret=key) as opened:
        try:
            await _analytics(opened, question, figures)
        except (NotFoundError, PermissionDeniedError, BadRequestError) as error:
            if figures.rows:
                raise
            figures.notes.append(
                f"the analytics reports did not answer ({error.status_code}): the older ones were read"
            )
            await _older(opened, question, figures)


def _scope_name(by: str) -> str:
    return "api_key_id" if by == "key" else "workspace_id"


def _scoped(question: Question) -> dict[str, Any]:
    chosen = question.settings
    return {"workspace_ids[]": list(chosen.project_ids) or None, "api_key_ids[]": list(chosen.api_key_ids) or None}


def _spans(figures: Figures) -> Iterator[dict[str, str]]:
    """A month at a time, as the reports allow."""
    first = figures.first
    while first <= figures.last:
        last = min(first + _DAY * (_MOST_DAYS - 1), figures.last)
        yield {"starting_at": f"{first}T00:00:00Z", "ending_at": f"{last + _DAY}T00:00:00Z"}
        first = last + _DAY


async def _analytics(opened: Report, question: Question, figures: Figures) -> None:
    scope = _scope_name(question.by)
    groups = ["service_tier", "model", scope]
    shared = {"time_bucket_width": "1d", "limit": 1000, "order_by": "time", **_scoped(question)}
    for span in _spans(figures):
        query = {**shared, **span, "group_by[]": groups}
        async for page in opened.pages(f"{ANALYTICS}usage", query):
            for one in items(page, "data"):
                for row in usage_rows(_day(one), part(one.get("group")), part(one.get("usage")), scope):
                    figures.add(row)
        query = {**shared, **span, "group_by[]": [*groups, "cost_type", "token_type"]}
        async for page in opened.pages(f"{ANALYTICS}cost", query):
            for one in items(page, "data"):
                cost = part(one.get("cost"))
                figures.add(
                    cost_row(_day(one), part(one.get("group")), cost.get("amount"), cost.get("currency"), scope)
                )


def usage_rows(day: date, group: Page, usage: Page, scope: str) -> Iterator[BilledRow]:
    """Disjoint counters; a tier that is not `batch` is another's."""
    batch = text_of(group.get("service_tier")) == "batch"
    for place, kind in _TOKENS.items():
        outer, _, inner = place.rpartition(".")
        found = (part(usage.get(outer)) if outer else usage).get(inner)
        if found is not None or not outer:
            quantity = None if found is None else number(found)
            yield _row(day, group, kind, scope, batch=batch, quantity=quantity, silent=found is None)
    if "requests" in usage:
        requests = usage["requests"]
        quantity = None if requests is None else number(requests)
        yield _row(day, group, "requests", scope, batch=batch, quantity=quantity, silent=requests is None)


def cost_row(day: date, group: Page, amount: object, currency: object, scope: str) -> BilledRow:
    """Amounts are texts of cents."""
    batch = text_of(group.get("service_tier")) == "batch"
    kind = _TOKENS.get(text_of(group.get("token_type"))) or _COSTS.get(text_of(group.get("cost_type")), "")
    money = None if amount is None else number(amount) / _CENTS
    return _row(day, group, kind, scope, batch=batch, amount=money, currency=text_of(currency) or "USD")


def _row(day: date, group: Page, kind: str, scope: str, **more: Any) -> BilledRow:
    model = text_of(group.get("model"))
    named = [text_of(group.get(name)) for name in ("description", "cost_type", "token_type", "model")]
    item = "" if model and kind else ", ".join(filter(None, named)) or "(no model)"
    return BilledRow(
        day, model if kind else "", kind if model else "", scope=text_of(group.get(scope)), item=item, **more
    )


async def _older(opened: Report, question: Question, figures: Figures) -> None:
    """Organizations without analytics: usage by tier, cost by description; requests are not counted."""
    figures.kinds = tuple(kind for kind in SOURCE.kinds if kind != "requests")
    scope = _scope_name(question.by)
    shared = {"bucket_width": "1d", "limit": _MOST_DAYS}
    for span in _spans(figures):
        query = {**shared, **span, "group_by[]": ["service_tier", "model", scope], **_scoped(question)}
        async for day, one in _buckets(opened, OLDER_USAGE, query):
            for row in usage_rows(day, one, one, scope):
                figures.add(row)
        if question.settings.api_key_ids:
            figures.notes.append("the older cost report knows no keys: money is not compared")
            continue
        query = {**shared, **span, "group_by[]": ["workspace_id", "description"]}
        async for day, one in _buckets(opened, OLDER_COST, query):
            wanted = question.settings.project_ids
            if not wanted or text_of(one.get("workspace_id")) in wanted:
                figures.add(cost_row(day, one, one.get("amount"), one.get("currency"), "workspace_id"))


async def _buckets(opened: Report, path: str, query: Mapping[str, Any]) -> AsyncIterator[tuple[date, Page]]:
    async for page in opened.pages(path, query):
        for bucket in items(page, "data"):
            for one in items(bucket, "results"):
                yield _day(bucket), one


def _day(row: Page) -> date:
    moment = datetime.fromisoformat(text_of(row.get("starting_at")))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).date()


SOURCE = BillingSource(
    "anthropic", ask, settle_hours=24.0,
    kinds=("uncached_input", "cached_input", "cache_write", "output", "web_search", "requests"),
)  # fmt: skip
