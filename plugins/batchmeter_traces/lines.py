"""The lines that `batch_lines` gets: small models, read from a temporary file one after the other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Literal

from batchmeter.events import PluginEvent
from batchmeter.models import Usage, Usd

from .sample import Reason

_BLOCK = 50
"""Lines read at one go off the event loop."""


class BatchLine(PluginEvent, frozen=True):
    """One request of a batch and its answer. It goes through `redact` as an event does; it is recorded nowhere.

    `id` is a UUIDv5 of (account, batch id, custom_id). Its usage and cost are part of its batch's.
    """

    type: Literal["batch_line"] = "batch_line"
    custom_id: str
    reason: Reason
    """Why it is in the sample."""
    endpoint: str | None = None
    model: str | None = None
    """The model that answered."""
    error_code: str | None = None
    """None for an answer."""
    usage: Usage = Usage()
    cost: Usd | None = None
    """Zero for a failed line."""
    unknown_cost: str = ""
    """Reason for a cost of None."""
    request: Any = None
    """The request's body; None without `content`."""
    response: Any = None
    """The answer's body, or the error; None without `content`."""
    left_out: tuple[str, ...] = ()
    """`request`, `response`: content that was too large, or not to be had."""

    @property
    def failed(self) -> bool:
        return self.error_code is not None


@dataclass(frozen=True, slots=True)
class BatchLines:
    """At most ten thousand lines: failed ones first, then the dearest. Iterate as often as you like, with or without `async`."""

    total: int
    """Lines in the batch's files."""
    failed: int
    """Failed ones among them."""
    chosen: int
    """Lines that are given here."""
    content: bool
    """Whether prompts and answers were asked for."""
    unavailable: tuple[str, ...] = ()
    """Files that are gone at the provider, in words: their lines are not here, and never will be."""
    _spool: IO[bytes] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.chosen

    def __iter__(self) -> Iterator[BatchLine]:
        at = 0
        while self._spool is not None:
            self._spool.seek(at)
            raw = self._spool.readline()
            at = self._spool.tell()
            if not raw:
                return
            yield BatchLine.model_validate_json(raw)

    async def __aiter__(self) -> AsyncIterator[BatchLine]:
        lines = iter(self)
        while block := await asyncio.to_thread(lambda: list(islice(lines, _BLOCK))):
            for line in block:
                yield line
