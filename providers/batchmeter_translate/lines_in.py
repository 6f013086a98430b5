"""OpenAI lines in, a vendor's rows out, as a stream: flat memory, off the event loop, every fault by line and custom_id."""

import asyncio
import time
from collections.abc import Iterable
from typing import ClassVar

from batchmeter.errors import InvalidInputError, Problem
from batchmeter.inputs import MAX_PROBLEMS, InputChecker, InputLimits

from .lines import Lines, decode, encode_strictly
from .shape import Json, is_object, mapping
from .untranslatable import Notes, UntranslatableError, log

SLICE = 64 * 1024
"""Bytes checked at once."""
TURN_SECONDS = 0.001
REST_SECONDS = 0.00005
"""Not 0: without a pause this thread has the interpreter back before any other could take it."""


class LineTranslation:
    """One file's translation; a vendor's says in `rows` what becomes of one line."""

    body_name: ClassVar[str] = "body"
    """Where a line has its request."""

    def __init__(self, source: str, limits: InputLimits | None) -> None:
        """Without `limits` lines are the vendor's own, which `request` reads, and are checked here only."""
        self._source = source
        self._checker = None if limits is None else InputChecker(limits=limits)
        self._lines = Lines()
        self._problems: list[Problem] = []
        self._more = 0
        self.notes = Notes()
        self.number = 0
        """The line that is being translated."""

    def request(self, line: Json) -> tuple[str, str, Json] | None:
        """custom_id, url and body of a line; None for one that the checker refuses anyway; UntranslatableError."""
        custom_id, body = line.get("custom_id"), line.get("body")
        if not isinstance(custom_id, str) or not is_object(body):
            return None
        return custom_id, str(line.get("url")), body

    def rows(self, url: str, custom_id: str, body: Json) -> Iterable[Json]:
        """The line's rows; UntranslatableError."""
        raise NotImplementedError

    @property
    def refused(self) -> bool:
        """True once a line cannot be translated: from here on faults are only collected."""
        return bool(self._problems)

    @property
    def warnings(self) -> list[str]:
        return self.notes.lines()

    async def feed(self, chunk: bytes) -> bytes:
        """The rows that this chunk completes."""
        return await asyncio.to_thread(self._feed, chunk)

    async def close(self) -> bytes:
        """The last rows; InvalidInputError with everything that is wrong, by line."""
        last = await asyncio.to_thread(lambda: b"".join(map(self._line, self._lines.close())))
        summary = None if self._checker is None else self._checker.close()
        found = (*(summary.problems if summary else ()), *self._problems)
        problems = sorted(found, key=lambda problem: problem.line or 0)
        if problems:
            more = self._more + (summary.more if summary else 0) + max(0, len(problems) - MAX_PROBLEMS)
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
            if self._checker is not None:
                self._checker.feed(part)
            for line in self._lines.feed(part):
                rows.append(self._line(line))
                if time.perf_counter() - turn > TURN_SECONDS:
                    time.sleep(REST_SECONDS)
                    turn = time.perf_counter()
        return b"".join(rows)

    def _line(self, line: bytes | None) -> bytes:
        """The line's rows; nothing for one that is blank, or that the checker refuses anyway."""
        self.number += 1
        if not line or not line.strip():
            return b""
        self.notes.line = self.number
        custom_id: str | None = None
        try:
            request = self.request(self._decoded(line))
            if request is None:
                return b""
            custom_id, url, body = request
            return b"".join(map(encode_strictly, self.rows(url, custom_id, body)))
        except UntranslatableError as error:
            self._report(error, custom_id)
        except UnicodeEncodeError:
            message = "half a character (a lone surrogate escape such as \\ud83d), which the vendor refuses"
            self._report(UntranslatableError("messages", message, "invalid_row"), custom_id)
        except RecursionError:
            self._report(UntranslatableError(self.body_name, "nested too deeply", "invalid_row"), custom_id)
        return b""

    def _decoded(self, line: bytes) -> Json:
        """An empty object for what the checker refuses; UntranslatableError where there is none."""
        try:
            found = decode(line)
        except ValueError:
            found = None
        if self._checker is None and not is_object(found):
            raise UntranslatableError("", "the line is no JSON object", "invalid_json_line")
        return mapping(found)

    def _report(self, error: UntranslatableError, custom_id: str | None) -> None:
        param = f"{self.body_name}.{error.param}" if custom_id is not None else error.param or None
        problem = Problem(error.code, str(error), self.number, custom_id, param)
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more += 1
