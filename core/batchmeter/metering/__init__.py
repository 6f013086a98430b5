"""From an output file's bytes to usage and cost."""

from .meter import ameter, meter, meter_outputs
from .reprice import reprice
from .result import Metering, free_or, metered
from .tally import FREE, UNKNOWN, Job, MalformedLine

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
