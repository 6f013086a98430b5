"""Reads events back, for tests, scripts and whoever wants to work through the file in Python."""

from collections.abc import Iterator
from pathlib import Path

from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded, PluginEvent

from .cloudevent import from_line
from .rotation import rotated


class EventFiles:
    """Iterate for the events, oldest file first; an event delivered twice comes twice, with the same id."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.skipped = 0
        """Lines of the last pass that held no event: torn by a crash, or somebody else's."""

    def __iter__(self) -> Iterator[BatchCreated | BatchSucceeded | BatchFailed | PluginEvent]:
        self.skipped = 0
        for path in self._files():
            with path.open("rb") as file:
                for line in file:
                    try:
                        yield from_line(line)
                    except ValueError:
                        self.skipped += 1

    def _files(self) -> list[Path]:
        files = rotated(self._path)
        if self._path.exists() or not files:  # between two records of a rotation only the old ones are there
            files.append(self._path)
        return files


def read_events(path: Path | str) -> EventFiles:
    """The events of a file written by the file logger, and of its rotated predecessors."""
    return EventFiles(Path(path).expanduser())
