"""The plugin: settings in, one durable line per event out."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field

from batchmeter.errors import ConfigError
from batchmeter.events import AlertEvent, BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl

from .appender import Appender, Fsync
from .cloudevent import to_line
from .stream import Stream, stream_of

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    """`"1d"`, `"12h"`, `"90"` -> timedelta; numbers are seconds, and pydantic's own business."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*", value)
    if match is None:
        raise ValueError('write seconds, or a number with s, m, h, d or w, as in "1d"')
    return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])})


class FileSettings(BaseModel):
    """`[plugins.file]`."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[Path, AfterValidator(Path.expanduser)]
    """The JSONL file; its folder is created. Rotated files stand beside it as `<name>.1`, `.2`, …, newest last."""
    fsync: Fsync = "always"
    """`always`: each event is on the disk before it counts as delivered. `interval`: at most one sync a second."""
    max_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    """Begin a new file before this one would grow past it (`"100MB"` or a number)."""
    max_age: Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta())] | None = None
    """Begin a new file when this one is older (`"1d"`, or seconds)."""
    keep: Annotated[int, Field(ge=1)] | None = None
    """How many rotated files stay; all, if not set."""


def _stream(settings: FileSettings) -> Stream | None:
    try:
        stream = stream_of(settings.path)
    except OSError as error:
        raise ConfigError(f"[plugins.file] path {str(settings.path)!r} cannot be written: {error}") from error
    if stream is not None and (settings.max_bytes or settings.max_age or settings.keep):
        raise ConfigError(
            f"[plugins.file] path {str(settings.path)!r} is no regular file: leave out max_bytes, max_age, keep"
        )
    return stream


class FileLogger:
    """Appends events to `settings.path`. A redelivery appends the same bytes again: dedupe by `source` and `id`."""

    Settings = FileSettings

    def __init__(self, settings: FileSettings) -> None:
        if settings.path.is_dir():
            raise ConfigError(f"[plugins.file] path {str(settings.path)!r} is a folder; name a file in it")
        self._appender = _stream(settings) or Appender(
            settings.path.absolute(),
            fsync=settings.fsync,
            max_bytes=settings.max_bytes,
            max_age=settings.max_age,
            keep=settings.keep,
        )

    @hookimpl
    def acreate_batch(self, event: BatchCreated) -> None:
        self._appender.append(to_line(event))

    @hookimpl
    def batch_success(self, event: BatchSucceeded) -> None:
        self._appender.append(to_line(event))

    @hookimpl
    def batch_failure(self, event: BatchFailed) -> None:
        self._appender.append(to_line(event))

    @hookimpl(optionalhook=True)
    def budget_alert(self, event: AlertEvent) -> None:
        self._appender.append(to_line(event))

    @hookimpl(optionalhook=True)
    def alert(self, event: AlertEvent) -> None:
        self._appender.append(to_line(event))

    @hookimpl(optionalhook=True)
    def reconcile_drift(self, event: AlertEvent) -> None:
        self._appender.append(to_line(event))

    @hookimpl
    def shutdown(self) -> None:
        self._appender.sync()
