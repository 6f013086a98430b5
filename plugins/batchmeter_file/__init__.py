"""The file logger: every event as one CloudEvents 1.0 line of a JSONL file that many processes may share."""

from typing import TYPE_CHECKING

from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from .logger import FileLogger, FileSettings
    from .read import EventFiles, read_events

__all__ = ["EventFiles", "FileLogger", "FileSettings", "read_events"]

env = ("BATCHMETER_FILE_PATH",)
"""Variables that switch it on."""


__getattr__ = lazy_names(
    __name__,
    {
        "read": "EventFiles read_events",
        "logger": "FileLogger FileSettings",
    },
)
