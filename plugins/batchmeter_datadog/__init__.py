"""The Datadog logger: metrics, events and LLM Observability, by acknowledged posts or through the local agent."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import DatadogLogger
    from .settings import DatadogSettings

__all__ = ["DatadogLogger", "DatadogSettings"]

env = ("DD_API_KEY", "DD_AGENT_HOST")
"""Variables that switch it on."""
_HOMES = {
    "DatadogLogger": "logger",
    "DatadogSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: every start of batchmeter loads this module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
