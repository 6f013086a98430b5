"""The lines of a finished batch: its answers as they stand in its files, and each beside the request that it answers."""

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import IO, Any

from batchmeter.errors import NotFoundError, UsageError
from batchmeter.metering.envelope import look_for
from batchmeter.models import Batch
from batchmeter.providers import CallOptions, ContentStream, OutputFile, Provider

from .result import Result, better, no_answer

Open = Callable[[], AbstractAsyncContextManager[ContentStream]]
_SLICE = 200
"""Lines between two turns of the event loop: about a millisecond."""
LONG = 256 * 1024
"""Bytes of a line (an image in it) whose parsing would hold up the event loop."""
_BLOCK = 256 * 1024


def opened_by(provider: Provider, batch: Batch, files: Sequence[OutputFile]) -> list[Open]:
    """The answers in the words of the input: a vendor's own rows may carry ids, and parts of requests, of its making."""
    if not provider.capabilities.native_lines:
        return [file.open for file in files if file.kind != "manifest"]
    views = [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id and files]
    return [partial(provider.file_content, file_id, CallOptions()) for file_id in views]


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Byte for byte, unlike metering's, which leaves out the inside of long strings; without blank lines."""
    held: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            held.append(line)
            whole = b"".join(held)
            held.clear()
            if whole.strip():
                yield whole
        held.append(rest)
    if (last := b"".join(held)).strip():
        yield last


async def answer_lines(provider: Provider, batch: Batch) -> AsyncGenerator[bytes]:
    """Each line of the output, then of the errors, as the provider wrote it. NotFoundError where they are gone."""
    number = 0
    try:
        for open_file in opened_by(provider, batch, await provider.outputs(batch)):
            async with open_file() as content, aclosing(lines_of(content.chunks)) as lines:
                async for line in lines:
                    number += 1
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)
                    yield line
    except NotFoundError as gone:
        gone.add_note(
            f"the answers of batch {batch.id} are gone at its provider; batchmeter keeps what they cost, only"
        )
        raise


def input_of(batch: Batch, input_file_id: str | None) -> str:
    """The file that tells what it was asked, which the batch shows, or else its submission named."""
    file_id = batch.input_file_id or input_file_id
    if file_id is None:
        raise UsageError(f"batch {batch.id} names no input file: what it was asked is not known")
    if file_id.startswith(("https://", "http://")):  # anybody's address may stand here: no credential goes there
        where = file_id.partition("?")[0]
        raise UsageError(
            f"batch {batch.id}: its input is in your own storage ({where}), which batchmeter does not read"
        )
    return file_id


async def requests(
    provider: Provider, batch: Batch, input_file_id: str | None
) -> AsyncGenerator[tuple[bytes, str | None]]:
    """Each line of the input as it was sent, with its custom_id, where it has one. One line in memory."""
    file_id, number, look = input_of(batch, input_file_id), 0, look_for(provider.name)
    async with provider.file_content(file_id, CallOptions()) as content, aclosing(lines_of(content.chunks)) as lines:
        async for raw in lines:
            number += 1
            if number % _SLICE == 0:
                await asyncio.sleep(0)
            yield raw, look.request_id(raw)


async def joined_lines(
    provider: Provider, batch: Batch, input_file_id: str | None
) -> AsyncGenerator[tuple[str, bytes, bytes | None]]:
    """(custom_id, request line, answer line or None), in the input's order; lines without an id are left out.

    The answers lie in a temporary file meanwhile; memory holds their ids and places, some 150 bytes each.
    """
    input_of(batch, input_file_id)
    with tempfile.TemporaryFile(prefix="batchmeter-") as spool:
        places, held, size = await _spooled(provider, batch, spool), list[tuple[str, bytes]](), 0
        async with aclosing(requests(provider, batch, input_file_id)) as inputs:
            async for request, custom_id in inputs:
                if custom_id is None:
                    continue
                held.append((custom_id, request))
                size += len(request) + places.get(custom_id, (0, 0))[1]
                if size > _BLOCK or len(held) == _SLICE:
                    for row in await asyncio.to_thread(_beside, spool, places, held):
                        yield row
                    held, size = [], 0
        for row in await asyncio.to_thread(_beside, spool, places, held):
            yield row


async def _spooled(provider: Provider, batch: Batch, spool: IO[bytes]) -> dict[str, tuple[int, int]]:
    """custom_id -> place and length of its answer in the spool; of two answers the good one."""
    places: dict[str, tuple[int, int]] = {}
    failed: set[str] = set()
    look, block, end = look_for(provider.name), bytearray(), 0
    async with aclosing(answer_lines(provider, batch)) as lines:
        async for line in lines:
            answer = look.answer(line)
            if answer is None or answer.custom_id is None:
                continue
            custom_id = answer.custom_id
            if custom_id in places and (answer.failure is not None or custom_id not in failed):
                continue
            (failed.discard if answer.failure is None else failed.add)(custom_id)
            places[custom_id] = (end, len(line))
            block += line
            end += len(line)
            if len(block) > _BLOCK:
                await asyncio.to_thread(spool.write, bytes(block))
                block.clear()
    await asyncio.to_thread(spool.write, bytes(block))
    await asyncio.to_thread(spool.flush)
    return places


def _beside(
    spool: IO[bytes], places: Mapping[str, tuple[int, int]], held: Sequence[tuple[str, bytes]]
) -> list[tuple[str, bytes, bytes | None]]:
    rows: list[tuple[str, bytes, bytes | None]] = []
    for custom_id, request in held:
        answer = None
        if place := places.get(custom_id):
            spool.seek(place[0])
            answer = spool.read(place[1])
        rows.append((custom_id, request, answer))
    return rows


async def results_of(lines: AsyncIterator[bytes]) -> AsyncGenerator[Result]:
    """Lines that cannot be read are left out."""
    async for line in lines:
        result = await asyncio.to_thread(Result.read, line) if len(line) > LONG else Result.read(line)
        if result is not None:
            yield result


async def answers_by_id(provider: Provider, batch: Batch) -> dict[str, Result]:
    """Of two answers to one request the good one, in the order of the files. All in memory."""
    found: dict[str, Result] = {}
    async with aclosing(answer_lines(provider, batch)) as lines:
        async for result in results_of(lines):
            found[result.custom_id] = better(found.get(result.custom_id), result)
    return found


async def lines_by_request(provider: Provider, batch: Batch, input_file_id: str | None) -> AsyncGenerator[bytes]:
    """A line for each request, in the input's order: its answer's, or one with an error, and the member `request`."""
    async with aclosing(joined_lines(provider, batch, input_file_id)) as rows:
        async for custom_id, request, answer in rows:
            long = len(request) + len(answer or b"") > LONG
            given = (custom_id, request, answer, batch)
            yield await asyncio.to_thread(_line, *given) if long else _line(*given)


def _line(custom_id: str, request: bytes, answer: bytes | None, batch: Batch) -> bytes:
    given: Any = json.loads(request)
    row: Any = json.loads(answer) if answer else {"custom_id": custom_id, "response": None, "error": no_answer(batch)}
    line = {**row, "custom_id": custom_id, "request": given.get("body") if "url" in given else given}
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass")
