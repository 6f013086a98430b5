"""Points that add up where they arrive are sent once, by whichever process: distribution points, and an agent's counts.

That it is being sent is written into the ledger first, and only an answer that refuses it takes that back. Where the
answer is lost, or the process killed, it may be missing: percentiles forgive one batch less, not one twice.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from batchmeter.errors import APIConnectionError, APIResponseError, APIStatusError, RetryLater

from .answers import Answers, Memory


@dataclass
class Once:
    scope: str
    answers: Answers = field(default_factory=Memory)

    async def __call__(self, event_id: str, send: Callable[[], Awaitable[None]]) -> None:
        """Calls `send`, unless an earlier call may have had success."""
        if not await self.answers.once(self.scope, event_id):
            return
        try:
            await send()
        except Exception as error:
            if _refused(error):
                await self.answers.not_once(self.scope, event_id)
            raise


def _refused(error: Exception) -> bool:
    """All of it: an error status, somebody else's page, a request that never left. Not a 202 that names errors."""
    if isinstance(error, APIConnectionError):
        return error.never_sent
    return isinstance(error, APIStatusError | APIResponseError | RetryLater) or isinstance(
        error.__cause__, APIStatusError
    )
