"""A clock for tests, that stands still until it is told to go on."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class ManualClock:
    """Pass it as the engine's `clock`."""

    now: float = field(default_factory=time.time)
    """Epoch seconds."""

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
