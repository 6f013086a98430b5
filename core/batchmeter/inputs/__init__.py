"""Checks batch input files as they stream by: what the provider would refuse, on which line, and how to mend it."""

from batchmeter.input_limits import COMPATIBLE, OPENAI, REQUIRED, InputLimits, limits_of

from .checker import MAX_PROBLEMS, InputChecker, check_file, check_path
from .rules import InputSummary

__all__ = [
    "COMPATIBLE",
    "MAX_PROBLEMS",
    "OPENAI",
    "REQUIRED",
    "InputChecker",
    "InputLimits",
    "InputSummary",
    "check_file",
    "check_path",
    "limits_of",
]
