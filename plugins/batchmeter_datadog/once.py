"""Distribution points add up where they arrive, so a batch's are sent once, by whichever process.

That they are being sent is written into the ledger first, and only an answer that refuses them takes it back. Where the
answer is lost, or the process killed, they may be missing: percentiles forgive one batch less, not one twice.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchmeter.errors import APIConnectionError, APIResponseError, APIStatusError, RetryLater

if TYPE_CHECKING:
    from batchmeter.ledger.port import Ledger

_SCOPE = "datadog samples"
_FOR_GOOD = 10 * 365 * 86400.0
"""Seconds: until the ledger forgets the batch."""
_REMEMBERED = 10_000


@dataclass
class Once:
    ledger: "Ledger | None" = None
    """Set at startup; without it (the class used by hand) what was sent is known to this object alone."""
    _sent: "OrderedDict[str, None]" = field(default_factory=OrderedDict[str, None])

    async def __call__(self, event_id: str, send: Callable[[], Awaitable[None]]) -> None:
        """Calls `send`, unless an earlier call may have had success."""
        if not await self._begin(event_id):
            return
        try:
            await send()
        except Exception as error:
            if _refused(error):
                await self._take_back(event_id)
            raise

    async def _begin(self, event_id: str) -> bool:
        if self.ledger is not None:
            answer = await self.ledger.reserve_answer(_SCOPE, event_id, lease_seconds=_FOR_GOOD)
            return answer.state == "mine"
        known = event_id in self._sent
        self._sent[event_id] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return not known

    async def _take_back(self, event_id: str) -> None:
        self._sent.pop(event_id, None)
        if self.ledger is not None:
            await self.ledger.drop_answer(_SCOPE, event_id)


def _refused(error: Exception) -> bool:
    """All of it: an error status, somebody else's page, a request that never left. Not a 202 that names errors."""
    if isinstance(error, APIConnectionError):
        return error.never_sent
    return isinstance(error, APIStatusError | APIResponseError | RetryLater) or isinstance(
        error.__cause__, APIStatusError
    )
