"""Single request lines of a batch, with input and output, for those who asked for a sample of them.

The only place where prompts and answers go to Langfuse. Read from the provider's files in one pass each, in flat memory.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan

from batchmeter.errors import BatchmeterError

from . import names
from .about import Ending, as_json, metadata
from .observations import Writer
from .records import Record, custom_id_of, lines_of, parsed, record_of

if TYPE_CHECKING:
    from batchmeter import AsyncClient

log = logging.getLogger("batchmeter.langfuse")

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
            async for line in lines_of(content.chunks):
                if len(found) >= self.limit:
                    return
                name = custom_id_of(line)
                if name is not None and wanted(name) and name not in found:
                    record = parsed(line)
                    if record is not None:
                        found[name] = record

    def _chooser(self, batch_id: str) -> Callable[[str], bool]:
        def chosen(custom_id: str) -> bool:
            digest = hashlib.sha256(f"{batch_id}:{custom_id}".encode()).digest()
            return int.from_bytes(digest[:8], "big") < self.ratio * 2**64

        return chosen


def _span(event: Ending, writer: Writer, custom_id: str, asked: Record | None, answer: Record) -> ReadableSpan:
    """No usage and no cost: the generation above has them for all lines together."""
    response = record_of(answer.get("response")) or {}
    body: object = response.get("body")
    request: object = (asked or {}).get("body")
    error = answer.get("error")
    model = (record_of(body) or {}).get("model")
    about = {
        names.OBSERVATION_TYPE: "span",
        **metadata({"custom_id": custom_id, "status_code": response.get("status_code"), "model": model}),
    }
    for name, value in (
        (names.OBSERVATION_INPUT, _part(request, _INPUTS)),
        (names.OBSERVATION_OUTPUT, _part(body, _OUTPUTS)),
    ):
        if value is not None:
            about[name] = as_json(value)
    if error or response.get("status_code", 200) != 200:  # noqa: PLR2004 - HTTP's OK
        about |= {names.OBSERVATION_LEVEL: "ERROR", names.OBSERVATION_STATUS_MESSAGE: as_json(error or body)[:500]}
    above = f"batch:{model}" if model in event.models else ""
    return writer.span(event, custom_id, f"line:{custom_id}", about, above=above)


def _part(body: object, names: tuple[str, ...]) -> object:
    """The part people look for, else the whole."""
    record = record_of(body)
    return body if record is None else next((record[name] for name in names if name in record), record)


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
