"""The Langfuse logger: one trace a batch, with exact usage and batch prices, acknowledged."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import LangfuseLogger
    from .settings import LangfuseSettings

__all__ = ["LangfuseLogger", "LangfuseSettings"]

env = ("LANGFUSE_PUBLIC_KEY",)
"""Variables that switch it on."""
_HOMES = {
    "LangfuseLogger": "logger",
    "LangfuseSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: every start of batchmeter loads this module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
