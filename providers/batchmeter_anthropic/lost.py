"""Creates whose answer was lost: found among the batches that nobody knows, by time, number of requests and their ids.

Anthropic keeps nothing of ours with a batch. One that was made while a create was under way, has as many requests and is
the only such one is its batch. Where several fit, the answers tell after the end, by the custom_ids; nothing is guessed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from batchmeter.errors import ProviderError
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

    async def join(self, newest: Sequence[Json], more: bool, options: CallOptions) -> None:
        """`newest` begins the list, and there may be `more`."""
        waiting = await self._notes.waiting()
        if not waiting:
            return
        rows = await self._back_to(min(note.at for note in waiting.values()), newest, more, options)
        known = await self._notes.of([str(row["id"]) for row in rows])
        strangers = [row for row in rows if row["id"] not in known]
        for key, batch_id in (await self._matched(waiting, strangers, options)).items():
            await self._notes.close(key, batch_id)

    async def _back_to(self, at: float, newest: Sequence[Json], more: bool, options: CallOptions) -> list[Json]:
        rows = [row for row in newest if row.get("id")]
        for _ in range(_MOST_PAGES):
            if not more or not rows or _made_at(rows[-1]) < at - SKEW_SECONDS:
                break
            page, more = await self._batches.page(str(rows[-1]["id"]), MOST_LISTED, options)
            rows += [row for row in page if row.get("id")]
        return rows

    async def _matched(
        self, waiting: Mapping[str, BatchNote], rows: Sequence[Json], options: CallOptions
    ) -> dict[str, str]:
        fitting = {key: [row for row in rows if self._fits(note, row)] for key, note in waiting.items()}
        claims = [row["id"] for candidates in fitting.values() for row in candidates]
        found: dict[str, str] = {}
        for key, candidates in fitting.items():
            if len(candidates) == 1 and claims.count(candidates[0]["id"]) == 1:
                found[key] = str(candidates[0]["id"])
                continue
            for row in candidates:
                if row["id"] not in found.values() and await self._answers(row, waiting[key], options):
                    found[key] = str(row["id"])
                    break
        return found

    def _fits(self, note: BatchNote, row: Json) -> bool:
        return (
            total_of(row) == note.requests
            and note.at - SKEW_SECONDS <= _made_at(row) <= note.at + self._seconds + SKEW_SECONDS
        )

    async def _answers(self, row: Json, note: BatchNote, options: CallOptions) -> bool:
        """Whether an ended batch's results are those of the note's requests."""
        if row.get("processing_status") != "ended":
            return False
        digest, lines = IdsDigest(), Lines()
        try:
            async with self._batches.results(str(row["id"]), options) as content:
                async for chunk in content.chunks:
                    await asyncio.to_thread(_add, digest, lines.feed(chunk))
        except ProviderError:
            return False
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
