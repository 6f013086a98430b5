"""Events through the langfuse SDK, each acknowledged. Everything heavy is imported with this file, on first use."""

import threading
from collections.abc import Iterable, Iterator, Sequence

from langfuse import propagate_attributes

from batchmeter.events import BatchCreated

from .about import AnyEvent, trace
from .client import MOST, connect
from .lines import Line
from .observations import Started, Writer
from .settings import LangfuseSettings

_REQUEST_BYTES = 1 << 20


class Sender:
    """One connection; one delivery at a time."""

    def __init__(self, settings: LangfuseSettings) -> None:
        self._to = connect(settings)
        self._writer = Writer(self._to, settings.trace_parenting == "child")
        self._lock = threading.Lock()

    def deliver(self, event: AnyEvent, lines: Sequence[Line]) -> None:
        """Returns when Langfuse has taken all of it.

        All are started before the first ends: an observation whose parent is not open counts as the root of its trace.
        """
        with self._lock:
            with propagate_attributes(**trace(event)):
                main = self._writer.observations(event)
                single = [] if isinstance(event, BatchCreated) else [self._writer.line(event, line) for line in lines]
            for portion in (*_portions(main), *_portions(single)):
                self._send(portion)

    def close(self) -> None:
        """Soon, also while Langfuse keeps a delivery waiting: that one is left to its timeout."""
        self._to.close()

    def _send(self, portion: Sequence[Started]) -> None:
        for one in portion:
            one.observation.end(end_time=one.end)
        self._to.provider.force_flush()
        self._to.exporter.settle(one.id for one in portion)


def _portions(started: Iterable[Started]) -> Iterator[list[Started]]:
    """For one request each."""
    portion: list[Started] = []
    size = 0
    for one in started:
        if portion and (size + one.size > _REQUEST_BYTES or len(portion) == MOST):
            yield portion
            portion, size = [], 0
        portion.append(one)
        size += one.size
    if portion:
        yield portion
