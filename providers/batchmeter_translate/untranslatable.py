"""The verdict of a translation on a request: what cannot be said to the vendor, and what was left out."""

import logging
from dataclasses import dataclass, field

log = logging.getLogger("batchmeter.translate")


class UntranslatableError(ValueError):
    """One request cannot become a row; it turns into a Problem with its line and custom_id."""

    def __init__(self, param: str, message: str, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(slots=True)
class Notes:
    """Parameters left out over a whole file: first line, how often, why."""

    line: int = 0
    """The line that is being translated."""
    _dropped: dict[str, tuple[int, int, str]] = field(default_factory=dict[str, tuple[int, int, str]])

    def drop(self, param: str, why: str) -> None:
        first, times, _ = self._dropped.get(param, (self.line, 0, why))
        self._dropped[param] = (first, times + 1, why)

    def lines(self) -> list[str]:
        return [
            f"`{param}` left out of {times} request{'s' if times > 1 else ''} (first: line {first}): {why}"
            for param, (first, times, why) in self._dropped.items()
        ]
