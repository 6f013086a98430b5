"""An account's request budget: a token bucket whose rate halves when the provider says slow down, and creeps back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from .watch import Sleep

RECOVERY = 1.02
"""Growth of the rate with each good answer."""


@dataclass
class Budget:
    """Requests a second, on average; `burst` may go at once."""

    clock: Callable[[], float]
    """Seconds."""
    sleep: Sleep
    most: float = 20.0
    least: float = 1.0
    burst: float = 100.0
    rate: float = field(init=False)
    _tokens: float = field(init=False)
    _at: float = field(init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self.rate = self.most
        self._tokens = self.burst
        self._at = self.clock()

    async def take(self) -> None:
        """Returns when one more request is within the budget; in the order asked."""
        async with self._turn:
            self._refill()
            while self._tokens < 1:
                await self.sleep((1 - self._tokens) / self.rate + 0.001)
                self._refill()
            self._tokens -= 1

    def answered(self) -> None:
        self.rate = min(self.rate * RECOVERY, self.most)

    def refused(self) -> None:
        """429: half the rate, and nothing saved up."""
        self.rate = max(self.rate / 2, self.least)
        self._tokens = min(self._tokens, 1.0)

    def _refill(self) -> None:
        now = self.clock()
        self._tokens = min(self._tokens + max(now - self._at, 0.0) * self.rate, self.burst)
        self._at = now
