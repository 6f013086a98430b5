"""A FOCUS bill of settled batches: its rows, what is unknown beside them, and their sum."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Literal

from batchmeter.access import Access, SettledBatch

from .charges import EXACT, Amount, Charge, DayOf, Lacking, Unknown, charged_day, charges, tags_of, unknowns
from .flat import cell
from .focus_columns import Row, Version, row_of
from .span import Span

Grain = Literal["day", "batch"]
Form = Literal["csv", "parquet"]
UNKNOWN_COLUMNS = ["day", "account", "provider", "model", "reason", "batches", "lines", "units_without_rate"]


@dataclass(frozen=True, slots=True)
class FocusOptions:
    span: Span
    version: Version = "1.4"
    grain: Grain = "day"
    form: Form = "csv"
    day_of: DayOf = "settled"
    accounts: tuple[str, ...] = ()
    """Only these; none means all."""
    billing_accounts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Account -> the vendor's id of the organisation, subscription or project that pays."""
    metadata_tags: tuple[str, ...] = ()
    invented: bool = False

    def billing_account(self, account: str) -> str:
        return self.billing_accounts.get(account, account)


@dataclass(slots=True)
class FocusBill:
    """`rows` first; the rest is right once they are read to the end."""

    options: FocusOptions
    batches: int = 0
    invented: int = 0
    """A sandbox's batches that were left out."""
    count: int = 0
    known: Decimal = Decimal(0)
    """USD: the sum of all rows."""
    price_books: set[str] = field(default_factory=set[str])
    lacking: dict[Unknown, Lacking] = field(default_factory=dict[Unknown, Lacking])

    async def rows(self, access: Access) -> AsyncGenerator[Row]:
        """By day, account and model; with `grain` batch in the order of settling, in flat memory."""
        found: dict[Charge, Amount] = {}
        async with aclosing(access.settled_batches(*self._settled())) as batches:
            async for one in batches:
                self._add(one, found)
                if self.options.grain == "batch":
                    for row in self._made(found):
                        yield row
                    found.clear()
        for row in self._made(found):
            yield row

    def _settled(self) -> tuple[int | None, int | None]:
        """A batch is settled after its other times: only the first day is a bound for these."""
        since, until = self.options.span.millis
        if self.options.day_of == "settled":
            return since, until
        return (since, None)

    def _add(self, one: SettledBatch, found: dict[Charge, Amount]) -> None:
        options, settlement = self.options, one.settlement
        day = charged_day(one, options.day_of)
        if not options.span.has(day) or (options.accounts and settlement.account not in options.accounts):
            return
        if settlement.invented and not options.invented:
            self.invented += 1
            return
        self.batches += 1
        self.price_books.update({settlement.cost.price_book} - {None})  # type: ignore[arg-type]  # None is taken away
        with localcontext(EXACT):
            for charge, amount in charges(one, day, tags_of(one, options.metadata_tags)):
                kept = found.setdefault(charge if options.grain == "batch" else replace(charge, batch_id=""), Amount())
                kept.units += amount.units
                kept.cost += amount.cost
                self.known += amount.cost
        for unknown, lacking in unknowns(one, day):
            _plus(self.lacking.setdefault(unknown, Lacking()), lacking)

    def _made(self, found: dict[Charge, Amount]) -> list[Row]:
        options = self.options
        ordered = sorted(found.items(), key=lambda one: _order(one[0]))
        rows = [row_of(charge, amount, options.version, options.billing_account) for charge, amount in ordered]
        self.count += len(rows)
        return rows

    def unknown_rows(self) -> list[Row]:
        ordered = sorted(
            self.lacking.items(), key=lambda one: (one[0].day, one[0].account, one[0].model, one[0].reason)
        )
        return [
            {
                "day": unknown.day.isoformat(),
                "account": cell(unknown.account),
                "provider": unknown.provider,
                "model": cell(unknown.model),
                "reason": unknown.reason,
                "batches": str(lacking.batches),
                "lines": str(lacking.lines),
                "units_without_rate": cell(lacking.units) if lacking.units else "",
            }
            for unknown, lacking in ordered
        ]

    @property
    def unknown_lines(self) -> int:
        return sum(lacking.lines for lacking in self.lacking.values())


def _order(charge: Charge) -> tuple[object, ...]:
    rate = Decimal(-1) if charge.rate is None else charge.rate
    return (
        charge.day, charge.account, charge.model, charge.bucket, rate, charge.tags, charge.prompt_over, charge.geo,
        charge.processing, charge.region, charge.origin, charge.priced_as, charge.estimated, charge.provider,
    )  # fmt: skip


def _plus(sums: Lacking, more: Lacking) -> None:
    sums.batches += more.batches
    sums.lines += more.lines
    for bucket, units in more.units.items():
        sums.units[bucket] = sums.units.get(bucket, 0) + units
