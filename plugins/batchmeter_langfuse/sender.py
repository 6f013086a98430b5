"""Events through the langfuse SDK, each acknowledged. Everything heavy is imported with this file, on first use."""

import threading
from collections.abc import Iterable, Iterator, Sequence

from langfuse import propagate_attributes

from batchmeter_traces import BatchLine

from .about import AnyEvent, Ending, trace
from .client import MOST, connect
from .lines import size
from .observations import Started, Writer
from .settings import LangfuseSettings

_REQUEST_BYTES = 1 << 20


class Sender:
    """One connection; one delivery at a time."""

    def __init__(self, settings: LangfuseSettings) -> None:
        self._to = connect(settings)
        self._writer = Writer(self._to, settings.trace_parenting == "child")
        self._lock = threading.Lock()

    def deliver(self, event: AnyEvent) -> None:
        """Returns when Langfuse has taken all of it.

        All are started before the first ends: an observation whose parent is not open counts as the root of its trace.
        """
        with self._lock:
            with propagate_attributes(**trace(event)):
                started = self._writer.observations(event)
            for start in range(0, len(started), MOST):
                self._send(started[start : start + MOST])

    def deliver_lines(self, event: Ending, lines: Iterable[BatchLine]) -> None:
        """A request at a time, between which other deliveries have their turn."""
        for portion in _portions(lines):
            with self._lock:
                with propagate_attributes(**trace(event)):
                    started = [self._writer.line(event, line) for line in portion]
                self._send(started)

    def close(self) -> None:
        """Soon, also while Langfuse keeps a delivery waiting: that one is left to its timeout."""
        self._to.close()

    def _send(self, portion: Sequence[Started]) -> None:
        for one in portion:
            one.observation.end(end_time=one.end)
        self._to.provider.force_flush()
        self._to.exporter.settle(one.id for one in portion)


def _portions(lines: Iterable[BatchLine]) -> Iterator[list[BatchLine]]:
    """For one request each."""
    portion: list[BatchLine] = []
    total = 0
    for line in lines:
        more = size(line)
        if portion and (total + more > _REQUEST_BYTES or len(portion) == MOST):
            yield portion
            portion, total = [], 0
        portion.append(line)
        total += more
    if portion:
        yield portion
