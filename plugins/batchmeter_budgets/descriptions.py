"""Descriptions of the budgets' routes for `/openapi.json`: bodies, answers and queries, from the models where there are any."""

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from .settings import BudgetSettings

_TEXT = {"type": "string"}
_MOMENT = {"type": "string", "format": "date-time"}
_AMOUNT = {"type": "string", "description": "US dollars, or tokens, as an exact decimal."}
_STANDING = {
    "type": "object",
    "properties": {
        "budget": _TEXT,
        "bucket": {"type": "string", "description": "`team=search`; empty for a budget of one bucket."},
        "unit": {"enum": ["usd", "tokens"]},
        **dict.fromkeys(("limit", "spent", "uncertain", "reserved", "left"), _AMOUNT),
        "batches": {"type": "integer"},
        "start": _MOMENT,
        "until": {"type": ["string", "null"], "format": "date-time"},
    },
}
_RESERVATION = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("submission", "account", "bucket", "basis", "who"), _TEXT),
        "batch_id": {"type": ["string", "null"]},
        "state": {"enum": ["open", "settled", "uncertain", "released", "written_off"]},
        **dict.fromkeys(("amount", "known", "uncertain"), _AMOUNT),
        "reason": {"type": ["string", "null"]},
        "created_at": _MOMENT,
    },
}
_CHANGE = {
    "type": "object",
    "properties": {
        "action": {"enum": ["made", "changed", "replaced", "raised", "removed"]},
        "who": {"type": "string", "description": "A key's id, `api`, `command` or `configuration`."},
        "at": _MOMENT,
        "settings": {"type": "object"},
    },
}
_DRIFT = {
    "type": "object",
    "properties": {
        "models": {"type": "array", "items": _TEXT},
        "basis": _TEXT,
        "batches": {"type": "integer"},
        **dict.fromkeys(("reserved", "spent"), _AMOUNT),
        "drift": {"type": "number", "description": "`spent / reserved` of ended batches of the present period."},
    },
}
_OVERRIDE = {
    "type": "object",
    "required": ["amount", "until"],
    "properties": {"amount": _AMOUNT, "until": _TEXT, "reason": _TEXT},
}


@cache
def operations() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """By method and path."""
    settings = _settings()
    budget = {
        "type": "object",
        "properties": {
            "object": {"const": "budget"},
            "name": _TEXT,
            "source": {"enum": ["config", "api", "limit"]},
            **settings["properties"],
            "override": {"type": ["object", "null"]},
            "buckets": {"type": "array", "items": _STANDING},
        },
    }
    drift = {"type": "array", "items": _DRIFT}
    changes = {"type": "array", "items": _CHANGE}
    audited = {
        **budget,
        "properties": {**cast("dict[str, Any]", budget["properties"]), "changes": changes, "drift": drift},
    }
    new = {**settings, "required": ["name"], "properties": {"name": _TEXT, **settings["properties"]}}
    deleted = {"type": "object", "properties": {"name": _TEXT, "deleted": {"const": True}}}
    rows = [
        {"name": "bucket", "in": "query", "schema": _TEXT},
        {"name": "state", "in": "query", "schema": _RESERVATION["properties"]["state"]},  # type: ignore[index]
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
    ]
    return {
        ("GET", "/budgets"): _answers(_list(budget)),
        ("POST", "/budgets"): _answers(budget, status="201", request=new),
        ("GET", "/budgets/mine"): _answers(_list(_STANDING)),
        ("GET", "/budgets/{name}"): _answers(audited),
        ("PATCH", "/budgets/{name}"): _answers(budget, request={**settings, "required": []}),
        ("DELETE", "/budgets/{name}"): _answers(deleted),
        ("GET", "/budgets/{name}/reservations"): {**_answers(_list(_RESERVATION)), "parameters": rows},
        ("POST", "/budgets/{name}/override"): _answers(budget, request=_OVERRIDE),
    }


def _answers(
    schema: Mapping[str, Any], *, status: str = "200", request: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"responses": {status: {"description": "Done", "content": _json(schema)}}}
    if request is not None:
        found["requestBody"] = {"required": True, "content": _json(request)}
    return found


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _list(item: Mapping[str, Any]) -> dict[str, Any]:
    data = {"type": "array", "items": item}
    return {"type": "object", "properties": {"object": {"const": "list"}, "data": data}}


def _settings() -> dict[str, Any]:
    """The settings' schema, whole: a reference inside it would point into the document around it."""
    schema = BudgetSettings.model_json_schema()
    definitions = schema.pop("$defs", {})
    return cast("dict[str, Any]", _whole(schema, definitions))


def _whole(part: object, definitions: Mapping[str, object]) -> object:
    if isinstance(part, list):
        return [_whole(one, definitions) for one in cast("list[object]", part)]
    if not isinstance(part, dict):
        return part
    given = cast("dict[str, object]", part)
    if "$ref" in given:
        return _whole(definitions[str(given["$ref"]).rpartition("/")[2]], definitions)
    return {name: _whole(one, definitions) for name, one in given.items()}
