"""From an output file's bytes to usage and cost."""

from .meter import ameter, meter, meter_outputs, reprice
from .result import FREE, UNKNOWN, Job, MalformedLine, Metering, free_or, metered

__all__ = [
    "FREE",
    "UNKNOWN",
    "Job",
    "MalformedLine",
    "Metering",
    "ameter",
    "free_or",
    "meter",
    "meter_outputs",
    "metered",
    "reprice",
]
