"""A request's body as it comes in: with patience, but not forever, and not more than there is room for."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from .errors import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive


class TooSlowError(Refusal):
    """The client sends too little; nothing more is read from it."""


class TooLargeError(Refusal):
    """The client sends too much; nothing more is read from it."""


@dataclass(slots=True)
class Incoming:
    """The body's bytes, with limits on size, silence and time."""

    receive: "Receive"
    room: int
    """Bytes that may still come."""
    full: TooLargeError
    """Raised when there are more."""
    seconds: float
    """For the whole body."""
    idle_seconds: float
    """For its next piece."""
    ended: bool = field(default=False, init=False)
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self.seconds

    async def read(self) -> bytes:
        """The next piece; empty at the end. ClientDisconnect when there is nobody any more."""
        while not self.ended:
            message = await self._message()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self.room -= len(piece)
            if self.room < 0:
                raise self.full
            if piece:
                return piece
        return b""

    async def whole(self) -> bytes:
        """All that is left."""
        raw = bytearray()
        while piece := await self.read():
            raw += piece
        return bytes(raw)

    async def _message(self) -> Any:
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(self.idle_seconds, left)):
                return await self.receive()
        except TimeoutError:
            raise TooSlowError(
                408,
                "The request's body came too slowly; try again.",
                code="request_timeout",
                headers={"connection": "close"},
            ) from None
