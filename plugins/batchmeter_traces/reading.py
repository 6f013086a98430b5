"""Reads a finished batch's files once more and keeps the chosen lines in a temporary file. Memory holds their places."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from batchmeter.errors import NotFoundError
from batchmeter.events import BatchFailed, BatchSucceeded
from batchmeter.reports.line_costs import LinePricer, PricedLine, RequestLines

from .sample import Choice, LineSample, Reason, place

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

log = logging.getLogger("batchmeter.traces")

Ending = BatchSucceeded | BatchFailed
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://batchmeter.dev/lines")
_SLICE = 128 * 1024
"""Bytes read at one go off the event loop: some milliseconds."""
_ELSEWHERE = ("https://", "http://")
"""Begins a file's id that is an address in somebody's own storage: no credential goes there."""


def line_id(account: str, batch_id: str, custom_id: str) -> str:
    """A UUIDv5: the same line has the same id in every delivery and revision."""
    name = f"{account}\x1f{batch_id}\x1f{custom_id}".encode("utf-8", "replace").decode()
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True)
class Bytes:
    """The place of a line in the spool."""

    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """A line of the sample."""

    line: PricedLine
    """Without its bytes."""
    custom_id: str
    answer: Bytes | None
    request: Bytes | None = None


@dataclass(slots=True)
class Reading:
    """The files of one batch, one after the other."""

    event: Ending
    sample: LineSample
    spool: IO[bytes]
    total: int = 0
    failed: int = 0
    unavailable: list[str] = field(default_factory=list[str])
    _end: int = 0

    async def answers(self, host: "PluginHost") -> list[tuple[Reason, Chosen]]:
        """From the output and error files."""
        choice, pricer, batch = Choice[Chosen](self.sample), LinePricer(self.event), self.event.batch
        files = {batch.error_file_id: "error", batch.output_file_id: "output"}
        for file_id, kind in reversed(files.items()):
            if file_id:
                await self._each(host, kind, file_id, lambda chunk: self._offer(choice, pricer.feed(chunk)))
                await asyncio.to_thread(lambda: self._offer(choice, pricer.end_file()))
        return await asyncio.to_thread(lambda: list(choice.chosen()))

    async def with_requests(
        self, host: "PluginHost", chosen: list[tuple[Reason, Chosen]]
    ) -> list[tuple[Reason, Chosen]]:
        """The same lines, each with its request from the input file."""
        file_id, found = self.event.batch.input_file_id, dict[str, Bytes]()
        wanted, reader = {one.custom_id for _, one in chosen}, RequestLines(self.event.provider)

        def take(lines: list[tuple[str, bytes]]) -> None:
            for custom_id, raw in lines:
                if custom_id in wanted and custom_id not in found:
                    found[custom_id] = self._keep(raw)

        if file_id and wanted:
            await self._each(host, "input", file_id, lambda chunk: take(reader.feed(chunk)))
            await asyncio.to_thread(lambda: take(reader.end_file()))
        return await asyncio.to_thread(
            lambda: [(reason, replace(one, request=found.get(one.custom_id))) for reason, one in chosen]
        )

    async def _each(self, host: "PluginHost", kind: str, file_id: str, take: Callable[[bytes], None]) -> None:
        """Off the event loop, in slices. A file that is gone is noted: nobody will ever read it."""
        if file_id.startswith(_ELSEWHERE):
            self._gone(f"the {kind} file is in your own storage, which batchmeter does not read")
            return
        held: list[bytes] = []
        try:
            async with host.stream_file(self.event.account, file_id) as chunks:
                async for chunk in chunks:
                    held.append(chunk)
                    if sum(map(len, held)) >= _SLICE:
                        await asyncio.to_thread(_feed, take, held)
                await asyncio.to_thread(_feed, take, held)
        except NotFoundError:
            self._gone(f"the {kind} file {file_id} is gone at its provider")

    def _gone(self, why: str) -> None:
        self.unavailable.append(why)
        log.info("batch %s: no request lines of it are sent: %s", self.event.batch_id, why)

    def _offer(self, choice: Choice[Chosen], lines: list[PricedLine]) -> None:
        for line in lines:
            self.total += 1
            failed = line.failure is not None
            self.failed += failed
            custom_id = f"#{self.total}" if line.custom_id is None else line.custom_id
            drawn = place(self.event.account, self.event.batch_id, custom_id)
            rank = choice.wanted(drawn, failed=failed, cost=line.cost, tokens=line.tokens)
            if rank:
                kept = self._keep(line.raw) if self.sample.content else None
                choice.add(rank, custom_id, Chosen(replace(line, raw=b""), custom_id, kept))

    def _keep(self, raw: bytes) -> Bytes:
        """Too large a line is left out anyway."""
        if len(raw) <= self.sample.content_bytes:
            self.spool.seek(self._end)
            self.spool.write(raw)
            self._end += len(raw)
        return Bytes(self._end - len(raw), len(raw))

    def bytes_of(self, kept: Bytes | None) -> bytes | None:
        """None where it was too large."""
        if kept is None or kept.size > self.sample.content_bytes:
            return None
        self.spool.seek(kept.at)
        return self.spool.read(kept.size)


def _feed(take: Callable[[bytes], None], held: list[bytes]) -> None:
    for chunk in held:
        for start in range(0, len(chunk), _SLICE):
            take(chunk[start : start + _SLICE])
    held.clear()
