"""The Datadog logger: metrics, events and LLM Observability, by acknowledged posts or through the local agent."""

from .logger import DatadogLogger
from .settings import DatadogSettings

__all__ = ["DatadogLogger", "DatadogSettings"]
