"""Batches out of an answer's JSON, and nothing out of an answer that is about something else."""

from typing import Any, cast

from pydantic import ValidationError

from batchmeter.models import Batch

from .exchange import Kind


def batches_in(answer: object, kind: Kind) -> list[Batch]:
    """Other APIs have a `/batches` too: what is not OpenAI's batch object is left out."""
    if kind != "list":
        return [batch for batch in (_batch(answer),) if batch is not None]
    rows: Any = cast("dict[str, Any]", answer).get("data") if isinstance(answer, dict) else answer
    return [batch for row in rows or () if (batch := _batch(row)) is not None]


def _batch(row: object) -> Batch | None:
    if not isinstance(row, dict):
        return None
    body = dict(cast("dict[str, Any]", row))
    if body.get("object", "batch") != "batch" or not {"id", "status"} <= set(body):
        return None
    if "object" not in body and "endpoint" not in body:
        return None
    return _read(body)


def _read(body: dict[str, Any]) -> Batch | None:
    """An optional field in a shape nobody has seen yet is dropped rather than the batch."""
    try:
        return Batch.model_validate(body)
    except ValidationError as error:
        odd = {str(problem["loc"][0]) for problem in error.errors()}
        if odd & {"id", "status"}:
            return None
        return Batch.model_validate({name: value for name, value in body.items() if name not in odd})
