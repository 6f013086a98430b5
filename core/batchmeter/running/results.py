"""The result of `run`: every request's answer or error, in input order, with what the batch cost."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from batchmeter.events import Settlement
from batchmeter.models import Batch, Cost


@dataclass(frozen=True, slots=True)
class Result:
    """One request's outcome."""

    custom_id: str
    body: Mapping[str, Any] | None = None
    """The endpoint's whole answer, as the provider gave it; None where there is none."""
    error: Mapping[str, Any] | None = None
    """`{"code": …, "message": …}`; None for an answer."""

    @property
    def text(self) -> str | None:
        """The answer's text, of chats, responses and completions; None for an error, or an answer without text."""
        for read in _TEXTS:
            try:
                text = read(self.body or {})
            except (KeyError, IndexError, TypeError):
                continue
            if isinstance(text, str):
                return text
        return None

    @property
    def ok(self) -> bool:
        return self.error is None

    @classmethod
    def read(cls, line: bytes) -> "Result | None":
        """From a line of an output or error file; None for one that cannot be read."""
        try:
            row: Any = json.loads(line)
            response: Any = row.get("response") or {}
            body: Any = response.get("body")
            error: Any = row.get("error") or (_error(body) if response.get("status_code", 200) >= 300 else None)  # noqa: PLR2004
            return cls(row["custom_id"], None if error else body, error or None)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Results(Mapping[str, Result]):
    """custom_id -> Result, in input order."""

    def __init__(self, ids: Sequence[str], found: Mapping[str, Result], settlement: Settlement) -> None:
        self._results = {custom_id: found.get(custom_id) or _missing(custom_id, settlement) for custom_id in ids}
        self.settlement = settlement

    def __getitem__(self, custom_id: str) -> Result:
        return self._results[custom_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        total = self.cost.total
        price = f"at least ${self.cost.known:f}" if total is None else f"${total:f}"
        errors = len(self.errors)
        return f"<Results: {len(self)} of batch {self.batch.id}, {errors} errors, {price}>"

    @property
    def cost(self) -> Cost:
        return self.settlement.cost

    @property
    def batch(self) -> Batch:
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
        """For a data frame: `pandas.DataFrame(results.rows())`, `polars.DataFrame(results.rows())`."""
        return [
            {"custom_id": name, "text": result.text, "error": _told(result.error), "body": result.body}
            for name, result in self._results.items()
        ]


def _told(error: Mapping[str, Any] | None) -> str | None:
    return None if error is None else str(error.get("message") or error.get("code") or error)


def _missing(custom_id: str, settlement: Settlement) -> Result:
    """Neither file has it; what failed a whole batch says why."""
    told = settlement.batch.errors.data[0] if settlement.batch.errors and settlement.batch.errors.data else None
    why = told.message if told else f"the batch is {settlement.status} and has no answer to this request"
    return Result(custom_id, error={"code": (told and told.code) or "no_answer", "message": why})


def _error(body: Any) -> Any:
    told: Any = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    return told or {"code": "error", "message": str(cast("object", body))[:500]}


def _responses(body: Mapping[str, Any]) -> str:
    parts = [part for item in body["output"] if item.get("type") == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")


_TEXTS: tuple[Callable[[Mapping[str, Any]], object], ...] = (
    lambda body: body["choices"][0]["message"]["content"],
    _responses,
    lambda body: body["choices"][0]["text"],
)
