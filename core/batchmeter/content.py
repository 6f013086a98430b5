"""A downloaded file: held in memory, with the reading methods of the OpenAI SDK's binary response; or line by line."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from pathlib import Path
from typing import Any


class FileContent:
    """What `file_content` returns. For files that need not fit in memory, use `client.files.stream`."""

    def __init__(self, content: bytes, *, content_type: str = "application/octet-stream") -> None:
        self.content = content
        self.content_type = content_type

    def __repr__(self) -> str:
        return f"FileContent({len(self.content)} bytes, {self.content_type})"

    def __len__(self) -> int:
        return len(self.content)

    @property
    def text(self) -> str:
        """UTF-8, undecodable bytes replaced."""
        return self.content.decode("utf-8", "replace")

    def read(self) -> bytes:
        return self.content

    async def aread(self) -> bytes:
        return self.content

    def json(self) -> Any:
        return json.loads(self.content)

    def iter_bytes(self, chunk_size: int = 64 * 1024) -> Iterator[bytes]:
        for start in range(0, len(self.content), chunk_size):
            yield self.content[start : start + chunk_size]

    def iter_lines(self) -> Iterator[str]:
        r"""Lines split on `\n` only: U+2028 inside a JSON string is not a line's end."""
        for line in self.content.split(b"\n"):
            if line:
                yield line.removesuffix(b"\r").decode("utf-8", "replace")

    def write_to_file(self, file: str | Path) -> None:
        Path(file).write_bytes(self.content)

    stream_to_file = write_to_file


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Byte for byte, unlike metering's, which leaves out the inside of long strings; without blank lines."""
    held: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            held.append(line)
            whole = b"".join(held)
            held.clear()
            if whole.strip():
                yield whole
        held.append(rest)
    if (last := b"".join(held)).strip():
        yield last
