"""Spend: the sums of one ledger, brought up to its last event whenever somebody asks."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from batchmeter.host import CostQuery, CostRow, Total
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.records import Millis
from batchmeter.ledger.session import Reader
from batchmeter.ledger.transactions import read, write
from batchmeter.parts import Parts

from . import rolling
from .answers import Answer, Kept, Limited, Read, answer, answers_of_rows, read_directly
from .kept import KeptSums
from .query import USUAL, SpendQuery, Wanted, check_groups
from .report import CostReport, GroupBy
from .totals import Totals


class Spend:
    """The sums of one ledger, for reports and metrics. An open ledger has one, which keeps answers for all callers."""

    def __init__(self, ledger: Ledger) -> None:
        self.database = ledger.database
        self._totals = Totals(ledger)
        self._kept = Kept()
        self._sums = KeptSums()
        self._turn = asyncio.Lock()

    label = write(rolling.label_metadata, durable=True)
    metadata_keys = read(rolling.metadata_keys)

    async def roll(self, blocks: int | None = None) -> int:
        """Bring the sums up to the last event, at most so many blocks of it; returns how many endings were added."""
        return await rolling.roll(self.database, blocks)

    async def rebuild(self, keys: Collection[str] | None = None) -> int:
        """Sum all anew; `keys`: by exactly these metadata keys. Returns how many endings were added."""
        return await rolling.rebuild(self.database, keys)

    async def totals(self) -> list[Total] | None:
        """Sums over all that was ever settled; None while batches are being pruned, some of which might be missed: ask again."""
        return await self._totals.read()

    async def report(
        self,
        *,
        group_by: "GroupBy | str | Sequence[str]" = "model",
        since: Millis | None = None,
        until: Millis | None = None,
        key: str | None = None,
        where: Mapping[str, Wanted] | None = None,
        limit: int | None = None,
    ) -> CostReport:
        """Batches settled from `since` to before `until`; only one proxy key's, if given, and what passes all of `where`.

        `where`: group -> its name, several of which one is its, or None for what has none. `limit`: at most so many rows,
        the costliest (the latest days, weeks or months). UsageError for groups that there are no sums by.
        """
        named = tuple(group_by.split(",") if isinstance(group_by, str) else group_by)
        filters = dict(where or {}) | ({} if key is None else {"key": key})
        (found,) = await self._answers([(SpendQuery(named, since, until, filters), limit)])
        assert found.total is not None
        return CostReport(
            group_by=",".join(named),
            data=found.rows,
            total=found.total,
            truncated=found.truncated,
            invented=found.invented,
        )

    async def rows(self, *queries: CostQuery) -> list[list[CostRow]]:
        """As `PluginHost.spend_all`: without groups one row, or none where nothing was settled.

        The rows are those of a sandbox, marked as `invented`, where there are no others.
        """
        return [
            [row.model_copy(update={"invented": True}) for row in one.rows] if one.shows_invented else list(one.rows)
            for one in await self._answers(
                [(SpendQuery(tuple(q.group_by), q.since, q.until, q.where), q.limit) for q in queries], rows_only=True
            )
        ]

    async def _answers(self, queries: Sequence[Limited], *, rows_only: bool = False) -> list[Answer]:
        changes = await rolling.bring_up(self.database)
        wanted = {(query.key, limit, rows_only): (query, limit) for query, limit in queries}
        found = self._find(changes, wanted)
        if len(found) < len(wanted):
            async with self._turn:  # several who show the same page read it once
                found |= self._find(changes, wanted)
                missing = {key: one for key, one in wanted.items() if key not in found}
                await self._check([query for query, _ in missing.values()])
                for key, one in zip(missing, await self._read(list(missing.values()), rows_only), strict=True):
                    found[key] = one
                    self._kept.put(changes, key, one)
        return [found[query.key, limit, rows_only] for query, limit in queries]

    async def _read(self, queries: Sequence[Limited], rows_only: bool) -> list[Answer]:
        async with AsyncExitStack() as stack:
            read: Read = partial(self._sums.read, self.database, apart=len(queries) > 1)
            if any(one.has_edges for one, _ in queries):
                reader: Reader = self.database
                if len(queries) > 1:
                    reader = await stack.enter_async_context(self.database.snapshot())
                read = partial(read_directly, reader)
            if rows_only:
                return await answers_of_rows(read, queries)
            return [await answer(read, query, limit) for query, limit in queries]

    async def _check(self, queries: Sequence[SpendQuery]) -> None:
        """UsageError for groups that there are no sums by."""
        known: Sequence[str] | None = None
        for query in queries:
            if known is None and not {*query.group_by, *query.where} <= USUAL:
                known = await self.metadata_keys()
            check_groups(query.group_by, query.where, known or ())

    def _find(self, changes: int, keys: Collection[object]) -> dict[object, Answer]:
        kept = {key: self._kept.get(changes, key) for key in keys}
        return {key: one for key, one in kept.items() if one is not None}


def spend_of(parts: Parts) -> Spend:
    """The sums of an open client, which keep answers for all callers."""
    return parts.sums if isinstance(parts.sums, Spend) else Spend(parts.ledger)
