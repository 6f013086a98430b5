"""Names models from a batch's input file, for outputs that name none."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from .lines import LineSplitter, Unreadable
from .repeats import MAX_IDS
from .wire import REFUSED


class _Request(msgspec.Struct, gc=False):
    model: str | None = None


class _InputLine(msgspec.Struct, gc=False):
    """A request is a line's `body` or `params`; some vendors' lines name no model."""

    custom_id: str | None = None
    body: _Request | None = None
    params: _Request | None = None


_decode = msgspec.json.Decoder(_InputLine).decode


@dataclass(slots=True)
class InputModels:
    """Models that an input names."""

    by_id: dict[int, str] = field(default_factory=dict[int, str])
    """hash(custom_id) -> model."""
    names: set[str | None] = field(default_factory=set[str | None])
    """None: some line names no model."""

    @property
    def only(self) -> str | None:
        """The one model of all lines."""
        return next(iter(self.names)) if len(self.names) == 1 else None

    def add(self, raw: bytes | bytearray | Unreadable) -> None:
        if isinstance(raw, Unreadable) or not raw.strip():
            return
        try:
            line = _decode(raw)
        except REFUSED:
            line = _InputLine()
        request = line.body or line.params
        model = request.model if request else None
        self.names.add(model)
        if model is not None and line.custom_id is not None and len(self.by_id) < MAX_IDS:
            self.by_id[hash(line.custom_id)] = model


async def input_models(chunks: AsyncIterator[bytes]) -> InputModels:
    """Read the input once."""
    import asyncio  # noqa: PLC0415 - a command that meters a file has no use for it

    found, lines = InputModels(), LineSplitter()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            found.add(line)
        await asyncio.sleep(0)
    for line in lines.close():
        found.add(line)
    return found
