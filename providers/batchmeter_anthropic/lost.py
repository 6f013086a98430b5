"""Creates whose answer was lost: found among the batches that nobody knows, by time, number of requests and their ids.

Anthropic keeps nothing of ours with a batch. One that was made while a create was under way and has as many requests may
be its batch, and may be a stranger's, also where it is the only such one. Its answers tell, by their custom_ids: so it is
adopted once it has ended, and until then nobody is sure.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec

from batchmeter.errors import NotFoundError, ProviderError
from batchmeter.providers import CallOptions
from batchmeter_spool.notes import BatchNote, IdsDigest, Notes
from batchmeter_translate.lines import Lines
from batchmeter_translate.shape import Json

from .batches import MOST_LISTED, MessageBatches
from .states import total_of

SKEW_SECONDS = 120.0
"""How far Anthropic's clock may be behind ours."""
_MOST_PAGES = 20


class _Row(msgspec.Struct):
    custom_id: str


_decode = msgspec.json.Decoder(_Row).decode


class LostCreates:
    """Joins notes of one account with its batches."""

    def __init__(self, notes: Notes, batches: MessageBatches, seconds: float) -> None:
        """`seconds`: how long a create may be under way."""
        self._notes = notes
        self._batches = batches
        self._seconds = seconds
        self._others: set[tuple[str, str]] = set()
        """Key of a note and a batch whose answers are those of other requests."""
        self.unsure = False
        """At the last look a batch was running that may be a lost create's."""

    async def join(self, newest: Sequence[Json], more: bool, options: CallOptions) -> None:
        """`newest` begins the list, and there may be `more`."""
        waiting = await self._notes.waiting()
        self.unsure = False
        if not waiting:
            self._others.clear()
            return
        rows = await self._back_to(min(note.at for note in waiting.values()), newest, more, options)
        known = await self._notes.of([str(row["id"]) for row in rows])
        strangers = [row for row in rows if row["id"] not in known]
        for key, note in sorted(waiting.items(), key=lambda item: item[1].at):
            fitting = [row for row in strangers if self._fits(note, row)]
            row = await self._proven(key, note, fitting, options)
            if row is not None:
                strangers.remove(row)
                await self._notes.close(key, str(row["id"]))
            self.unsure |= row is None and any(one.get("processing_status") != "ended" for one in fitting)

    async def _back_to(self, at: float, newest: Sequence[Json], more: bool, options: CallOptions) -> list[Json]:
        rows = [row for row in newest if row.get("id")]
        for _ in range(_MOST_PAGES):
            if not more or not rows or _made_at(rows[-1]) < at - SKEW_SECONDS:
                break
            page, more = await self._batches.page(str(rows[-1]["id"]), MOST_LISTED, options)
            rows += [row for row in page if row.get("id")]
        return rows

    async def _proven(self, key: str, note: BatchNote, rows: Sequence[Json], options: CallOptions) -> Json | None:
        """The ended batch with the answers to the note's requests; of several the one nearest in time."""
        for row in sorted(rows, key=lambda row: abs(_made_at(row) - note.at)):
            pair = key, str(row["id"])
            if row.get("processing_status") != "ended" or pair in self._others:
                continue
            found = await self._answers(row, note, options)
            if found:
                return row
            if found is False:
                self._others.add(pair)
        return None

    def _fits(self, note: BatchNote, row: Json) -> bool:
        return (
            total_of(row) == note.requests
            and note.at - SKEW_SECONDS <= _made_at(row) <= note.at + self._seconds + SKEW_SECONDS
        )

    async def _answers(self, row: Json, note: BatchNote, options: CallOptions) -> bool | None:
        """Whether a batch's results are those of the note's requests; None: they cannot be read now."""
        digest, lines = IdsDigest(), Lines()
        try:
            async with self._batches.results(str(row["id"]), options) as content:
                async for chunk in content.chunks:
                    await asyncio.to_thread(_add, digest, lines.feed(chunk))
        except NotFoundError:
            return False
        except ProviderError:
            return None
        _add(digest, lines.close())
        return digest.text == note.ids_digest


def _add(digest: IdsDigest, lines: Sequence[bytes | None]) -> None:
    for line in lines:
        if line and line.strip():
            try:
                digest.add(_decode(line).custom_id)
            except msgspec.MsgspecError:
                digest.add("")


def _made_at(row: Json) -> float:
    try:
        return datetime.fromisoformat(str(row.get("created_at"))).timestamp()
    except ValueError:
        return 0.0
