"""Answers to queries: rows and their total, and the answers that are kept until the sums change."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from batchmeter.host import CostRow, CostSum
from batchmeter.ledger.session import Reader

from .query import Found, SpendQuery, check_groups, read_sums
from .report import make_rows, make_sum
from .rolling import metadata_keys

MOST_ROWS = 5_000
"""Rows that are kept: some 10 MB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query."""

    rows: tuple[CostRow, ...]
    truncated: bool
    """There are more groups than rows."""
    total: CostSum | None
    """The sum of all groups, each batch once; None where only the rows were asked for."""
    invented: int
    """Batches of a sandbox, whose costs are made up."""
    shows_invented: bool
    """There are no others: the rows and the total are theirs."""


async def answer(reader: Reader, query: SpendQuery, limit: int | None = None) -> Answer:
    """UsageError for groups that there are no sums by."""
    await _check(reader, [query])
    real, made_up = (replace(query, group_by=(), invented=invented) for invented in (False, True))
    found, *totals = await read_sums(reader, [query, real, made_up])
    whole, invented = (sums.get((), {}) for sums in totals)
    shows_invented = bool(invented) and not whole
    if shows_invented:
        (found,) = await read_sums(reader, [replace(query, invented=True)])
    rows = await make_rows(query.group_by, found, limit)
    total = make_sum(invented if shows_invented else whole)
    return Answer(tuple(rows), len(rows) < len(found), total, invented.get("batches", 0), shows_invented)


async def answers_of_rows(reader: Reader, queries: Sequence[SpendQuery]) -> list[Answer]:
    """All queries of one time at once, and the totals only where there are no rows: a sandbox's may have to be shown."""
    await _check(reader, queries)
    found: dict[object, Found] = {}
    for time in dict.fromkeys((one.since, one.until) for one in queries):
        of_time = [one for one in queries if (one.since, one.until) == time]
        found |= zip((one.key for one in of_time), await read_sums(reader, of_time), strict=True)
    return [
        Answer(tuple(await make_rows(one.group_by, sums)), False, None, 0, False)
        if (sums := found[one.key])
        else await answer(reader, one)
        for one in queries
    ]


async def _check(reader: Reader, queries: Sequence[SpendQuery]) -> None:
    known = await reader.read(metadata_keys)
    for query in queries:
        check_groups(query.group_by, query.where, known)


@dataclass
class Kept:
    """Answers of one state of the sums, the newest `MOST_ROWS` rows of them."""

    changes: int = -1
    """How often the sums had changed when these answers were made."""
    _answers: dict[object, Answer] = field(default_factory=dict[object, Answer])
    _rows: int = 0

    def get(self, changes: int, key: object) -> Answer | None:
        return self._answers.get(key) if changes == self.changes else None

    def put(self, changes: int, key: object, new: Answer) -> None:
        if changes != self.changes:
            self.changes, self._rows = changes, 0
            self._answers.clear()
        self._answers[key] = new
        self._rows += len(new.rows) + 1
        while self._rows > MOST_ROWS:
            oldest = next(iter(self._answers))
            self._rows -= len(self._answers.pop(oldest).rows) + 1
