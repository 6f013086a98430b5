"""Downloads that are whole or an error: a cut-off file must never be settled on."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from batchmeter.errors import APIResponseError, NotFoundError
from batchmeter.providers import ContentStream, OutputFile


@dataclass(slots=True)
class Watched:
    """A finished batch's files, watched while they are read."""

    files: Sequence[OutputFile]
    """Each once: some servers name one file as output and as error file."""
    gone: set[str] = field(default_factory=set[str])
    """Ids of files that their provider no longer has."""

    @classmethod
    def of(cls, files: Sequence[OutputFile]) -> "Watched":
        return cls(list({file.id: file for file in reversed(files)}.values())[::-1])

    def checked(self) -> list[OutputFile]:
        """The same files; reading one raises APIResponseError when fewer or more bytes came than were announced."""
        return [replace(file, open=partial(self._open, file)) for file in self.files]

    def without_gone(self) -> "Watched":
        return Watched([file for file in self.files if file.id not in self.gone])

    @asynccontextmanager
    async def _open(self, file: OutputFile) -> AsyncGenerator[ContentStream]:
        try:
            async with file.open() as stream:
                yield replace(stream, chunks=_counted(stream, file))
        except NotFoundError:
            self.gone.add(file.id)
            raise


async def _counted(stream: ContentStream, file: OutputFile) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in stream.chunks:
        seen += len(chunk)
        yield chunk
    if stream.size is not None and seen != stream.size:
        raise APIResponseError(f"{file.kind} file {file.id}: {seen} bytes came, {stream.size} were announced")
