"""Result: the outcome of one request of a batch, read from a line of its files."""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from batchmeter.models import Batch

_REFUSED = 300
"""The HTTP status from which a body is an error."""


@dataclass(frozen=True, slots=True)
class Result:
    """One request's outcome."""

    custom_id: str
    """The request's name in the input file."""
    body: Mapping[str, Any] | None = None
    """The endpoint's whole answer, as the provider gave it; None where there is none."""
    error: Mapping[str, Any] | None = None
    """`{"code": …, "message": …}`; None for an answer."""
    request: Mapping[str, Any] | None = None
    """The body of the request, where the input file was read beside the answers (`requests=True`)."""

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
        """Whether there is an answer."""
        return self.error is None

    @property
    def message(self) -> str | None:
        """The error in words; None for an answer."""
        return None if self.error is None else str(self.error.get("message") or self.error.get("code") or self.error)

    @property
    def embeddings(self) -> list[list[float]]:
        """One for each text of an embeddings request, in its order; empty for an error or any other answer."""
        rows: Any = (self.body or {}).get("data")
        if not isinstance(rows, list):
            return []
        found = [cast("dict[str, Any]", row) for row in cast("list[object]", rows) if isinstance(row, dict)]
        ordered = sorted(found, key=lambda row: row["index"] if isinstance(row.get("index"), int) else 0)
        return [_numbers(row["embedding"]) for row in ordered if row.get("embedding")]

    @classmethod
    def read(cls, line: bytes) -> "Result | None":
        """From a line of an output or error file; None for one that cannot be read."""
        try:
            row: Any = json.loads(line)
            response: Any = row.get("response") or {}
            body, status, custom_id = response.get("body"), response.get("status_code"), row["custom_id"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not isinstance(custom_id, str):
            return None
        error = row.get("error") or (_inner(body) if isinstance(status, int) and status >= _REFUSED else None)
        return cls(custom_id, None if error else body, _as_error(error) if error else None, row.get("request"))


def better(earlier: Result | None, later: Result) -> Result:
    """Of two answers to one request."""
    return earlier if earlier is not None and (earlier.ok or not later.ok) else later


def _numbers(embedding: Any) -> list[float]:
    """Numbers as they are; `encoding_format: base64` is little-endian float32."""
    if not isinstance(embedding, str):
        return [float(number) for number in embedding]
    data = base64.b64decode(embedding)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def no_answer(batch: Batch) -> dict[str, str]:
    """The error of a request that neither file has; what failed a whole batch says why."""
    first = batch.errors.data[0] if batch.errors and batch.errors.data else None
    why = first.message if first else f"the batch is {batch.status} and has no answer to this request"
    return {"code": (first and first.code) or "no_answer", "message": why or ""}


def _inner(body: Any) -> Any:
    """The error of a refused request's body; the body itself where it names none."""
    error: Any = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else None
    return error or str(cast("object", body))


def _as_error(error: Any) -> Mapping[str, Any]:
    """Some vendors' errors are a text."""
    if isinstance(error, dict):
        return cast("dict[str, Any]", error)
    return {"code": "error", "message": str(error)[:500]}


def _responses(body: Mapping[str, Any]) -> str:
    parts = [part for item in body["output"] if item.get("type") == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")


_TEXTS: tuple[Callable[[Mapping[str, Any]], object], ...] = (
    lambda body: body["choices"][0]["message"]["content"],
    _responses,
    lambda body: body["choices"][0]["text"],
)
