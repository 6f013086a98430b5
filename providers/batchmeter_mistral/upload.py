"""An upload whose first line is looked at before the rest is sent: it says what the whole file is for."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from batchmeter.providers import FileUpload

from .lines import to_mistral, translated, url_of


class PeekedUpload:
    """`size` counts the bytes of the last pass, as they came."""

    def __init__(self, upload: FileUpload) -> None:
        self._upload = upload
        self._chunks: AsyncIterator[bytes] | None = None
        self._head: list[bytes] = []
        self.size = 0

    async def url(self) -> str | None:
        """The lines' url. What is read for it is sent with the first pass."""
        self._chunks = self._upload.open()
        async for chunk in self._chunks:
            self._head.append(chunk)
            if b"\n" in chunk:
                break
        return url_of(b"".join(self._head).partition(b"\n")[0])

    async def lines(self) -> AsyncGenerator[bytes]:
        """Mistral's lines."""
        async with aclosing(self._counted()) as chunks, aclosing(translated(chunks, to_mistral)) as made:
            async for chunk in made:
                yield chunk

    async def _counted(self) -> AsyncGenerator[bytes]:
        self.size = 0
        head, self._head = self._head, []
        chunks, self._chunks = self._chunks, None
        for chunk in head:
            self.size += len(chunk)
            yield chunk
        async for chunk in chunks if chunks is not None else self._upload.open():
            self.size += len(chunk)
            yield chunk
