"""Whether an account's webhooks can be relied on: learned from endings, forgotten at the first one they miss."""

from dataclasses import dataclass, field

from batchmeter.models import Batch

RELIABLE = 20
"""Endings in a row that a webhook told first, before polls become rare."""
LATE = 60.0
"""Seconds after an ending: who finds it only then by polling was told nothing."""
_MOST = 10_000


@dataclass
class Hints:
    """By account, of this process: one that no webhook reaches polls as ever, and so does one that was just started."""

    _in_a_row: dict[str, int] = field(default_factory=dict[str, int])
    _told: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    """The newest that were told, whose endings polls may still find."""

    def told(self, account: str, batch_id: str) -> None:
        """A webhook says that a batch ended which nobody has seen end."""
        if (account, batch_id) not in self._told:
            self._told[account, batch_id] = None
            self._in_a_row[account] = self._in_a_row.get(account, 0) + 1
            if len(self._told) > _MOST:
                del self._told[next(iter(self._told))]

    def found(self, account: str, batch: Batch, now: float) -> None:
        """A poll saw this ending first, unless it was told."""
        ended = batch.ended_at
        if (account, batch.id) not in self._told and ended is not None and now - ended > LATE:
            self._in_a_row[account] = 0

    def will_tell(self, account: str, batch_id: str) -> bool:
        """Whether a webhook is expected to tell of this batch's end; one that has told will not tell again."""
        return self._in_a_row.get(account, 0) >= RELIABLE and (account, batch_id) not in self._told
