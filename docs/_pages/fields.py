"""Fields of a settings model: type, default, meaning, and the environment variables behind them."""

import ast
import inspect
import os
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
"""How environment variables are spelled."""


@dataclass(frozen=True, slots=True)
class Described:
    """One setting."""

    name: str
    type: str
    default: str
    """With backticks, for a table; empty: none, `required`: has to be given."""
    meaning: str
    variables: tuple[str, ...] = ()


def described(model: type[BaseModel], *, without: type[BaseModel] | None = None) -> Iterator[Described]:
    """In the model's order; fields that `without` has and the model does not change are left out."""
    assigned = dict(_assignments(model))
    for name, field in model.model_fields.items():
        if without is not None and name in without.model_fields and name not in _own(model):
            continue
        annotation, value, docstring = assigned[name]
        yield Described(name, _type(annotation), _default(field), docstring, tuple(variables(value, model)))


def variables(value: ast.expr | None, model: type) -> Iterator[str]:
    """Every name of a variable in a field's default, also by way of a constant of its module."""
    known = vars(sys.modules[model.__module__])
    for node in ast.walk(value) if value is not None else ():
        if isinstance(node, ast.Constant):
            yield from _named(node.value)
        elif isinstance(node, ast.Name):
            yield from _named(known.get(node.id))


@contextmanager
def bare_environment() -> Generator[None]:
    """Defaults as they are on a machine where nothing is set."""
    before = dict(os.environ)
    os.environ.clear()
    try:
        yield
    finally:
        os.environ.update(before)


def _named(value: object) -> Iterator[str]:
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and VARIABLE.fullmatch(text):
            yield text


def _assignments(model: type[BaseModel]) -> Iterator[tuple[str, tuple[ast.expr, ast.expr | None, str]]]:
    """Name -> annotation, default and docstring; a subclass's own come last, and win."""
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel:
            continue
        body = class_body(base)
        for index, node in enumerate(body):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                docstring = _string(body[index + 1]) if index + 1 < len(body) else ""
                yield node.target.id, (node.annotation, node.value, docstring)


def _own(model: type[BaseModel]) -> set[str]:
    return {
        node.target.id
        for node in class_body(model)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def class_body(model: type[BaseModel]) -> list[ast.stmt]:
    """The statements of a class, from its source."""
    file = inspect.getsourcefile(model)
    assert file is not None
    return _classes(file)[model.__qualname__]


@cache
def _classes(file: str) -> dict[str, list[ast.stmt]]:
    """Body of each class, by qualified name: `inspect` would read the file again for each."""
    found: dict[str, list[ast.stmt]] = {}
    nodes = [("", node) for node in ast.parse(Path(file).read_text(encoding="utf-8")).body]
    for prefix, node in nodes:
        if isinstance(node, ast.ClassDef):
            found[f"{prefix}{node.name}"] = node.body
            nodes += [(f"{prefix}{node.name}.", inner) for inner in node.body]
    return found


def _string(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


TYPES = {
    "Secret": "secret",
    "SecretStr": "secret",
    "Any": "object",
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "ByteSize": "size",
    "timedelta": "duration",
    "InputLimitSettings": "table",
    "Fsync": "`always`, `interval` or `never`",
}
"""In the words of somebody who writes TOML."""


def _type(annotation: ast.expr) -> str:
    """`SecretStr | None` -> secret, `Literal["a", "b"]` -> `a` or `b`; what only Python can give is a function."""
    if isinstance(annotation, ast.Name):
        return TYPES.get(annotation.id, "function")
    if isinstance(annotation, ast.BinOp):
        parts = (annotation.left, annotation.right)
        return " or ".join(_type(part) for part in parts if not isinstance(part, ast.Constant))
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        return _generic(annotation.value.id, annotation.slice)
    return "function"


def _generic(name: str, inner: ast.expr) -> str:
    items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == "Annotated":
        return _type(items[0])
    if name == "Literal":
        return " or ".join(f"`{ast.literal_eval(word)}`" for word in items)
    return {"list": "list", "tuple": "list", "dict": "table"}.get(name, "function")


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", (), [], {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
