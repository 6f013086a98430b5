"""The OpenTelemetry logger: spans, log events and metrics of batches, over OTLP/HTTP with acknowledgement."""

from .logger import OTelLogger
from .settings import OTelSettings

__all__ = ["OTelLogger", "OTelSettings"]
