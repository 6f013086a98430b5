"""Answers as models: tolerant of what compatible servers do differently, and safe to keep whatever a server sends."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from batchmeter.errors import APIResponseError
from batchmeter.http import without_signatures
from batchmeter.models import Batch, FileDeleted, FileObject, Page

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", Batch, FileObject)

log = logging.getLogger("batchmeter")

STATUSES: Mapping[str, str] = {
    "created": "validating",
    "scheduling": "validating",
    "partial_finalizing": "finalizing",
    "partially_completed": "completed",
}
"""Words of servers that speak OpenAI's language otherwise; one that nobody knows stands for "not ended"."""

_REQUIRED = frozenset({"id", "status"})
_MOST_NESTED = 32
"""Levels of an answer that are kept; vendors' own have five, and serialisers give up at 255."""
_LONGEST_ID = 2048
"""Characters; gateways' ids are base64 of several others."""


def as_file(raw: object) -> FileObject:
    body = _unwrapped(
        object_of(raw, "a file"), "data"
    )  # SiliconFlow answers an upload with {"code": ..., "data": {...}}
    if "created_at" not in body and "createdAt" in body:
        body["created_at"] = body.pop("createdAt")
    return read_as(FileObject, body)


def as_batch(raw: object, statuses: Mapping[str, str] = STATUSES) -> Batch:
    """`statuses`: the server's own words, in lower case -> OpenAI's."""
    body = _unwrapped(object_of(raw, "a batch"), "job", "data")  # Together answers a create with {"job": {...}}
    word = body.setdefault("status", "unknown")
    body["status"] = statuses.get(word.lower(), word) if isinstance(word, str) else word
    body["errors"] = _errors(body.get("errors"))
    if isinstance(body.get("metadata"), dict):
        body["metadata"] = {key: text if isinstance(text, str) else str(text) for key, text in body["metadata"].items()}
    if isinstance(body.get("input_blob"), str):
        body["input_blob"] = body["input_blob"].partition("?")[0]  # a signature is repeated there that nobody needs
    batch = read_as(Batch, body)
    for name in ("output_file_id", "error_file_id"):
        _check_id(f"a batch with {name}", getattr(batch, name) or "-")
    return batch


def as_deleted(raw: object, file_id: str) -> FileDeleted:
    return read_as(FileDeleted, {"id": file_id, **object_of(raw, "a deletion")})


def as_page(raw: object, item: Callable[[object], Item], page: type[Page[Item]]) -> Page[Item]:
    """OpenAI's list envelope; also a bare array (Together) and `value` for `data` (an older Azure)."""
    bare = _rows(raw)
    envelope = object_of(raw, "a list") if bare is None else {"data": bare}
    found = envelope.pop("data", None)
    if isinstance(found, dict):
        return as_page(cast("object", found), item, page)
    rows = _rows(envelope.pop("value", None) if found is None else found)
    if rows is None:
        raise APIResponseError(f"expected a list with `data`, got {shown(envelope)}; is api_base the API's address?")
    data = readable(rows, item)
    ends = {"first_id": data[0].id, "last_id": data[-1].id} if data else {}
    members = {name: value for name, value in envelope.items() if value is not None}
    return read_as(page, {**ends, **members, "data": data})


def _unwrapped(body: dict[str, Any], *envelopes: str) -> dict[str, Any]:
    """The object itself, where a server has put it into another; such an envelope has no id."""
    for name in envelopes if "id" not in body else ():
        if isinstance(body.get(name), dict):
            return cast("dict[str, Any]", body[name])
    return body


def readable(rows: Iterable[object], item: Callable[[object], Item]) -> list[Item]:
    """Rows of a list; one that cannot be read hides no other."""
    return [found for row in rows if (found := _item(row, item)) is not None]


def _item(row: object, item: Callable[[object], Item]) -> Item | None:
    try:
        return item(row)
    except APIResponseError as error:
        log.warning("a list holds a row that cannot be read, which is passed over: %s", error)
        return None


def _errors(raw: object) -> object:
    """OpenAI's `{"object": "list", "data": [...]}` from that, from a bare list, or from a text."""
    if not raw:
        return None
    found = cast("dict[str, object]", raw).get("data") if isinstance(raw, dict) else raw
    rows = _rows(found) or [raw]
    return {"data": [row if isinstance(row, dict) else {"message": str(row)} for row in rows]}  # pyright: ignore[reportUnknownVariableType]


def _rows(raw: object) -> list[object] | None:
    return cast("list[object]", raw) if isinstance(raw, list) else None


def object_of(raw: object, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise APIResponseError(f"expected {what}, got {shown(raw)}; is api_base the API's address?")
    return cast("dict[str, Any]", _kept(cast("object", raw), _MOST_NESTED))


def _kept(value: object, levels: int) -> object:
    """JSON as it may be stored and shown: no signatures of URLs, no NaN, nothing below `levels`."""
    if isinstance(value, str):
        return without_signatures(value) if "sig" in value.lower() else value
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _kept(item, levels - 1) for name, item in members.items()} if levels else None
    if isinstance(value, list):
        return [_kept(item, levels - 1) for item in cast("list[object]", value)] if levels else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_id(what: str, text: str) -> None:
    """An id is opaque, but fits into one line, and is no way up in a path."""
    if not text.isprintable() or not text.strip(". ") or len(text) > _LONGEST_ID:
        raise APIResponseError(f"expected {what}, got the id {text[:80]!r}, which is none")


def read_as(model: type[Model], body: dict[str, Any]) -> Model:
    """The model; an optional field in a shape nobody has seen yet is dropped rather than the whole answer."""
    try:
        made = model.model_validate(body)
    except ValidationError as error:
        odd = {str(problem["loc"][0]) for problem in error.errors()}
        if odd & _REQUIRED:
            named = ", ".join(sorted(odd))
            raise APIResponseError(f"{model.__name__} without a readable {named}: {shown(body)}") from error
        made = model.model_validate({name: value for name, value in body.items() if name not in odd})
    _check_id(f"a {model.__name__}", str(getattr(made, "id", "-")))
    return made


def shown(raw: object) -> str:
    """The beginning of an answer, for an error: half a character, which no log can write, as its escape."""
    return str(raw)[:120].encode("utf-8", "backslashreplace").decode()
