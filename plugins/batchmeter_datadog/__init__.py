"""The Datadog logger: metrics, events and LLM Observability, by acknowledged posts or through the local agent."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logger import DatadogLogger
    from .settings import DatadogSettings

__all__ = ["DatadogLogger", "DatadogSettings"]

env = ("DD_API_KEY", "DD_AGENT_HOST")
"""Variables that switch it on."""


__getattr__ = lazy_names(
    __name__,
    {
        "logger": "DatadogLogger",
        "settings": "DatadogSettings",
    },
)
