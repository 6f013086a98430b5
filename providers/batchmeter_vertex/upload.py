"""Resumable uploads to Cloud Storage: 8 MiB at a time, each piece retried from where the server says it stands."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from batchmeter.errors import APIConnectionError, APIResponseError, APIStatusError, InternalServerError, NotFoundError
from batchmeter.http import CHUNK, Body, HttpClient, Response
from batchmeter.providers import CallOptions
from batchmeter_translate.shape import Json, mapping

from .names import Blob
from .storage import no_bucket

PIECE = 8 * 1024 * 1024
"""Bytes per request, a multiple of 256 KiB as the protocol asks."""
_TRIES = 6
_ABORT_SECONDS = 5.0
_RESUME_INCOMPLETE = 308
_RETRIED = (408, 429)
_FORGOTTEN = (404, 410)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one request, left where they came in: joining eight megabytes would hold up the event loop for ten ms."""

    parts: Sequence[memoryview]
    size: int

    def after(self, offset: int) -> "Piece":
        """Without its first bytes."""
        if not offset:
            return self
        left: list[memoryview] = []
        for part in self.parts:
            if offset < len(part):
                left.append(part[offset:])
            offset = max(offset - len(part), 0)
        return Piece(left, sum(map(len, left)))

    async def chunks(self) -> AsyncIterator[bytes]:
        """Neither many small ones nor a few large ones, however the parts came."""
        held: list[memoryview] = []
        size = 0
        for part in self.parts:
            for start in range(0, len(part), CHUNK):
                held.append(part[start : start + CHUNK])
                size += len(held[-1])
                if size >= CHUNK:
                    yield b"".join(held)
                    held, size = [], 0
        if held:
            yield b"".join(held)


@dataclass(slots=True)
class Upload:
    """One object being written; it exists only after `finish`, and only if no other took its name."""

    http: HttpClient
    blob: Blob
    content_type: str
    notes: Callable[[], Mapping[str, str]]
    """Object metadata, asked for when the first piece is full."""
    options: CallOptions = field(default_factory=CallOptions)
    finished: bool = False
    _session: str | None = None
    _sent: int = 0
    _held: list[memoryview] = field(default_factory=list[memoryview])
    _size: int = 0

    async def write(self, data: bytes) -> None:
        """Takes any amount; sends whole pieces."""
        view = memoryview(data)
        while self._size + len(view) > PIECE:
            room = PIECE - self._size
            self._hold(view[:room])
            view = view[room:]
            await self._send(self._take(), last=False)
        self._hold(view)

    async def finish(self) -> Json:
        """Send the rest; the finished object's metadata."""
        done = await self._send(self._take(), last=True)
        self.finished = True
        return done

    async def abort(self) -> None:
        """Forget the session; nothing of it was ever visible, and it would lapse in a week."""
        if self._session is None:
            return
        session, self._session = self._session, None
        try:
            await self.http.request("DELETE", session, retry="never", timeout=_ABORT_SECONDS)
        except (APIStatusError, APIConnectionError):  # 499 is the documented answer
            return

    def _hold(self, view: memoryview) -> None:
        self._held.append(view)
        self._size += len(view)

    def _take(self) -> Piece:
        piece = Piece(self._held, self._size)
        self._held, self._size = [], 0
        return piece

    async def _open(self) -> str:
        """The session; `ifGenerationMatch=0` makes the name ours or nobody's."""
        try:
            response = await self._session_answer()
        except NotFoundError as error:
            raise no_bucket(self.blob.bucket, error) from error
        location = response.headers.get("location")
        if not location:
            raise APIResponseError("Cloud Storage opened an upload session without saying where")
        return _session(location, self.http.base_url)

    async def _session_answer(self) -> Response:
        return await self.http.request(
            "POST",
            f"upload/{self.blob.path.rsplit('/', 1)[0]}",
            params={
                **self.options.extra_query,
                "uploadType": "resumable",
                "name": self.blob.key,
                "ifGenerationMatch": "0",
            },
            headers={**self.options.extra_headers, "x-upload-content-type": self.content_type},
            json_body={"contentType": self.content_type, "metadata": dict(self.notes())},
        )

    async def _send(self, piece: Piece, *, last: bool) -> Json:
        """One piece, however often it takes; the object's metadata after the last one."""
        if self._session is None:
            self._session = await self._open()
        start, end = self._sent, self._sent + piece.size
        total = str(end) if last else "*"
        for attempt in range(_TRIES):
            response: Response | None
            try:
                rest = piece.after(self._sent - start)
                response = await self._put(rest, _content_range(self._sent, end, total))
            except (APIConnectionError, APIStatusError) as error:
                if _forgotten(error):
                    await self._again(start, error)
                    continue
                if not _passing(error) or attempt == _TRIES - 1:
                    raise
                await self.http.sleep(min(0.5 * 2.0**attempt, 8.0))
                response = await self._where()
            if response is None:
                continue
            if response.status_code != _RESUME_INCOMPLETE:
                self._sent = end
                return mapping(response.json())
            self._sent = self._kept(response, start, end)
            if self._sent == end and not last:
                return {}
        raise APIConnectionError(f"{self.blob.uri}: Cloud Storage kept taking none of the bytes at {self._sent}")

    async def _again(self, start: int, error: Exception) -> None:
        """A session of its own for a first piece; the bytes of earlier ones are gone from here, too."""
        if start:
            raise APIConnectionError(
                f"{self.blob.uri}: Cloud Storage has forgotten the upload at {start}; try again"
            ) from error
        self._session, self._sent = await self._open(), 0

    async def _put(self, data: Piece, content_range: str) -> Response:
        return await self.http.request(
            "PUT",
            self._session or "",
            body=Body(data.chunks, self.content_type, data.size),
            headers={"content-range": content_range},
            timeout=self.options.timeout,
            retry="never",
        )

    async def _where(self) -> Response | None:
        """Asks how much arrived; None when that is not to be known now either."""
        try:
            return await self._put(Piece([], 0), "bytes */*")
        except (APIConnectionError, APIStatusError) as error:
            if not (_forgotten(error) or isinstance(error, APIConnectionError | InternalServerError)):
                raise
            return None  # where it is forgotten, the next piece is told so

    def _kept(self, response: Response, start: int, end: int) -> int:
        """The offset to go on from; a server that lost bytes already released cannot be served."""
        match = re.fullmatch(r"bytes=0-(\d+)", response.headers.get("range", ""))
        kept = int(match[1]) + 1 if match else 0
        if not start <= kept <= end:
            raise APIResponseError(f"{self.blob.uri}: Cloud Storage says it holds {kept} bytes, not {start} to {end}")
        return kept


def _session(location: str, base_url: str) -> str:
    """A session's path and query, asked for at the account's own storage host, whatever host the answer names.

    A file and its token go to no host that an answer chose; and emulators name one that only they can reach.
    """
    try:
        named, own = urlsplit(location), urlsplit(base_url)
    except ValueError:
        raise APIResponseError("Cloud Storage opened an upload session at an address that is none") from None
    return own._replace(path=named.path, query=named.query, fragment="").geturl()


def _content_range(start: int, end: int, total: str) -> str:
    return f"bytes {start}-{end - 1}/{total}" if end > start else f"bytes */{total}"


def _forgotten(error: Exception) -> bool:
    return isinstance(error, APIStatusError) and error.status_code in _FORGOTTEN


def _passing(error: APIConnectionError | APIStatusError) -> bool:
    if isinstance(error, APIConnectionError):
        return True
    return error.status_code in _RETRIED or isinstance(error, InternalServerError)
