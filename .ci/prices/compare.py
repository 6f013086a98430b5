"""Every disagreement between the catalogue and its sources: settled by a correction, listed as disputed, or open; and
every model that a source lists and the catalogue lacks. The build fails on what nobody has looked at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from quotes import Quote

from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import PriceQuery

Words = dict[str, Any]
"""One entry of corrections.toml or disputed.toml."""


@dataclass(frozen=True)
class Disagreement:
    """A source's number that is not ours."""

    quote: Quote
    ours: Decimal | None
    """None: we have no rate for this bucket."""
    estimated: bool

    def __str__(self) -> str:
        q = self.quote
        where = f"{q.provider}/{q.model} {q.region or '-'} {q.processing} over {q.over} {q.bucket}"
        return f"{where}: ours {self.ours}{' (estimated)' if self.estimated else ''}, {q.source} {q.rate}"


@dataclass
class Report:
    """The outcome of comparing."""

    agreeing: int = 0
    settled: list[Disagreement] = field(default_factory=list[Disagreement])
    disputed: list[Disagreement] = field(default_factory=list[Disagreement])
    open: list[Disagreement] = field(default_factory=list[Disagreement])
    lacking: list[str] = field(default_factory=list[str])
    """Models that a source lists and the catalogue lacks, `provider/id`."""
    excused: list[str] = field(default_factory=list[str])
    """The same, where disputed.toml says why."""
    stale: list[str] = field(default_factory=list[str])
    """Reasons in disputed.toml that fit nothing any more."""


def compare(
    book: PriceBook,
    quotes: Iterable[Quote],
    listed: Iterable[tuple[str, str]],
    at: date,
    corrections: list[Words],
    disputes: list[Words],
    absences: list[Words],
) -> Report:
    """Ask the book for every quote, as of one date. `listed`: models of the source that the rows are made from."""
    report = Report()
    names = set(listed)
    for quote in quotes:
        names.add((quote.provider, quote.model))
        rates = book.rates(_query(quote, at))
        if rates is None:
            continue
        ours = rates.usd_per_million.get(quote.bucket)
        if ours == quote.rate:
            report.agreeing += 1
            continue
        estimated = quote.bucket in (rates.estimated_buckets or ())
        _sort(report, Disagreement(quote, ours, estimated), corrections, disputes)
    used = _absent(report, book, sorted(names), at, absences)
    report.stale = [dispute["reason"] for dispute in disputes if not any(_matches(dispute, d) for d in report.disputed)]
    report.stale += [
        f"{name} ({a['reason']})" for a in absences for name in a["models"] if (a["reason"], name) not in used
    ]
    return report


def _absent(
    report: Report, book: PriceBook, names: list[tuple[str, str]], at: date, absences: list[Words]
) -> set[tuple[str, str]]:
    """Sorts out the models without a price; gives the reasons and patterns that excused one."""
    used: set[tuple[str, str]] = set()
    for provider, model in names:
        if book.rates(PriceQuery(provider, model, at, region="global")) is not None:
            continue
        if any(row.region is not None for row in book.catalogue.rows(provider, model)):
            continue
        reasons = [
            (absence["reason"], name)
            for absence in absences
            for name in absence["models"]
            if provider in absence["providers"] and fnmatchcase(model, name)
        ]
        used.update(reasons)
        (report.excused if reasons else report.lacking).append(f"{provider}/{model}")
    return used


def _query(quote: Quote, at: date) -> PriceQuery:
    return PriceQuery(
        provider=quote.provider,
        model=quote.model,
        at=at,
        region=quote.region or "global",
        prompt_over=quote.over,
        processing=quote.processing,
    )


def _sort(report: Report, found: Disagreement, corrections: list[Words], disputes: list[Words]) -> None:
    if any(_settles(correction, found.quote) for correction in corrections):
        report.settled.append(found)
    elif any(_matches(dispute, found) for dispute in disputes):
        report.disputed.append(found)
    else:
        report.open.append(found)


def _settles(correction: Words, quote: Quote) -> bool:
    """A correction decides the numbers that it names, and all of them where it replaces, scales or removes a row."""
    if quote.provider != correction["provider"] or quote.model not in correction["models"]:
        return False
    if any(correction.get(word) for word in ("replace", "scale", "remove")):
        return True
    parts = [correction, *correction.get("tiers", [])]
    return "uplift" in correction or any(quote.bucket in part.get(quote.processing, {}) for part in parts)


def _matches(dispute: Words, found: Disagreement) -> bool:
    """Every word that the dispute gives has to fit; `models` are patterns."""
    quote = found.quote
    return (
        quote.provider in dispute["providers"]
        and any(fnmatchcase(quote.model, pattern) for pattern in dispute["models"])
        and quote.source in dispute.get("sources", [quote.source])
        and quote.bucket in dispute.get("buckets", [quote.bucket])
        and quote.processing in dispute.get("processing", [quote.processing])
        and dispute.get("ours", "any") in {"any", "missing" if found.ours is None else "priced"}
    )


def lines(report: Report) -> Iterator[str]:
    """The report, open ones first."""
    for title, found in (("OPEN", report.open), ("disputed", report.disputed), ("settled", report.settled)):
        yield f"{title}: {len(found)}"
        yield from (f"  {item}" for item in found)
    for title, models in (("LACKING", report.lacking), ("excused", report.excused)):
        yield f"{title}: {len(models)}"
        yield from (f"  {model}" for model in models)
    yield from (f"stale: {reason}" for reason in report.stale)
    yield f"agreeing numbers: {report.agreeing}"
