"""Single request lines of a batch, with input and output, for those who asked for a sample of them.

The only place where prompts and answers go to Langfuse. Read from the provider's files in one pass each, in flat memory.
"""

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langfuse import LangfuseOtelSpanAttributes as Names
from opentelemetry.sdk.trace import ReadableSpan

from batchmeter.errors import BatchmeterError

from .observations import Ending, Writer, as_json, metadata

if TYPE_CHECKING:
    from batchmeter import AsyncClient

log = logging.getLogger("batchmeter.langfuse")

Record = dict[str, Any]
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')
_INPUTS = ("messages", "input", "prompt")
_OUTPUTS = ("choices", "output", "results")
_REQUEST_BYTES = 1 << 20
_SECONDS = 20.0
"""For reading; a delivery has 30 in all."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`ratio` of the lines (chosen by batch and custom_id: the same on every delivery), at most `limit` a batch."""

    ratio: float
    limit: int

    async def observations(self, client: "AsyncClient", event: Ending, writer: Writer) -> list[list[ReadableSpan]]:
        """In portions for one request each; fewer or none, with a warning, when a file cannot be read."""
        answers: dict[str, Record] = {}
        asked: dict[str, Record] = {}
        try:
            async with asyncio.timeout(_SECONDS):
                for file_id in (event.batch.output_file_id, event.batch.error_file_id):
                    if file_id:
                        await self._read(client, event.account, file_id, answers, self._chooser(event.batch_id))
                if answers and event.batch.input_file_id:
                    await self._read(client, event.account, event.batch.input_file_id, asked, answers.__contains__)
        except (BatchmeterError, TimeoutError) as error:
            log.warning("batch %s: not all sampled lines could be read: %r", event.batch_id, error)
        spans = [_span(event, writer, name, asked.get(name), answer) for name, answer in answers.items()]
        return list(_portions(spans))

    async def _read(
        self, client: "AsyncClient", account: str, file_id: str, found: dict[str, Record], wanted: Callable[[str], bool]
    ) -> None:
        async with client.files.stream(file_id, custom_llm_provider=account) as content:
            async for line in _lines(content.chunks):
                if len(found) >= self.limit:
                    return
                name = _custom_id(line)
                if name is not None and wanted(name) and name not in found:
                    record = _parsed(line)
                    if record is not None:
                        found[name] = record

    def _chooser(self, batch_id: str) -> Callable[[str], bool]:
        def chosen(custom_id: str) -> bool:
            digest = hashlib.sha256(f"{batch_id}:{custom_id}".encode()).digest()
            return int.from_bytes(digest[:8], "big") < self.ratio * 2**64

        return chosen


def _span(event: Ending, writer: Writer, custom_id: str, asked: Record | None, answer: Record) -> ReadableSpan:
    """No usage and no cost: the generation above has them for all lines together."""
    response = _record(answer.get("response")) or {}
    body: object = response.get("body")
    request: object = (asked or {}).get("body")
    error = answer.get("error")
    model = (_record(body) or {}).get("model")
    about = {
        Names.OBSERVATION_TYPE: "span",
        **metadata({"custom_id": custom_id, "status_code": response.get("status_code"), "model": model}),
    }
    for name, value in (
        (Names.OBSERVATION_INPUT, _part(request, _INPUTS)),
        (Names.OBSERVATION_OUTPUT, _part(body, _OUTPUTS)),
    ):
        if value is not None:
            about[name] = as_json(value)
    if error or response.get("status_code", 200) != 200:  # noqa: PLR2004 - HTTP's OK
        about |= {Names.OBSERVATION_LEVEL: "ERROR", Names.OBSERVATION_STATUS_MESSAGE: as_json(error or body)[:500]}
    above = f"batch:{model}" if model in event.models else ""
    return writer.span(event, custom_id, f"line:{custom_id}", about, above=above)


def _part(body: object, names: tuple[str, ...]) -> object:
    """The part people look for, else the whole."""
    record = _record(body)
    return body if record is None else next((record[name] for name in names if name in record), record)


def _record(value: object) -> Record | None:
    return cast("Record", value) if isinstance(value, dict) else None


def _portions(spans: list[ReadableSpan]) -> Iterator[list[ReadableSpan]]:
    portion: list[ReadableSpan] = []
    size = 0
    for span in spans:
        more = sum(len(str(value)) for value in (span.attributes or {}).values())
        if portion and size + more > _REQUEST_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(span)
        size += more
    if portion:
        yield portion


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest)
            for line in others[:-1]:
                yield line
            rest = [others[-1]]
    yield b"".join(rest)


def _custom_id(line: bytes) -> str | None:
    """Found without decoding the whole line: most lines are not in the sample."""
    match = _CUSTOM_ID.search(line)
    try:
        return str(json.loads(match[1])) if match else None
    except ValueError:
        return None


def _parsed(line: bytes) -> Record | None:
    try:
        return _record(json.loads(line))
    except ValueError:
        return None
