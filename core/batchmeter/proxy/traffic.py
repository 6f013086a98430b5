"""How many requests this process has answered, by route and status."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Traffic:
    """Every label is from a fixed set, whatever strangers send."""

    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter[tuple[str, str, int]])
    """(method, route, status) -> number."""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))
    """Route -> time from the first byte of a request to the last of its answer."""

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """`route` is None for what fits none."""
        known = route or "other"
        self.requests[method if method in _METHODS else "OTHER", known, status] += 1
        self.seconds[known] += seconds
