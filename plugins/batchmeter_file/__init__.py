"""The file logger: every event as one CloudEvents 1.0 line of a JSONL file that many processes may share."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .logger import FileLogger, FileSettings
    from .read import EventFiles, read_events

__all__ = ["EventFiles", "FileLogger", "FileSettings", "read_events"]

env = ("BATCHMETER_FILE_PATH",)
"""Variables that switch it on."""
_HOMES = {
    "EventFiles": "read",
    "FileLogger": "logger",
    "FileSettings": "logger",
    "read_events": "read",
}


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: every start of batchmeter loads this module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
