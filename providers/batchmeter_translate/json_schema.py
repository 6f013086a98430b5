"""The rules that Gemini keeps of a full JSON Schema (`responseJsonSchema`, `parametersJsonSchema`): nothing is left open."""

from .shape import Json, is_array, is_object, mapping, objects
from .untranslatable import UntranslatableError

_MOST_NESTED = 32
_MAPS = ("properties", "$defs", "definitions")
_CHOICES = ("anyOf", "oneOf", "allOf")


def whole_schema(schema: object, param: str) -> Json:
    """The schema as it is; UntranslatableError where a list or an object says nothing of what it holds.

    Gemini answers every line with such a schema with 400.
    """
    found = mapping(schema)
    _check(found, param, 0)
    return found


def _check(schema: Json, param: str, depth: int) -> None:
    if depth > _MOST_NESTED:
        raise UntranslatableError(param, "the schema is nested too deeply")
    words = schema.get("type")
    kinds = words if is_array(words) else [words]
    if "array" in kinds and not (mapping(schema.get("items")) or schema.get("prefixItems")):
        raise UntranslatableError(
            param, "an array says nothing of its items; Gemini wants their schema (items: a type)"
        )
    if "object" in kinds and not (mapping(schema.get("properties")) or is_object(schema.get("additionalProperties"))):
        raise UntranslatableError(param, "an object names no properties; Gemini wants them, or additionalProperties")
    for name in _MAPS:
        for part in mapping(schema.get(name)).values():
            _check(mapping(part), param, depth + 1)
    for name in _CHOICES:
        for part in objects(schema.get(name)):
            _check(part, param, depth + 1)
    for name in ("items", "additionalProperties"):
        if is_object(schema.get(name)):
            _check(mapping(schema[name]), param, depth + 1)
