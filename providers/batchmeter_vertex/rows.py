"""OpenAI lines in, Vertex AI rows out, as a stream: flat memory, off the event loop, every fault by line and custom_id."""

import asyncio
import time
from typing import Any

from batchmeter.errors import InvalidInputError, Problem, UsageError
from batchmeter.inputs import MAX_PROBLEMS, InputChecker, InputLimits
from batchmeter_translate import ids
from batchmeter_translate.claude_request import claude_request
from batchmeter_translate.embedding_request import embedding_rows
from batchmeter_translate.gemini_request import gemini_request
from batchmeter_translate.lines import Lines, decode, encode_strictly
from batchmeter_translate.shape import Json, is_object, mapping
from batchmeter_translate.untranslatable import Notes, UntranslatableError, log

from .importer import Importer
from .names import model_name, model_resource, publisher
from .states import CHAT, EMBEDDINGS

LIMITS = InputLimits(
    bytes=1_000_000_000,
    lines=200_000,
    embedding_inputs=200_000,
    endpoints=frozenset({CHAT, EMBEDDINGS}),
)
"""What Vertex AI takes in one job."""

SLICE = 64 * 1024
"""Bytes checked at once."""
TURN_SECONDS = 0.001
REST_SECONDS = 0.00005
"""Not 0: without a pause this thread has the interpreter back before any other could take it."""


class RowWriter:
    """One file's translation."""

    def __init__(self, source: str, safety: list[dict[str, str]]) -> None:
        self._source = source
        self._safety = safety
        self._checker = InputChecker(limits=LIMITS)
        self._lines = Lines()
        self._importer = Importer()
        self._notes = Notes()
        self._problems: list[Problem] = []
        self._more = 0
        self._number = 0
        self.resource = ""
        """The model as the job will name it, once a line told."""
        self.endpoint = ""

    @property
    def refused(self) -> bool:
        """True once a line cannot be translated: from here on faults are only collected."""
        return bool(self._problems)

    @property
    def warnings(self) -> list[str]:
        return self._notes.lines()

    async def feed(self, chunk: bytes) -> bytes:
        """The rows that this chunk completes."""
        return await asyncio.to_thread(self._feed, chunk)

    async def close(self) -> bytes:
        """The last rows; InvalidInputError with everything that is wrong, by line."""
        last = await asyncio.to_thread(lambda: b"".join(map(self._line, self._lines.close())))
        summary = self._checker.close()
        problems = sorted((*summary.problems, *self._problems), key=lambda problem: problem.line or 0)
        if problems:
            more = self._more + summary.more + max(0, len(problems) - MAX_PROBLEMS)
            raise InvalidInputError(self._source, problems[:MAX_PROBLEMS], more)
        for warning in self.warnings:
            log.warning("%s: %s", self._source, warning)
        return last

    def _feed(self, chunk: bytes) -> bytes:
        """In its thread; it gives way by itself, as the event loop would wait 5 ms each time it asks for its turn."""
        rows: list[bytes] = []
        turn = time.perf_counter()
        for start in range(0, len(chunk), SLICE):
            part = chunk[start : start + SLICE]
            self._checker.feed(part)
            for line in self._lines.feed(part):
                rows.append(self._line(line))
                if time.perf_counter() - turn > TURN_SECONDS:
                    time.sleep(REST_SECONDS)
                    turn = time.perf_counter()
        return b"".join(rows)

    def _line(self, line: bytes | None) -> bytes:
        """The line's rows; nothing for one that is blank, or that the checker refuses anyway."""
        self._number += 1
        if not line or not line.strip():
            return b""
        try:
            request = mapping(decode(line))
        except ValueError:
            return b""
        custom_id, body = request.get("custom_id"), request.get("body")
        if not isinstance(custom_id, str) or not is_object(body):
            return b""
        try:
            rows = self._rows(str(request.get("url")), custom_id, mapping(body))
            return b"".join(encode_strictly(self._importer.admit(row, self._number)) for row in rows)
        except UntranslatableError as error:
            self._report(error, custom_id)
        except UnicodeEncodeError:
            message = "half a character (a lone surrogate escape such as \\ud83d), which the importer refuses"
            self._report(UntranslatableError("messages", message, "invalid_row"), custom_id)
        except RecursionError:
            self._report(UntranslatableError("body", "nested too deeply", "invalid_row"), custom_id)
        return b""

    def _rows(self, url: str, custom_id: str, body: Json) -> list[Json]:
        if not self.resource:
            self._choose(url, body.get("model"))
        if not self.resource:
            return []
        self._notes.line = self._number
        model = model_name(self.resource)
        if self.endpoint == EMBEDDINGS:
            return embedding_rows(custom_id, body, model, self._notes)
        name = ids.encode(custom_id)
        if publisher(self.resource) == "anthropic":
            return [{"custom_id": name, "request": claude_request(body, self._notes)}]
        request = gemini_request(body, model, self._notes, self._safety)
        return [{"custom_id": name, "request": {**request, "labels": ids.to_labels(custom_id)}}]

    def _choose(self, url: str, model: Any) -> None:
        """The first line decides for the file: a job has one model."""
        if url not in (CHAT, EMBEDDINGS) or not isinstance(model, str) or not model:
            return
        try:
            resource = model_resource(model)
        except UsageError as error:
            raise UntranslatableError("model", str(error), "model_not_found") from error
        if publisher(resource) not in ("google", "anthropic"):
            raise UntranslatableError(
                "model", f'no translation for {model!r}; send its own rows, with format = "native"', "model_not_found"
            )
        embeds = "embedding" in model_name(resource)
        if embeds != (url == EMBEDDINGS) and not resource.startswith("projects/"):
            kind = "an embedding model" if embeds else "no embedding model"
            raise UntranslatableError("model", f"{model!r} is {kind}, and the lines are for {url}", "model_not_found")
        self.resource, self.endpoint = resource, url

    def _report(self, error: UntranslatableError, custom_id: str) -> None:
        problem = Problem(error.code, str(error), self._number, custom_id, f"body.{error.param}")
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more += 1
