"""JSON Schema -> the OpenAPI subset that Gemini takes, in shapes that the importer takes too.

References are inlined, `$` keys and unknown keywords dropped, `null` becomes `nullable`, types are single words.
"""

from typing import Any
from urllib.parse import unquote

from .shape import Json, is_array, is_object, mapping, objects, sequence
from .untranslatable import Notes, UntranslatableError

_AS_IS = (
    "title",
    "description",
    "nullable",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
)
_FORMATS = frozenset({"date-time", "date", "time", "enum", "int32", "int64", "float", "double"})
_LOST = {
    "exclusiveMinimum": "Gemini has no such bound",
    "exclusiveMaximum": "Gemini has no such bound",
    "multipleOf": "Gemini has no such rule",
    "patternProperties": "Gemini knows no maps of arbitrary keys",
    "not": "Gemini has no negation",
    "uniqueItems": "Gemini has no such rule",
}
_MOST_NESTED = 32


def subset(schema: object, notes: Notes, param: str, *, ordered: bool = False) -> Json:
    """`ordered`: properties keep their order in the answer (the importer sorts keys)."""
    return _Converter(mapping(schema), notes, param, ordered).convert(mapping(schema), ())


class _Converter:
    def __init__(self, root: Json, notes: Notes, param: str, ordered: bool) -> None:
        self._root, self._notes, self._param, self._ordered = root, notes, param, ordered

    def convert(self, schema: Json, trail: tuple[str, ...]) -> Json:
        if len(trail) > _MOST_NESTED:
            raise self._error("the schema is nested too deeply")
        if "$ref" in schema:
            return self._reference(schema, trail)
        if "allOf" in schema:
            return self.convert(
                _merged(schema, [self._plain(part, trail) for part in objects(schema["allOf"])]), (*trail, "")
            )
        options = objects(schema.get("anyOf") or schema.get("oneOf"))
        if options:
            return self._choice(schema, options, trail)
        return self._simple(schema, trail)

    def _reference(self, schema: Json, trail: tuple[str, ...]) -> Json:
        target = str(schema["$ref"])
        if target in trail:
            raise self._error(f"{target} refers to itself; Gemini takes no recursive schema")
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return self.convert({**self._find(target), **rest}, (*trail, target))

    def _plain(self, schema: Json, trail: tuple[str, ...]) -> Json:
        """With its references followed, for merging."""
        target = str(schema.get("$ref", ""))
        if not target:
            return schema
        if target in trail:
            raise self._error(f"{target} refers to itself; Gemini takes no recursive schema")
        return self._plain(self._find(target), (*trail, target))

    def _find(self, target: str) -> Json:
        found: Any = self._root
        for step in target.removeprefix("#").strip("/").split("/") if target != "#" else ():
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            found = mapping(found).get(name)
        if not target.startswith("#") or not is_object(found):
            raise self._error(f"{target} is not in the schema")
        return mapping(found)

    def _choice(self, schema: Json, options: list[Json], trail: tuple[str, ...]) -> Json:
        """Gemini wants anyOf alone in its place, so `nullable` moves into the options."""
        real = [option for option in options if option.get("type") != "null"]
        nullable = len(real) < len(options)
        rest = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf"}}
        if len(real) == 1:
            one = self.convert({**rest, **real[0]}, trail)
            return {**one, "nullable": True} if nullable else one
        base = {key: value for key, value in rest.items() if key not in {"title", "description"}}
        converted = [self.convert({**base, **option}, trail) for option in real]
        return {"anyOf": [{**option, "nullable": True} if nullable else option for option in converted]}

    def _simple(self, schema: Json, trail: tuple[str, ...]) -> Json:
        words, nullable = _types(schema)
        if len(words) > 1:
            options = [{**schema, "type": word} for word in words]
            return self._choice({}, [*options, {"type": "null"}] if nullable else options, trail)
        for key in _LOST.keys() & schema.keys():
            self._notes.drop(f"{self._param}.{key}", _LOST[key])
        made: Json = {"type": words[0].upper()} if words else {}
        made |= {key: schema[key] for key in _AS_IS if schema.get(key) is not None}
        if nullable:
            made["nullable"] = True
        if schema.get("format") in _FORMATS:
            made["format"] = schema["format"]
        self._enum(schema, made)
        self._members(schema, made, trail)
        self._check_whole(made)
        return made

    def _check_whole(self, made: Json) -> None:
        """Gemini refuses every line whose schema leaves open what a list or an object inside holds."""
        if made.get("type") == "ARRAY" and "items" not in made:
            raise self._error("an array says nothing of its items; Gemini wants their schema (items: a type)")
        if made.get("type") == "OBJECT" and "properties" not in made:
            raise self._error("an object names no properties; Gemini wants them (it knows no maps of arbitrary keys)")

    def _enum(self, schema: Json, made: Json) -> None:
        values = [schema["const"]] if "const" in schema else sequence(schema.get("enum"))
        if None in values:
            made["nullable"] = True
        words = [value for value in values if isinstance(value, str)]
        if words and made.get("type", "STRING") == "STRING":
            made.update(type="STRING", enum=words)
        elif any(value is not None for value in values):
            self._notes.drop(f"{self._param}.enum", "Gemini takes enums of text only")

    def _members(self, schema: Json, made: Json, trail: tuple[str, ...]) -> None:
        trail = (*trail, "")
        properties = mapping(schema.get("properties"))
        if properties:
            made.setdefault("type", "OBJECT")
            made["properties"] = {name: self._property(name, part, trail) for name, part in properties.items()}
            required = [name for name in sequence(schema.get("required")) if name in properties]
            made |= {"required": required} if required else {}
            made |= {"propertyOrdering": list(properties)} if self._ordered and len(properties) > 1 else {}
        if is_object(schema.get("additionalProperties")) and schema["additionalProperties"]:
            self._notes.drop(f"{self._param}.additionalProperties", "Gemini knows no maps of arbitrary keys")
        if "prefixItems" in schema or is_array(schema.get("items")):
            raise self._error("Gemini knows no arrays with a schema for each place (prefixItems)")
        if is_object(schema.get("items")):
            made.setdefault("type", "ARRAY")
            items = self.convert(mapping(schema["items"]), trail)
            if not items:
                raise self._error("the items of an array may be anything; Gemini wants a type")
            made["items"] = items

    def _property(self, name: str, schema: object, trail: tuple[str, ...]) -> Json:
        made = self.convert(mapping(schema), trail)
        if not made:
            raise self._error(f"the property {name!r} may be anything; Gemini wants a type")
        return made

    def _error(self, message: str) -> UntranslatableError:
        return UntranslatableError(self._param, message)


def _types(schema: Json) -> tuple[list[str], bool]:
    """The type's words without `null`, and whether that was among them."""
    stated = schema.get("type")
    words = [str(word) for word in (sequence(stated) if is_array(stated) else [stated] if stated else [])]
    return [word for word in words if word.lower() != "null"], "null" in (word.lower() for word in words)


def _merged(schema: Json, parts: list[Json]) -> Json:
    """allOf as one object: properties and required are joined, for everything else the outer word wins."""
    own = {key: value for key, value in schema.items() if key != "allOf"}
    made: Json = {}
    for part in (*parts, own):
        for key, value in part.items():
            if key == "properties":
                made[key] = {**mapping(made.get(key)), **mapping(value)}
            elif key == "required":
                made[key] = list(dict.fromkeys((*sequence(made.get(key)), *sequence(value))))
            else:
                made[key] = value
    return made
