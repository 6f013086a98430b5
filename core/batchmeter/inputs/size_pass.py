"""Counts an upload's requests while its bytes pass, in chunks of any size: what is kept with the file for estimates."""

from dataclasses import InitVar, dataclass, field

from batchmeter.pricing.estimate import InputSizes

from .sizes import SizeCounter

LONGEST = 4 * 1024 * 1024
"""Bytes of a line that is looked at; a longer one counts as a request of which nothing is known."""
STEP = 128 * 1024
"""Bytes that may be counted in one go on an event loop: some milliseconds."""


@dataclass(slots=True)
class SizePass:
    """One pass over one file. Memory holds the sums and one line."""

    boundaries: InitVar[tuple[int, ...]] = ()
    """Of the price book: `PriceSource.boundaries`."""
    _counter: SizeCounter = field(init=False)
    _held: list[bytes] = field(default_factory=list[bytes], init=False)
    _length: int = field(default=0, init=False)
    """Bytes of the line that is still coming in, held or not."""

    def __post_init__(self, boundaries: tuple[int, ...]) -> None:
        self._counter = SizeCounter(boundaries)

    def feed(self, chunk: bytes) -> None:
        """The next bytes; chunk borders change nothing."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._hold(chunk[start:end])
            self._end_line()
            start = end + 1
        self._hold(chunk[start:])

    def close(self) -> InputSizes:
        """The sums; a last line without a line feed counts."""
        self._end_line()
        return self._counter.sizes()

    def _hold(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > LONGEST:
            self._held.clear()
        elif piece:
            self._held.append(piece)

    def _end_line(self) -> None:
        if self._length > LONGEST:
            self._counter.add_request({})
        elif self._length:
            self._counter.add(self._held[0] if len(self._held) == 1 else b"".join(self._held))
        self._held.clear()
        self._length = 0
