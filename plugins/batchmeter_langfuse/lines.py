"""Single request lines of a batch, with input and output, for those who asked for a sample of them.

The only place where prompts and answers go to Langfuse. Read from the provider's files in one pass each, in flat memory.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batchmeter.errors import BatchmeterError

from .about import Ending
from .records import Record, custom_id_of, lines_of, parsed, record_of

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

log = logging.getLogger("batchmeter.langfuse")

_INPUTS = ("messages", "input", "prompt")
_OUTPUTS = ("choices", "output", "results")
_SECONDS = 15.0
"""For reading; a delivery has 30 in all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request and its answer."""

    custom_id: str
    asked: Record | None = field(repr=False)
    answer: Record = field(repr=False)

    @property
    def size(self) -> int:
        return len(str(self.asked)) + len(str(self.answer))

    @property
    def model(self) -> str | None:
        model: str | None = (record_of(self._body) or {}).get("model")
        return model

    def about(self) -> dict[str, Any]:
        """The observation as the SDK is to send it."""
        status = self._response.get("status_code")
        error = self.answer.get("error")
        told: dict[str, Any] = {
            "input": _part((self.asked or {}).get("body"), _INPUTS),
            "output": _part(self._body, _OUTPUTS),
            "metadata": {"custom_id": self.custom_id, "status_code": status, "model": self.model},
        }
        if error or status not in (None, 200):
            message = json.dumps(error or self._body, ensure_ascii=False, separators=(",", ":"))
            told |= {"level": "ERROR", "status_message": message[:500]}
        return told

    @property
    def _response(self) -> Record:
        return record_of(self.answer.get("response")) or {}

    @property
    def _body(self) -> object:
        return self._response.get("body")


@dataclass(frozen=True, slots=True)
class Sample:
    """`ratio` of the lines (chosen by batch and custom_id: the same on every delivery), at most `limit` a batch."""

    ratio: float
    limit: int

    async def lines(self, host: "PluginHost", event: Ending) -> list[Line]:
        """Fewer or none, with a warning, when a file cannot be read."""
        answers: dict[str, Record] = {}
        asked: dict[str, Record] = {}
        try:
            async with asyncio.timeout(_SECONDS):
                for file_id in (event.batch.output_file_id, event.batch.error_file_id):
                    if file_id:
                        await self._read(host, event.account, file_id, answers, self._chooser(event.batch_id))
                if answers and event.batch.input_file_id:
                    await self._read(host, event.account, event.batch.input_file_id, asked, answers.__contains__)
        except (BatchmeterError, TimeoutError) as error:
            log.warning("batch %s: not all sampled lines could be read: %r", event.batch_id, error)
        return [Line(name, asked.get(name), answer) for name, answer in answers.items()]

    async def _read(
        self, host: "PluginHost", account: str, file_id: str, found: dict[str, Record], wanted: Callable[[str], bool]
    ) -> None:
        async with host.stream_file(account, file_id) as chunks:
            async for line in lines_of(chunks):
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


def _part(body: object, names: tuple[str, ...]) -> object:
    """The part people look for, else the whole."""
    record = record_of(body)
    return body if record is None else next((record[name] for name in names if name in record), record)
