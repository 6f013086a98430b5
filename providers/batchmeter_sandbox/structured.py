"""JSON that fits a JSON Schema: what a model with structured outputs would have said."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from .tokens import Dice

Schema = Mapping[str, Any]

_MOST_NESTED = 24
_SHALLOW = 6
"""From here on lists are as short as they may be, and options that end come first."""
_FORMATS = {
    "date-time": "2026-11-30T09:00:00Z",
    "date": "2026-11-30",
    "time": "09:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "uri": "https://example.com/",
}


def fitting(schema: Schema, dice: Dice, text: str) -> Any:
    """A value for the schema; `text` is cut up for its strings."""
    return _Writer(schema, dice, text.split() or ["answer"]).value(schema, 0)


class _Writer:
    def __init__(self, root: Schema, dice: Dice, words: Sequence[str]) -> None:
        self._root, self._dice, self._words = root, dice, words
        self._position = 0

    def value(self, schema: Schema, depth: int) -> Any:
        if depth > _MOST_NESTED:
            return None
        plainer = self._plainer(schema, depth)
        if plainer is not None:
            return self.value(plainer, depth + 1)
        options = [schema["const"]] if "const" in schema else list(cast("Sequence[Any]", schema.get("enum") or ()))
        return options[self._dice.below(depth % 12, len(options))] if options else self._typed(schema, depth)

    def _plainer(self, schema: Schema, depth: int) -> Schema | None:
        """The schema with a reference followed, an option chosen or parts joined; None where there is none of these."""
        if "$ref" in schema:
            return {**self._find(str(schema["$ref"])), **_without(schema, "$ref")}
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return {**_without(schema, key), **self._option(list(schema[key]), depth)}
        return self._merged(schema) if schema.get("allOf") else None

    def _typed(self, schema: Schema, depth: int) -> Any:
        stated = schema.get("type") or (
            "object" if "properties" in schema else "array" if "items" in schema else "string"
        )
        kinds = cast("list[str]", stated if isinstance(stated, list) else [stated])
        kind = "null" if "null" in kinds and depth > _SHALLOW else next((one for one in kinds if one != "null"), "null")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return self._number(schema, whole=kind == "integer")
        if kind == "boolean":
            return self._dice.below(depth % 12, 2) == 1
        return None if kind == "null" else self._string(schema)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = cast("Mapping[str, Schema]", schema.get("properties") or {})
        required = cast("Sequence[str]", schema.get("required") or ())
        names = [name for name in properties if depth <= _SHALLOW or name in required]
        made = {name: self.value(properties[name], depth + 1) for name in names}
        return made | {name: self._next() for name in required if name not in properties}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        fixed = cast("Sequence[Schema]", schema.get("prefixItems") or ())
        items = cast("Schema | bool | None", schema.get("items"))
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", 1_000))
        count = max(len(fixed), min(most, max(least, 2 if depth <= _SHALLOW and isinstance(items, Mapping) else 0)))
        other: Schema = items if isinstance(items, Mapping) else {}
        return [self.value(fixed[index] if index < len(fixed) else other, depth + 1) for index in range(count)]

    def _number(self, schema: Schema, *, whole: bool) -> int | float:
        step = float(schema.get("multipleOf") or (1 if whole else 0.5))
        least = float(schema.get("minimum", schema.get("exclusiveMinimum", 0)))
        most = float(schema.get("maximum", schema.get("exclusiveMaximum", least + 100 * step)))
        found = math.ceil(least / step) * step
        if found == schema.get("exclusiveMinimum"):
            found += step
        room = int(max(0.0, most - found) // step)
        found += step * self._dice.below(3, max(1, room))
        return int(found) if whole else found

    def _string(self, schema: Schema) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[str(schema["format"])]
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 1_000_000))
        words = f"{self._next()} {self._next()}"
        while len(words) < least:
            words += f" {self._next()}"
        return words[:most]

    def _option(self, options: Sequence[Schema], depth: int) -> Schema:
        """Far down, the option that ends soonest: none at all, else one that refers to nothing."""
        if depth <= _SHALLOW:
            return options[self._dice.below(depth % 12, len(options))]
        return min(options, key=lambda one: (one.get("type") != "null", "$ref" in one))

    def _merged(self, schema: Schema) -> Schema:
        made: dict[str, Any] = {"properties": {}, "required": []}
        for part in (*cast("Sequence[Schema]", schema["allOf"]), _without(schema, "allOf")):
            found = {**self._find(str(part["$ref"])), **_without(part, "$ref")} if "$ref" in part else dict(part)
            made["properties"] |= found.pop("properties", {})
            made["required"] += found.pop("required", [])
            made |= found
        return {key: value for key, value in made.items() if value not in ({}, [])}

    def _find(self, target: str) -> Schema:
        found: Any = self._root
        for step in target.lstrip("#").strip("/").split("/") if target != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            found = cast("Schema", found).get(name, {}) if isinstance(found, Mapping) else {}
        return cast("Schema", found) if isinstance(found, Mapping) else {}

    def _next(self) -> str:
        self._position += 1
        return self._words[self._position % len(self._words)]


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}
