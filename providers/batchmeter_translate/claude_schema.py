"""A JSON Schema as Claude's `output_config.format` takes it: closed objects, and none of the rules that it does not know."""

from typing import Any

from .shape import Json, is_array, is_object, mapping, objects, sequence
from .untranslatable import Notes, UntranslatableError

_KEPT = ("title", "description", "enum", "const")
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_SILENT = frozenset({"$schema", "$id", "default", "examples", "additionalProperties", "required", "strict"})
"""Keywords whose loss changes no answer."""
_MOST_NESTED = 32


def closed_schema(schema: object, notes: Notes, param: str) -> Json:
    """UntranslatableError for what Claude could only answer with an empty object: maps of arbitrary keys."""
    return _Closing(notes, param).convert(mapping(schema), 0)


class _Closing:
    def __init__(self, notes: Notes, param: str) -> None:
        self._notes, self._param = notes, param

    def convert(self, schema: Json, depth: int) -> Json:
        if depth > _MOST_NESTED:
            raise UntranslatableError(self._param, "the schema is nested too deeply")
        made: Json = {}
        if definitions := mapping(schema.get("$defs") or schema.get("definitions")):
            made["$defs"] = {name: self.convert(mapping(part), depth + 1) for name, part in definitions.items()}
        if "$ref" in schema:
            return made | {"$ref": str(schema["$ref"]).replace("#/definitions/", "#/$defs/")}
        made |= {key: schema[key] for key in _KEPT if key in schema}
        return made | self._content(schema, depth)

    def _content(self, schema: Json, depth: int) -> Json:
        for key in ("anyOf", "oneOf", "allOf"):
            if options := objects(schema.get(key)):
                inner = [self.convert(option, depth + 1) for option in options]
                return {"allOf" if key == "allOf" else "anyOf": inner}
        words = _types(schema)
        if len(words) > 1:
            rest = {key: value for key, value in schema.items() if key not in _KEPT}
            return {"anyOf": [self.convert({**rest, "type": word}, depth + 1) for word in words]}
        if not words:
            if "enum" in schema or "const" in schema:
                return {}
            raise UntranslatableError(self._param, "a part of the schema may be anything; Claude wants a type")
        return {"type": words[0], **self._members(words[0], schema, depth)}

    def _members(self, word: str, schema: Json, depth: int) -> Json:
        members = {"type", *_KEPT, *_SILENT, "$defs", "definitions"}
        made: Json = {}
        if word == "object":
            made = self._object(schema, depth)
            members |= {"properties"}
        elif word == "array" and is_object(schema.get("items")):
            made = {"items": self.convert(mapping(schema["items"]), depth + 1)}
            members |= {"items"}
            if schema.get("minItems") in (0, 1):
                made["minItems"] = schema["minItems"]
                members |= {"minItems"}
        elif word == "string" and schema.get("format") in _FORMATS:
            made = {"format": schema["format"]}
            members |= {"format"}
        for key in schema.keys() - members:
            self._notes.drop(f"{self._param}.{key}", "Claude's schemas have no such rule")
        return made

    def _object(self, schema: Json, depth: int) -> Json:
        properties = mapping(schema.get("properties"))
        if not properties and schema.get("additionalProperties") is not False:
            raise UntranslatableError(
                self._param, "an object names no properties; Claude wants them (it knows no maps of arbitrary keys)"
            )
        made: Json = {"properties": {name: self.convert(mapping(part), depth + 1) for name, part in properties.items()}}
        if required := [name for name in sequence(schema.get("required")) if name in properties]:
            made["required"] = required
        return made | {"additionalProperties": False}


def _types(schema: Json) -> list[str]:
    stated: Any = schema.get("type")
    if is_array(stated):
        return [str(word) for word in stated]
    if stated:
        return [str(stated)]
    return ["object"] if "properties" in schema else ["array"] if "items" in schema else []
