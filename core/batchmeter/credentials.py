"""Secrets in settings: out of a variable (`api_key_env`, `${VAR}`) or a file (`api_key_file`), never in the file itself."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, SecretStr

from .errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SOURCES = ("_env", "_file")


def filled(
    model: type[BaseModel], section: Mapping[str, Any], where: str, *, must_exist: bool = True
) -> dict[str, Any]:
    """The section with its secrets in place. ConfigError for a variable or a file that is missing or empty.

    Where it need not exist yet, the setting is left out instead.
    """
    values: dict[str, Any] = {}
    for name, value in section.items():
        field, source = _source(model, name)
        if field in values or (source and field in section):
            raise ConfigError(f"{where}: {field} is given twice: by {name} too")
        try:
            found = _expanded(value) if source is None else _SOURCE[source](str(value))
        except _MissingError as missing:
            if must_exist:
                raise ConfigError(f"{where}: {name}: {missing}") from None
            continue
        values[field] = (found,) if source and _is_many(model, field) else found
    return values


class _MissingError(Exception):
    """A variable or file that a setting names is not there."""


def _source(model: type[BaseModel], name: str) -> tuple[str, str | None]:
    """The field that this key sets, and out of what."""
    for source in _SOURCES:
        field = name.removesuffix(source)
        if (
            field != name
            and name not in model.model_fields
            and field in model.model_fields
            and _is_secret(model, field)
        ):
            return field, source
    return name, None


def _is_secret(model: type[BaseModel], field: str) -> bool:
    return _mentions(model.model_fields[field].annotation)


def _is_many(model: type[BaseModel], field: str) -> bool:
    return getattr(model.model_fields[field].annotation, "__origin__", None) is tuple


def _mentions(annotation: object) -> bool:
    return annotation is SecretStr or any(_mentions(part) for part in get_args(annotation))


def _from_variable(name: str) -> str:
    if not (value := os.environ.get(name, "").strip()):
        raise _MissingError(f"the variable {name} is not set")
    return value


def _from_file(path: str) -> str:
    try:
        text = Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _MissingError(f"{path} cannot be read: {error}") from None
    if not text:
        raise _MissingError(f"{path} is empty")
    return text


_SOURCE = {"_env": _from_variable, "_file": _from_file}


def _expanded(value: Any) -> Any:
    """`${VAR}` in a text, at any depth."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _from_variable(found[1]), value)
    if isinstance(value, Mapping):
        return {key: _expanded(item) for key, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_expanded(item) for item in cast("list[Any]", value)]
    return value
