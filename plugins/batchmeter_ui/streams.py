"""Streams: how many pages follow what happens in this worker, and no more than it can bear."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

MOST_STREAMS = 20


@dataclass(slots=True)
class Streams:
    """The streams that are open in this worker."""

    open: int = 0

    @contextmanager
    def one(self) -> Generator[None]:
        """Refusal (503) where there are too many."""
        if self.open >= MOST_STREAMS:
            message = "Too many pages are open here: this one does not follow."
            from batchmeter_proxy import Refusal  # noqa: PLC0415 - with the server's libraries

            raise Refusal(503, message, code="too_many_streams", headers={"retry-after": "30"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
