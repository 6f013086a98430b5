"""The file logger: every event as one CloudEvents 1.0 line of a JSONL file that many processes may share."""

from .logger import FileLogger, FileSettings
from .read import EventFiles, read_events

__all__ = ["EventFiles", "FileLogger", "FileSettings", "read_events"]
