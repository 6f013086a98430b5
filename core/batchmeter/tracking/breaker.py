"""A breaker: after failures in a row, leave an account or a logger alone for a while that doubles, then probe once."""

from dataclasses import dataclass

from .schedule import Random


@dataclass(slots=True)
class Breaker:
    """Times are seconds on whatever clock the caller uses."""

    random: Random
    threshold: int = 5
    """Failures in a row that open it."""
    first: float = 5.0
    longest: float = 300.0
    failures: int = 0
    open_until: float = 0.0
    _opened: int = 0

    def allows(self, now: float) -> bool:
        return now >= self.open_until

    @property
    def probing(self) -> bool:
        """It was open: let one through and see."""
        return self._opened > 0

    def success(self) -> None:
        self.failures = self._opened = 0
        self.open_until = 0.0

    def failure(self, now: float, *, retry_after: float | None = None, at_once: bool = False) -> None:
        """Count it; `at_once` opens whatever the count (a refused key, a rate limit)."""
        if now < self.open_until:  # of a call that was under way when it opened
            self.open_until = max(self.open_until, now + (retry_after or 0.0))
            return
        self.failures += 1
        if at_once or self.probing or self.failures >= self.threshold:
            self._open(now, retry_after or 0.0)

    def _open(self, now: float, retry_after: float) -> None:
        wait = min(self.first * 2.0 ** min(self._opened, 30), self.longest) * (0.75 + 0.5 * self.random())
        self._opened += 1
        self.open_until = max(self.open_until, now + max(wait, retry_after))
