"""Output lines as typed structs: what no table names is skipped while decoding, message text first of all.

The types are made from what OpenAI's rows have and what the installed dialects name.
"""

import json
import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from .counting import parsed
from .dialects import Dialects
from .lines import MANY, without_vectors

MAX_DIGITS = 100
"""Of a number that is written as text."""
Dict = dict[str, Any]
Id = str | int | float | None
REFUSED = (msgspec.DecodeError, UnicodeError, RecursionError)

_BODY: dict[str, Any] = {
    "model": str | None,
    "usage": Dict | None,
    "type": str | None,
    "object": str | None,
    "status": str | None,
    "error": Any,
}
"""An answer in OpenAI's shape, with what tells others from it."""
_LINE: dict[str, Any] = {"custom_id": Id, "error": Any, "status": str | None}


class Wire:
    """Decodes lines, and bodies that were sent as strings."""

    def __init__(self, dialects: tuple[Dialects, ...], more: Mapping[str, Any]) -> None:
        """`more`: fields of bodies that everybody's rows may have."""
        fields = _BODY | dict(more) | {name: type_ for one in dialects for name, type_ in one.body.items()}
        self.body_type: type[Any] = _struct("Body", fields)
        response = {**fields, "status_code": int | None, "body": self.body_type | str | None}
        self.response_type: type[Any] = _struct("Response", response)
        line = {**_LINE, "response": self.response_type | None, "body": self.body_type | None}
        for one in dialects:
            line |= dict.fromkeys(one.ids, Id)
            line |= {envelope.key: envelope.shape(self.body_type) for envelope in one.envelopes}
            if one.manifest is not None:
                line |= dict.fromkeys(sorted(parsed(one.manifest).counters), Any)
        self._line_type: type[Any] = _struct("Line", line)
        self.strict = msgspec.json.Decoder(self._line_type).decode
        """Decodes nearly all lines; raises REFUSED for others."""
        self._body = msgspec.json.Decoder(self.body_type)

    def decode(self, raw: bytes | bytearray) -> Any:
        """The line; after a second, tolerant look where it is not strictly so; None where it is no JSON object."""
        if len(raw) > MANY:
            raw = without_vectors(raw)
        try:
            return self.strict(raw)
        except REFUSED:
            return fit(loads(raw), self._line_type)

    def decode_body(self, text: str) -> Any:
        """A body that was sent as a JSON string; None where the string is just text, or was shortened as a long line's."""
        if "\0" in text:
            return None
        try:
            return self._body.decode(text)
        except REFUSED:
            return fit(_loads(text), self.body_type)


_HALF = re.compile(r"[\ud800-\udfff]|\\u[dD][89a-fA-F]")
"""May hold a lone surrogate."""


def _struct(name: str, fields: dict[str, Any]) -> type[Any]:
    default: dict[Any, Any] = {msgspec.Raw: msgspec.Raw()}
    return msgspec.defstruct(name, [(key, type_, default.get(type_)) for key, type_ in fields.items()], gc=False)


def loads(raw: bytes | bytearray) -> object:
    """As JSON, or nearly; None where it is none."""
    return _loads(raw.decode("utf-8", "replace"))


def _loads(text: str) -> object:
    """NaN and control characters are let through; half a character becomes U+FFFD, for no result could be written with it."""
    try:
        found = json.loads(text.lstrip("\ufeff"), strict=False)
        if _HALF.search(text):
            whole = json.dumps(found, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            found = json.loads(whole)
    except (ValueError, RecursionError):
        return None
    return found


Shape = TypeVar("Shape", bound=Struct)


def fit(value: object, shape: type[Shape]) -> Shape | None:
    """As much of a parsed object as fits its struct; what does not is left out, not refused."""
    if isinstance(value, str):
        value = _loads(value)
    if not isinstance(value, dict):
        return None
    given = cast("Dict", value)
    known = {field.name: _fitted(given.get(field.encode_name), field.type) for field in msgspec.structs.fields(shape)}
    return shape(**{name: part for name, part in known.items() if part is not None})


def _fitted(value: object, wanted: Any) -> object:
    if value is None or wanted is Any:
        return value
    options = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    fitted = (_as(value, option) for option in options)
    return next((part for part in fitted if part is not None), None)


def _as(value: object, wanted: Any) -> object:
    if get_origin(wanted) is list:
        (item,) = get_args(wanted)
        return [_as(one, item) or item() for one in cast("list[object]", value)] if isinstance(value, list) else None
    if isinstance(wanted, type) and issubclass(wanted, Struct):
        return fit(value, wanted)
    if wanted is msgspec.Raw:
        return msgspec.Raw(b"true") if value else None
    if wanted is int:
        return _whole(value)
    kind = cast("type[object]", get_origin(wanted) or wanted)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and len(value) < MAX_DIGITS and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) and value == value // 1 else None
