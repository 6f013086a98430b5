"""The OpenTelemetry logger: spans, log events and metrics of batches, over OTLP/HTTP with acknowledgement."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import OTelLogger
    from .settings import OTelSettings

__all__ = ["OTelLogger", "OTelSettings"]

env = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that switch it on."""
_HOMES = {
    "OTelLogger": "logger",
    "OTelSettings": "settings",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: every start of batchmeter loads this module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
