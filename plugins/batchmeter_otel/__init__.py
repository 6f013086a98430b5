"""The OpenTelemetry logger: spans, log events and metrics of batches, over OTLP/HTTP with acknowledgement."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logger import OTelLogger
    from .settings import OTelSettings

__all__ = ["OTelLogger", "OTelSettings"]

env = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that switch it on."""


__getattr__ = lazy_names(
    __name__,
    {
        "logger": "OTelLogger",
        "settings": "OTelSettings",
    },
)
