"""`export costs`: one flat row a batch, a model of it, or a group of lines that share their rates; CSV or JSON lines."""

import csv
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from batchmeter.access import Access, SettledBatch
from batchmeter.models import ModelUsage, Usage
from batchmeter.pricing.groups import BUCKETS

from .span import Span

Grain = Literal["batch", "model", "group"]
Row = dict[str, Any]
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings that make a spreadsheet take a cell for a formula."""
_PAGE = 64 * 1024
"""Characters of one piece."""


async def flat_rows(access: Access, span: Span, grain: Grain, *, invented: bool = False) -> AsyncGenerator[Row]:
    """Of batches first settled in the span, in that order; a sandbox's only where `invented`."""
    since, until = span.millis
    async with aclosing(access.settled_batches(since, until)) as batches:
        async for one in batches:
            if invented or not one.settlement.invented:
                for row in _OF[grain](one):
                    yield row


def _batch(one: SettledBatch) -> Row:
    submission, settlement = one.submission, one.settlement
    who, times = submission.attribution, settlement.times
    return {
        "account": submission.account,
        "provider": settlement.provider,
        "batch_id": settlement.batch_id,
        "revision": settlement.revision,
        "status": settlement.status,
        "endpoint": settlement.endpoint,
        "region": settlement.region,
        "team": who.team,
        "user": who.user,
        "key": who.key,
        "session": who.session,
        "tags": list(who.tags),
        "metadata": dict(submission.metadata),
        "created_at": _time(times.created_at),
        "in_progress_at": _time(times.in_progress_at),
        "ended_at": _time(times.ended_at),
        "settled_at": _time(datetime.fromtimestamp(one.settled_at / 1000, UTC)),
        "invented": settlement.invented,
    }


def _of_batch(one: SettledBatch) -> Iterator[Row]:
    settlement, cost = one.settlement, one.settlement.cost
    counts = settlement.request_counts
    yield {
        **_batch(one),
        "lines": counts.total,
        "failed_lines": counts.failed + counts.malformed,
        "total_usd": cost.total,
        "known_usd": cost.known,
        "unknown_reasons": dict(cost.unknown),
        "estimated": cost.estimated,
        **_units(settlement.usage),
    }


def _of_models(one: SettledBatch) -> Iterator[Row]:
    """Shares, and one of no model where these do not add up to the batch."""
    settlement = one.settlement
    rest = settlement.cost.known
    for model, share in settlement.models.items():
        rest -= share.known
        yield {**_batch(one), "model": model, **_share(share)}
    if rest or not settlement.models:
        whole = settlement.cost.total is not None or bool(settlement.models)
        unknown = {} if settlement.models else dict(settlement.cost.unknown)
        left = {
            "lines": 0,
            "total_usd": rest if whole else None,
            "known_usd": rest,
            "list_usd": None,
            "unknown_reasons": unknown,
        }
        yield {**_batch(one), "model": None, **left, **_units(Usage())}


def _share(share: ModelUsage) -> Row:
    return {
        "lines": share.lines,
        "total_usd": share.cost,
        "known_usd": share.known,
        "list_usd": share.list_price,
        "unknown_reasons": dict(share.unknown),
        **_units(share.usage),
    }


def _units(usage: Usage) -> Row:
    return {name: getattr(usage, name) for name in Usage.model_fields}


def _of_groups(one: SettledBatch) -> Iterator[Row]:
    """Rates and units of each: units x rate / 1,000,000 = the cost. Settlements older than the rates have none."""
    for used in one.settlement.rates:
        yield {
            **_batch(one),
            "model": used.model,
            "priced_as": used.priced_as,
            "prompt_over": used.prompt_over,
            "geo": used.geo,
            "processing": used.processing,
            "price_region": used.region,
            "price_origin": used.origin,
            "estimated_buckets": list(used.estimated),
            "lines": used.lines,
            "known_usd": used.cost,
            **{f"{bucket}_units": used.units.get(bucket, 0) for bucket in BUCKETS},
            **{f"{bucket}_usd_per_million": used.usd_per_million.get(bucket) for bucket in BUCKETS},
        }


_OF: Mapping[Grain, Callable[[SettledBatch], Iterable[Row]]] = {
    "batch": _of_batch,
    "model": _of_models,
    "group": _of_groups,
}


def columns_of(grain: Grain) -> list[str]:
    """In order; the same whatever the rows hold."""
    owner = ["account", "provider", "batch_id", "revision", "status", "endpoint", "region", "team", "user", "key", "session", "tags", "metadata", "created_at", "in_progress_at", "ended_at", "settled_at", "invented"]  # fmt: skip
    units = list(Usage.model_fields)
    if grain == "batch":
        return [*owner, *["lines", "failed_lines", "total_usd", "known_usd", "unknown_reasons", "estimated"], *units]
    if grain == "model":
        return [*owner, *["model", "lines", "total_usd", "known_usd", "list_usd", "unknown_reasons"], *units]
    named = "model priced_as prompt_over geo processing price_region price_origin estimated_buckets lines known_usd"
    return [*owner, *named.split(), *(f"{one}_{what}" for what in ("units", "usd_per_million") for one in BUCKETS)]


async def as_csv(
    rows: AsyncIterator[Mapping[str, Any]], columns: list[str], text: Callable[[object], str] | None = None
) -> AsyncGenerator[str]:
    """RFC 4180, UTF-8; objects and arrays as JSON, empty for what is unknown or absent. `text` makes a cell of a value."""
    shown = text or cell
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    async for row in rows:
        writer.writerow([shown(row[name]) for name in columns])
        if buffer.tell() > _PAGE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


async def as_jsonl(rows: AsyncIterator[Mapping[str, Any]]) -> AsyncGenerator[str]:
    async for row in rows:
        shown = {name: plain(value) if isinstance(value, Decimal) else value for name, value in row.items()}
        yield json.dumps(shown, separators=(",", ":")) + "\n"


def cell(value: object) -> str:
    """A text that a spreadsheet would take for a formula gets a leading '."""
    shown = plain_cell(value)
    return f"'{shown}" if isinstance(value, str) and shown.startswith(_FORMULAS) else shown


def plain_cell(value: object) -> str:
    """Empty for None; objects and arrays as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return str(value) if isinstance(value, int) else json.dumps(value, separators=(",", ":"))


def plain(amount: Decimal) -> str:
    """Digits without exponent or needless zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
