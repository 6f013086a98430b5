"""Repeated rows: the vendor's habit tells whether they are one answer or several."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from .dialects import Answer
from .result import Tally

MAX_IDS = 250_000
"""Ids remembered to notice repeats: about 16 MB."""


class Repeats:
    """Remembers the rows of a job by the hash of their id.

    A row that is there twice in one file was asked for twice, and is billed so, unless its vendor exports rows again.
    In another file of the same job it is a second copy: by its id where the vendor exports incrementally, else only
    when it is the same to the byte, because several batches may share ids.
    """

    def __init__(self, tally: Tally, habit: Literal["no", "files", "ids"], *, many_files: bool) -> None:
        self._tally = tally
        self._habit = habit
        self.is_by_id = habit == "no" and not many_files
        """True where a row's id alone, without its bytes, tells that the row is a repeat."""
        self._ids: set[int] = set()
        self._earlier: set[int] = set()
        self._rows: dict[int, int] = {}
        """Hash of the id -> hash of the row."""
        self._failed: dict[int, str] = {}

    def has(self, answer: Answer, raw: bytes | bytearray) -> bool:
        """Whether this row must not be counted."""
        if answer.custom_id is None:
            return False
        identity = hash(answer.custom_id)
        if not self.is_by_id:
            return self._is_copy(identity, answer.failure, raw)
        if identity in self._ids:
            self._tally.duplicates += 1
        else:
            self._remember(identity)
        return False

    def has_none(self, custom_ids: Sequence[str | None]) -> bool:
        """Whether none of these was seen before; they are then remembered. False says nothing of any."""
        new = {hash(custom_id) for custom_id in custom_ids if custom_id is not None}
        ids = self._ids
        if not self.is_by_id or len(new) != len(custom_ids) or not ids.isdisjoint(new):
            return False
        if len(ids) >= MAX_IDS:
            self._tally.notes["duplicates_not_checked"] += len(new)
            return True
        if len(ids) + len(new) > MAX_IDS:
            return False
        ids |= new
        return True

    def end_file(self) -> None:
        if not self.is_by_id:
            self._earlier |= self._ids
            self._ids = set()

    def _remember(self, identity: int) -> None:
        if len(self._ids) + len(self._earlier) < MAX_IDS:
            self._ids.add(identity)
        else:
            self._tally.notes["duplicates_not_checked"] += 1

    def _is_copy(self, identity: int, failure: str | None, raw: bytes | bytearray) -> bool:
        row = hash(bytes(raw))
        again = identity in self._earlier or identity in self._ids
        same = again and self._rows.get(identity) == row
        if identity in self._earlier and (same or self._habit != "no"):
            return self._exported_again(identity, failure)
        if identity in self._ids:
            if self._habit == "ids" or (self._habit == "files" and same):
                return self._exported_again(identity, failure)
            self._tally.duplicates += 1
        elif not again:
            self._remember(identity)
            if len(self._rows) < MAX_IDS:
                self._rows[identity] = row
        if failure is not None:
            self._failed[identity] = failure
        return False

    def _exported_again(self, identity: int, failure: str | None) -> bool:
        """A row that failed at first and then was answered is an answer."""
        tally = self._tally
        first = self._failed.pop(identity, None) if failure is None else None
        if first is None:
            tally.repeated += 1
            return True
        tally.total -= 1
        tally.failed -= 1
        tally.failures -= Counter([first])
        return False
