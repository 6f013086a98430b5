"""One upload's body: parsed, checked, and passed on only after both."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from batchmeter.access import Readers
from batchmeter.http import form_head
from batchmeter.inputs import InputChecker, InputLimits, InputSummary

from .body import Incoming
from .call import ACCOUNT_FIELDS
from .errors import Refusal
from .multipart import FormReader

HEAD = 256 * 1024
"""Bytes of the file that are looked at before its provider hears of it: a small file is checked whole by then."""
_SLICE = 1024 * 1024
"""Longest piece that is checked in one go: two milliseconds. The server's own pieces are smaller."""


class RefusedFileError(Exception):
    """The file has a problem already: nothing more of it goes on. `finish` reads it to the end and says which."""


@dataclass(slots=True)
class Intake:
    """The form as it comes in. `begin`, then send `pieces()` or `form()` on, then `finish`."""

    incoming: Incoming
    largest: int
    """Bytes of the file."""
    reader: FormReader
    accept: Callable[[InputSummary | None], Awaitable[None]]
    """Called with what the file holds (None: no batch input) before its last bytes go on; raises to refuse it."""
    checker: InputChecker | None = field(default=None, init=False)
    """From `begin` on, when the file is to be checked."""
    size: int = field(default=0, init=False)
    """Bytes of the file so far."""
    lines: int | None = field(default=None, init=False)
    """Requests in an accepted batch input."""
    accepted: bool = field(default=False, init=False)
    """All is here and good."""
    complete: bool = field(default=False, init=False)
    """So it was at `begin`: the file is in memory, and `pieces` can be read again."""
    text: str | None = field(default=None, init=False)
    """Left by a plugin, to be kept with the accepted file."""
    _readers: Readers = field(default_factory=lambda: Readers([]), init=False)
    """The plugins', from `begin` on."""
    _stated: str | None = field(default=None, init=False)
    """The purpose as it was known then."""
    _hash: Any = field(default_factory=hashlib.sha256, init=False)
    _raw: bytearray = field(default_factory=bytearray, init=False)
    _held: list[bytes] = field(default_factory=list[bytes], init=False)
    _early: frozenset[str] = field(default=frozenset(), init=False)
    """The names of the fields that came before passing on began."""
    _forwarding: bool = field(default=False, init=False)
    """The form goes on as it is, with what follows the file."""

    async def read_head(self) -> None:
        """The first bytes of the file, and all of a small one with the fields that follow it."""
        while not self.reader.ended and self.size < HEAD:
            chunk = await self.incoming.read()
            if not chunk:
                raise Refusal(400, "The multipart body ends before its last boundary.", code="invalid_multipart")
            self._raw += chunk
            self._held += self._pieces(chunk)
        if self.reader.filename is None:
            raise missing("file")

    @property
    def first_model(self) -> str | None:
        """The first line's model, if it can be read."""
        line, _, _ = b"".join(self._held).lstrip().partition(b"\n")
        with suppress(ValueError, RecursionError, KeyError, TypeError):
            model = json.loads(line)["body"]["model"]
            return model if isinstance(model, str) else None
        return None

    async def begin(self, limits: InputLimits | None, readers: Readers) -> None:
        """From here on the file is checked (None: not), and so is what there is of it; raises as `accept` does."""
        self._early = frozenset(self.reader.fields)
        if limits is not None and self.purpose in (None, "batch"):
            self.checker = InputChecker(limits=limits)
        self._readers, self._stated = readers, self.purpose
        for piece in self._held:
            await self._check(piece)
        self._stop_if_refused()
        if self.reader.ended:
            await self._accept()
            self.complete = True

    @property
    def purpose(self) -> str | None:
        return self.reader.fields.get("purpose")

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The file's bytes."""
        for piece in self._held:
            yield piece
        if self.complete:
            return
        self._let_go()
        while chunk := await self._next():
            for piece in self._pieces(chunk):
                await self._check(piece)
                self._stop_if_refused()
                yield piece
            await self._accept_if_ended()

    def head(self, fields: dict[str, str]) -> bytes:
        """The form's beginning with these fields, and as much of the file as there is."""
        boundary = self.reader.boundary.decode("latin-1")
        start = self.reader.file_start(bytes(self._raw))
        filename = self.reader.filename or ""
        return form_head(fields, filename, self.reader.file_type, boundary) + self._raw[start:]

    def left(self, length: int | None) -> int | None:
        """Bytes of the body still to come, where it has a known length."""
        return None if length is None else length - len(self._raw)

    async def form(self, head: bytes) -> AsyncGenerator[bytes]:
        """`head`, then the rest of the body as it is."""
        self._forwarding = True
        self._let_go()
        yield head
        while chunk := await self._next():
            for piece in self._pieces(chunk):
                await self._check(piece)
            self._stop_if_refused()
            await self._accept_if_ended()
            yield chunk

    async def finish(self) -> None:
        """Read what is left, so that the client can hear the answer; raises what is wrong with the file."""
        while chunk := await self._next():
            for piece in self._pieces(chunk):
                await self._check(piece)
        if not self.accepted and self.reader.filename is not None:
            await self._accept()

    @property
    def sha256(self) -> str:
        """Of the file's bytes so far."""
        return str(self._hash.hexdigest())

    async def fingerprint(self) -> str:
        """Of all that makes two uploads the same; what was not read yet is read for it, and forgotten."""
        self._held.clear()
        while chunk := await self._next():
            self._pieces(chunk)
        fields = {name: text for name, text in self.reader.fields.items() if name not in ACCOUNT_FIELDS}
        return hashlib.sha256(json.dumps([self.sha256, fields], sort_keys=True).encode()).hexdigest()

    async def _next(self) -> bytes:
        chunk = await self.incoming.read()
        if not chunk and not self.reader.ended:
            raise Refusal(400, "The multipart body ends before its last boundary.", code="invalid_multipart")
        return chunk

    def _pieces(self, chunk: bytes) -> list[bytes]:
        pieces = self.reader.feed(chunk)
        self.size += sum(map(len, pieces))
        for piece in pieces:
            self._hash.update(piece)
        if self.size > self.largest:
            raise self.incoming.full
        return pieces

    async def _check(self, piece: bytes) -> None:
        if self.checker is not None:
            for start in range(0, len(piece), _SLICE):
                self.checker.feed(piece[start : start + _SLICE])
                if len(piece) > _SLICE:
                    await asyncio.sleep(0)
        await self._readers.feed(piece)

    def _stop_if_refused(self) -> None:
        """The provider need not see the rest; who sends it is told all its problems once it is read to the end."""
        if self.checker is not None and self.checker.refused and self.purpose == "batch":
            raise RefusedFileError

    async def _accept_if_ended(self) -> None:
        """Nothing of what ends the form goes on before the whole is good."""
        if self.reader.ended and not self.accepted:
            await self._accept()

    async def _accept(self) -> None:
        purpose = self.purpose
        if not purpose:
            raise missing("purpose")
        self._check_late(purpose)
        summary = self.checker.close() if self.checker is not None and purpose == "batch" else None
        if summary is not None:
            self.lines = summary.lines
            summary.check(self.reader.filename or "file")
        if purpose in ("batch", self._stated):
            self.text = self._readers.close()
        await self.accept(summary)
        self.accepted = True

    def _check_late(self, purpose: str) -> None:
        """A field after a large file can still say what was assumed, or go on with the form; the rest is too late."""
        late = set(self.reader.fields) - self._early
        if self._forwarding:
            late &= set(ACCOUNT_FIELDS)
        elif purpose == "batch":
            late -= {"purpose"}
        if late:
            message = f"The form field '{min(late)}' comes too late: send the fields before the file."
            raise Refusal(400, message, code="field_after_file", param=min(late))

    def _let_go(self) -> None:
        self._raw.clear()
        self._held.clear()


def missing(name: str) -> Refusal:
    return Refusal(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
