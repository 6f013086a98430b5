"""The pieces of an OpenAPI operation, so that a route says what it takes and gives in a line."""

from collections.abc import Mapping
from typing import Any

Operation = Mapping[str, Any]

_TYPES: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "integer"},
    "date": {"type": "string", "format": "date"},
}


def gives(schema: str) -> Operation:
    """A JSON answer: the name of a component."""
    return {"responses": {"200": {"description": "Done", "content": {"application/json": {"schema": ref(schema)}}}}}


def gives_text(media_type: str) -> Operation:
    answer = {"description": "Done", "content": {media_type: {"schema": {"type": "string"}}}}
    return {"responses": {"200": answer}}


def gives_bytes() -> Operation:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    whole = {"description": "The file", "content": content}
    return {"responses": {"200": whole, "206": {"description": "The range that was asked for", "content": content}}}


def takes(schema: str, media_type: str = "application/json") -> Operation:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": ref(schema)}}}}


def query(**parameters: str) -> Operation:
    """Optional ones by name: `text`, `number`, `date`, or the words of an enumeration separated by `|`."""
    return {"parameters": [{"name": name, "in": "query", "schema": _schema(kind)} for name, kind in parameters.items()]}


def ref(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _schema(kind: str) -> Mapping[str, Any]:
    return _TYPES[kind] if kind in _TYPES else {"type": "string", "enum": kind.split("|")}
