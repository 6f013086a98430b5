"""SDKs that are imported at their first use: a worker that runs none of their tests need not wait a second for them."""

import importlib
from types import ModuleType
from typing import Any

import pytest


class Later:
    """`anthropic = Later("anthropic")` stands for the module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # asked by pytest of everything that it finds in a file
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def keep_together(items: list[pytest.Item]) -> None:
    """Tests of files that import the same SDK later are neighbours: one worker runs them, and imports it once."""
    firsts: dict[str, int] = {}
    names = {module: _sdk(module) for module in {getattr(item, "module", None) for item in items}}
    places = [
        index if (sdk := names[getattr(item, "module", None)]) is None else firsts.setdefault(sdk, index)
        for index, item in enumerate(items)
    ]
    items[:] = [items[index] for index in sorted(range(len(items)), key=places.__getitem__)]


def _sdk(module: ModuleType | None) -> str | None:
    """The first part of its name: `google` of `google.genai.types`."""
    used = [value for value in vars(module).values() if type(value) is Later] if module else []
    return object.__getattribute__(used[0], "_name").partition(".")[0] if used else None
