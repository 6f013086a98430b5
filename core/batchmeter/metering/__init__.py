"""From an output file's bytes to usage and cost."""

from .meter import meter_outputs
from .result import Job, Metering

__all__ = ["Job", "Metering", "meter_outputs"]
