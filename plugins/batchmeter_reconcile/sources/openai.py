"""OpenAI's organization usage (tokens, by batch flag) and costs (money, by line item); an admin key reads them."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from batchmeter.errors import APIResponseError, BadRequestError, PermissionDeniedError
from batchmeter_reconcile.figures import BilledRow, Figures, number

from . import BillingSource, Question
from .web import Page, Report, base_of, items, key_of, part, report, text_of

BASE = "https://api.openai.com/v1"
VARIABLE = "OPENAI_ADMIN_KEY"
NEEDS = "an admin key of the organization (sk-admin-…) that may read usage: a project's key may not"
UNSPLIT = frozenset({"/v1/embeddings", "/v1/moderations", "/v1/images/generations", "/v1/images/edits", "/v1/videos"})
"""Their usage has no batch flag."""
_ALONE = ("embeddings", "moderations")
"""Reports that count tokens, for projects that make batches only."""
_DAY = timedelta(days=1)
_MOST_DAYS = 31
"""Buckets of one call."""
_LINE_ITEM = re.compile(
    r"^(?:(?P<tier>batch|flex|priority|standard)(?: api)?\s*\|\s*)?(?P<model>[^,|]+?)"
    r"(?:,\s*long context)?,\s*(?P<kind>cached input|cache writes?|input|output)(?:[ _]tokens)?(?:,\s*(?P<more>[^,]+))?$",
    re.IGNORECASE,
)
_LINE_KINDS = {
    "input": "uncached_input",
    "cached input": "cached_input",
    "cache write": "cache_write",
    "cache writes": "cache_write",
    "output": "output",
}
_MORE = {"long context": None, "batch": True}
"""Words that may follow, and whether they say that it is a batch's."""


async def ask(question: Question, figures: Figures) -> None:
    settings = question.settings
    key = await key_of(settings, VARIABLE, "OpenAI")
    headers = {"authorization": f"Bearer {key}"}
    figures.exclusive = settings.exclusive
    figures.unsplit = frozenset(
        one for one in UNSPLIT if not settings.exclusive or one.rpartition("/")[2] not in _ALONE
    )
    async with report(figures, base_of(settings, BASE), headers, needs=NEEDS, secret=key) as opened:
        async for start, result in _results(opened, "organization/usage/completions", _usage_query(question), figures):
            for row in usage_rows(start, result, question.by):
                figures.add(row)
        for name in _ALONE if settings.exclusive else ():
            query = {**_usage_query(question), "batch": None, "group_by[]": [_scope_name(question.by), "model"]}
            async for start, result in _results(opened, f"organization/usage/{name}", query, figures):
                for row in embedding_rows(start, result, question.by):
                    figures.add(row)
        try:
            async for start, result in _results(opened, "organization/costs", _costs_query(question), figures):
                figures.add(cost_row(start, result, question.by))
        except PermissionDeniedError as error:
            figures.notes.append(f"costs could not be read, so money is not compared: {error}")


def _scoped(question: Question) -> dict[str, Any]:
    chosen = question.settings
    return {"project_ids[]": list(chosen.project_ids) or None, "api_key_ids[]": list(chosen.api_key_ids) or None}


def _scope_name(by: str) -> str:
    return "api_key_id" if by == "key" else "project_id"


def _usage_query(question: Question) -> dict[str, Any]:
    groups = [_scope_name(question.by), "model", "batch"]
    return {"bucket_width": "1d", "batch": "true", "group_by[]": groups, "limit": _MOST_DAYS, **_scoped(question)}


def _costs_query(question: Question) -> dict[str, Any]:
    groups = [_scope_name(question.by), "line_item"]
    return {"bucket_width": "1d", "group_by[]": groups, "limit": _MOST_DAYS, **_scoped(question)}


