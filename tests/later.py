"""SDKs that are imported at their first use: a worker that runs none of their tests need not wait a second for them."""

import importlib
from typing import Any


class Later:
    """`anthropic = Later("anthropic")` stands for the module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # asked by pytest of everything that it finds in a file
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
