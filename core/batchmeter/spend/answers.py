"""Answers to queries: rows and their total, and the answers that are kept until the sums change."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from batchmeter.host import CostRow, CostSum
from batchmeter.ledger.session import Reader

from .kept import Summed
from .query import Found, SpendQuery, read_sums
from .report import make_rows, make_sum

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


Read = Callable[[Sequence[SpendQuery]], Awaitable[Sequence[Summed]]]
"""Reads the sums of queries, as of one moment."""


async def read_directly(reader: Reader, queries: Sequence[SpendQuery]) -> list[Summed]:
    """Without anything that is kept: of times that begin or end within a day."""
    found: dict[object, Found] = {}
    for time in dict.fromkeys((one.since, one.until) for one in queries):
        of_time = [one for one in queries if (one.since, one.until) == time]
        found |= zip((one.key for one in of_time), await read_sums(reader, of_time), strict=True)
    return [Summed(found[one.key], {}) for one in queries]


async def answer(read: Read, query: SpendQuery, limit: int | None = None) -> Answer:
    real, made_up = (replace(query, group_by=(), invented=invented) for invented in (False, True))
    sums, *totals = await read([query, real, made_up])
    whole, invented = (total.found.get((), {}) for total in totals)
    shows_invented = bool(invented) and not whole
    if shows_invented:
        sums, made = await read([replace(query, invented=True), made_up])
        invented = made.found.get((), {})
    rows = await make_rows(query.group_by, sums.found, limit, sums.made)
    total = make_sum(invented if shows_invented else whole)
    return Answer(tuple(rows), len(rows) < len(sums.found), total, invented.get("batches", 0), shows_invented)


Limited = tuple[SpendQuery, int | None]
"""A query, and at most so many rows."""


async def answers_of_rows(read: Read, queries: Sequence[Limited]) -> list[Answer]:
    """All queries at once, and the totals only where there are no rows: a sandbox's may have to be shown."""
    sums = await read([one for one, _ in queries])
    pairs = list(zip(queries, sums, strict=True))
    invented = iter(await _invented(read, [one for one, each in pairs if not each.found]))
    return [
        Answer(tuple(await make_rows(one.group_by, each.found, limit, each.made)), False, None, 0, False)
        if each.found
        else next(invented)
        for (one, limit), each in pairs
    ]


async def _invented(read: Read, queries: Sequence[Limited]) -> list[Answer]:
    """A sandbox's rows, all as of one moment, where there are no batches but a sandbox's."""
    if not queries:
        return []
    wholes = [replace(one, group_by=()) for one, _ in queries]
    made_up = [replace(one, invented=True) for one in (*wholes, *(one for one, _ in queries))]
    found = await read([*wholes, *made_up])
    answers: list[Answer] = []
    for place, (one, limit) in enumerate(queries):
        whole, invented, sums = found[place :: len(queries)]
        shown = bool(invented.found) and not whole.found
        rows = await make_rows(one.group_by, sums.found, limit, sums.made) if shown else []
        answers.append(Answer(tuple(rows), False, None, 0, shown))
    return answers


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