async def _results(
    opened: Report, path: str, query: Mapping[str, Any], figures: Figures
) -> AsyncIterator[tuple[date, Page]]:
    """(day, result) of every bucket, a month of them at a time."""
    first = figures.first
    while first <= figures.last:
        last = min(first + _DAY * (_MOST_DAYS - 1), figures.last)
        span = {"start_time": _seconds(first), "end_time": _seconds(last + _DAY)}
        try:
            async for page in opened.pages(path, {**query, **span}):
                for bucket in items(page, "data"):
                    day = datetime.fromtimestamp(int(number(bucket.get("start_time"))), UTC).date()
                    for result in items(bucket, "results"):
                        yield day, result
        except BadRequestError as error:
            raise APIResponseError(f"{path}: {error}") from None
        first = last + _DAY


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def usage_rows(day: date, result: Page, by: str = "project") -> Iterator[BilledRow]:
    """`input_tokens` holds the cached and written ones, too. What is null is not known; without a model it is no row."""
    if result.get("batch") is False:
        return
    model = text_of(result.get("model"))
    scope = text_of(result.get(_scope_name(by)))
    whole, output = _count(result, "input_tokens"), _count(result, "output_tokens")
    cached, written = _count(result, "input_cached_tokens"), _count(result, "input_cache_write_tokens")
    fresh = _count(result, "input_uncached_tokens")
    if fresh is None and whole is not None and cached is not None:
        fresh = whole - cached - (written or 0)
    counted = {
        "prompt": whole,
        "uncached_input": fresh,
        "cached_input": cached,
        "output": output,
        "requests": _count(result, "num_model_requests"),
    }
    for kind, quantity in counted.items():
        item = "" if model else f"usage of no model, {kind}"
        yield BilledRow(day, model, kind if model else "", quantity, scope=scope, item=item, silent=quantity is None)
    if written is not None:
        yield BilledRow(day, model, "cache_write" if model else "", written, scope=scope, item="usage of no model")


def embedding_rows(day: date, result: Page, by: str = "project") -> Iterator[BilledRow]:
    """Embeddings and moderations have input alone."""
    model, scope = text_of(result.get("model")), text_of(result.get(_scope_name(by)))
    whole = _count(result, "input_tokens")
    counted = {"prompt": whole, "uncached_input": whole, "requests": _count(result, "num_model_requests")}
    for kind, quantity in counted.items():
        item = "" if model else f"usage of no model, {kind}"
        yield BilledRow(day, model, kind if model else "", quantity, scope=scope, item=item, silent=quantity is None)


def _count(result: Page, name: str) -> Decimal | None:
    found = result.get(name)
    return None if found is None else number(found)


def cost_row(day: date, result: Page, by: str = "project") -> BilledRow:
    """A line item is text: `gpt-5-mini-2025-08-07, input`. One that is not known keeps its words, and its money."""
    amount = part(result.get("amount"))
    value, currency = amount.get("value"), text_of(amount.get("currency")) or "usd"
    money = None if value is None else number(value)
    item = text_of(result.get("line_item"))
    scope = text_of(result.get(_scope_name(by)))
    model, kind, batch = line_item(item)
    if not kind:
        return BilledRow(day, "", "", None, money, currency, scope, batch, item or "(no line item)")
    return BilledRow(day, model, kind, None, money, currency, scope, batch, item)


def line_item(text: str) -> tuple[str, str, bool | None]:
    """Model, kind, and whether it is a batch's (None: the text does not say); empty for words that are not known."""
    found = _LINE_ITEM.match(text.strip())
    batch = True if re.search(r"\bbatch\b", text, re.IGNORECASE) else None
    if found is None:
        return "", "", batch
    more = (found["more"] or "").lower()
    if more and more not in _MORE:
        return "", "", batch
    tier = (found["tier"] or "").lower()
    if tier in ("flex", "priority"):
        batch = False
    return found["model"].strip(), _LINE_KINDS[found["kind"].lower()], batch


SOURCE = BillingSource(
    "openai", ask, settle_hours=24.0,
    kinds=("prompt", "uncached_input", "cached_input", "cache_write", "output", "requests"),
)  # fmt: skip
