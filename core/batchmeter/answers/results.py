"""Results: every request's answer or error by custom_id, with what the batch cost; for a notebook a table, a frame, an array."""

import html
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from importlib import import_module
from typing import Any, Self

from batchmeter.errors import UsageError
from batchmeter.events import Settlement
from batchmeter.models import Batch, Cost
from batchmeter.providers import Provider

from .lines import answer_lines, answers_by_id, lines_by_request, results_of
from .result import Result, no_answer

_SHOWN = 20
"""Rows of the table in a notebook."""
_CELL = 400
"""Characters of a text in it."""


class Results(Mapping[str, Result]):
    """custom_id -> Result, in input order."""

    def __init__(
        self, ids: Sequence[str], found: Mapping[str, Result], settlement: Settlement, *more: Settlement
    ) -> None:
        self._results = {
            custom_id: found.get(custom_id) or Result(custom_id, None, no_answer(settlement.batch)) for custom_id in ids
        }
        self.settlement = settlement
        """Of the batch; of a job larger than a batch, the first one's."""
        self.settlements = (settlement, *more)

    @classmethod
    async def read(cls, provider: Provider, settled: Settlement, input_file_id: str | None, *, requests: bool) -> Self:
        """Every answer in memory; with `requests` each beside its request, in the input's order."""
        if not requests:
            found = await answers_by_id(provider, settled.batch)
        else:
            async with aclosing(cls.stream(provider, settled, input_file_id, requests=True)) as results:
                found = {result.custom_id: result async for result in results}
        return cls(list(found), found, settled)

    @classmethod
    async def stream(
        cls, provider: Provider, settled: Settlement, input_file_id: str | None, *, requests: bool
    ) -> AsyncGenerator[Result]:
        """One answer after the other."""
        lines = cls.lines(provider, settled, input_file_id, requests=requests)
        async with aclosing(lines), aclosing(results_of(lines)) as results:
            async for result in results:
                yield result

    @staticmethod
    def lines(
        provider: Provider, settled: Settlement, input_file_id: str | None, *, requests: bool
    ) -> AsyncGenerator[bytes]:
        """Each line of the files as the provider wrote it; with `requests` a line a request, with its answer."""
        if requests:
            return lines_by_request(provider, settled.batch, input_file_id)
        return answer_lines(provider, settled.batch)

    def __getitem__(self, custom_id: str) -> Result:
        return self._results[custom_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return f"<Results: {self._summary()}>"

    def _repr_html_(self) -> str:
        """A notebook's table: the first rows, texts cut."""
        rows = "".join(
            f"<tr><td>{html.escape(_cut(name))}</td><td>{html.escape(_cut(result.message or result.text or ''))}</td></tr>"
            for name, result in list(self._results.items())[:_SHOWN]
        )
        more = f"<p>… and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        return (
            f"<p>{html.escape(self._summary())}</p><table><thead><tr><th>custom_id</th><th>text or error</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>{more}"
        )

    def _summary(self) -> str:
        total = self.cost.total
        price = f"at least ${self.cost.known:f}" if total is None else f"${total:f}"
        where = f"batch {self.batch.id}" if len(self.settlements) == 1 else f"{len(self.settlements)} batches"
        return f"{len(self)} of {where}, {len(self.errors)} errors, {price}"

    @property
    def cost(self) -> Cost:
        """Of the batch, or of all batches of the job."""
        return summed(self.settlements) if len(self.settlements) > 1 else self.settlement.cost

    @property
    def batch(self) -> Batch:
        """As it ended; of a job, its first one."""
        return self.settlement.batch

    @property
    def texts(self) -> list[str | None]:
        """In input order; None where there is an error or no text."""
        return [result.text for result in self._results.values()]

    @property
    def errors(self) -> dict[str, Mapping[str, Any]]:
        """custom_id -> error, of those that have one."""
        return {name: result.error for name, result in self._results.items() if result.error is not None}

    def rows(self) -> list[dict[str, Any]]:
        """A dict a request: `custom_id`, `text`, `error`, `body`; `request` where the input was read too."""
        joined = any(result.request is not None for result in self._results.values())
        return [
            {"custom_id": name, "text": result.text, "error": result.message, "body": result.body}
            | ({"request": result.request} if joined else {})
            for name, result in self._results.items()
        ]

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of `rows()`; UsageError where pandas is not installed."""
        return _library("pandas").DataFrame(self.rows(), columns=self._columns())

    def to_polars(self) -> Any:
        """A `polars.DataFrame` of `rows()`, with `body` and `request` as JSON texts: their shapes differ from row to row."""
        columns = self._columns()
        rows = [[_json(row[name]) for name in columns] for row in self.rows()]
        polars = _library("polars")
        return polars.DataFrame(rows, schema=dict.fromkeys(columns, polars.String), orient="row")

    def embeddings(self) -> Any:
        """A `numpy.ndarray` of float32, a row a request in their order; a row of NaN for one without.

        UsageError where a request has several texts: `results[custom_id].embeddings` has its rows.
        """
        numpy = _library("numpy")
        found = [result.embeddings for result in self._results.values()]
        if many := next((name for name, rows in zip(self, found, strict=True) if len(rows) > 1), None):
            raise UsageError(f"request {many!r} has several texts: read results[custom_id].embeddings of each")
        width = max((len(rows[0]) for rows in found if rows), default=0)
        return numpy.array([rows[0] if rows else [float("nan")] * width for rows in found], dtype="float32")

    def _columns(self) -> list[str]:
        return list(self.rows()[0]) if self else ["custom_id", "text", "error", "body"]


def summed(settlements: Sequence[Settlement]) -> Cost:
    """The cost of them all; unknown as soon as one is."""
    costs = [one.cost for one in settlements]
    totals = [cost.total for cost in costs if cost.total is not None]
    reasons = dict.fromkeys(reason for cost in costs for reason in cost.unknown)
    return Cost(
        total=sum(totals, Decimal(0)) if len(totals) == len(costs) else None,
        known=sum((cost.known for cost in costs), Decimal(0)),
        unknown={reason: sum(cost.unknown.get(reason, 0) for cost in costs) for reason in reasons},
        estimated=any(cost.estimated for cost in costs),
        flags=tuple(dict.fromkeys(flag for cost in costs for flag in cost.flags)),
    )


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(f"{name} is not installed here: pip install {name}") from error


def _json(value: object) -> object:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"
