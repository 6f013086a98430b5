"""OpenAI lines in, a vendor's rows out, as a stream: flat memory, off the event loop, every fault by line and custom_id."""

import asyncio
import time
from collections.abc import Iterable

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

    def __init__(self, source: str, limits: InputLimits) -> None:
        self._source = source
        self._checker = InputChecker(limits=limits)
        self._lines = Lines()
        self._problems: list[Problem] = []
        self._more = 0
        self.notes = Notes()
        self.number = 0
        """The line that is being translated."""

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
        self.number += 1
        if not line or not line.strip():
            return b""
        try:
            request = mapping(decode(line))
        except ValueError:
            return b""
        custom_id, body = request.get("custom_id"), request.get("body")
        if not isinstance(custom_id, str) or not is_object(body):
            return b""
        self.notes.line = self.number
        try:
            return b"".join(map(encode_strictly, self.rows(str(request.get("url")), custom_id, mapping(body))))
        except UntranslatableError as error:
            self._report(error, custom_id)
        except UnicodeEncodeError:
            message = "half a character (a lone surrogate escape such as \\ud83d), which the vendor refuses"
            self._report(UntranslatableError("messages", message, "invalid_row"), custom_id)
        except RecursionError:
            self._report(UntranslatableError("body", "nested too deeply", "invalid_row"), custom_id)
        return b""

    def _report(self, error: UntranslatableError, custom_id: str) -> None:
        problem = Problem(error.code, str(error), self.number, custom_id, f"body.{error.param}")
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._more += 1
