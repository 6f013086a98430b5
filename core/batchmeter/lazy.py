"""Names of a package that are imported when they are first used: every command line loads each plugin's package."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`. `homes`: module below the package (`.name`: beside it) -> its names, spaced."""
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def find(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(package)
        value = getattr(import_module(f".{home_of[name]}", package), name)
        setattr(module, name, value)
        return value

    return find
