"""The verdict on a batch input file."""

from dataclasses import dataclass

from batchmeter.errors import InvalidInputError, Problem


@dataclass(frozen=True, slots=True)
class InputSummary:
    """What a file holds, and what is wrong with it."""

    bytes: int
    lines: int
    """Requests: blank lines do not count."""
    models: tuple[str, ...]
    endpoint: str | None
    problems: tuple[Problem, ...]
    """The first 20 reasons for which the provider would refuse the file."""
    more: int = 0
    """How many problems there are beyond `problems`."""
    warnings: tuple[Problem, ...] = ()
    """The first 20 oddities: accepted, though not by every JSON reader."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def check(self, source: str) -> None:
        """Raises InvalidInputError, naming `source`, when there are problems."""
        if self.problems:
            raise InvalidInputError(source, self.problems, self.more)
