"""The provider of the proxy benchmark: answers at once, keeps nothing, and notes when an upload's first byte came.

python benchmarks/proxy_provider.py OUTPUT_FILE [MB_PER_SECOND]        serves on a free port and prints it

With a rate it reads uploads no faster than that, as a provider does at the end of a network.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

_KIND = {"object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-in", "completion_window": "24h"}
_TIMES = {"created_at": 1_795_000_000, "expires_at": 1_795_086_400}
OPEN = {
    "id": "batch_open",
    "status": "in_progress",
    **_KIND,
    **_TIMES,
    "metadata": {"run": "7"},
    "output_file_id": None,
}
DONE = {**OPEN, "status": "completed", "completed_at": 1_795_001_000, "output_file_id": "file-out"}
FILE = {"id": "file-in", "object": "file", "filename": "in.jsonl", "purpose": "batch", "created_at": 1_795_000_000}


class Provider:
    """`first_byte` is of the last upload, by the machine's monotonic clock."""

    def __init__(self, output: Path, rate: float) -> None:
        self.output = output
        self.rate = rate
        with output.open("rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        self.counts = {"total": lines, "completed": lines, "failed": 0}
        self.first_byte = 0.0
        self.uploaded = 0
        self.done = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), reader, writer)
                if b"connection: close" in head:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        path = target.partition("?")[0]
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines if line)}
        if method == "POST":
            await self._read(headers, reader, path)
        if path.endswith("/content"):
            await self._content(writer)
            return
        body = json.dumps(self._json(method, path)).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()

    async def _read(self, headers: dict[str, str], reader: asyncio.StreamReader, path: str) -> None:
        upload = path.endswith("/files")
        if "content-length" in headers:
            left = got = int(headers["content-length"])
            while left:
                piece = await reader.read(min(left, 1 << 20))
                left -= self._note(piece, upload)
                await self._pace(got - left)
        else:
            got = 0
            while size := int(await reader.readline(), 16):
                got += self._note(await reader.readexactly(size), upload)
                await reader.readexactly(2)
            await reader.readexactly(2)
        if upload:
            self.uploaded = got

    async def _pace(self, got: int) -> None:
        if self.rate and self.first_byte:
            await asyncio.sleep(self.first_byte + got / self.rate - time.monotonic())

    def _note(self, piece: bytes, upload: bool) -> int:
        if not piece:
            raise ConnectionError
        if upload and not self.first_byte:
            self.first_byte = time.monotonic()
        return len(piece)

    async def _content(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %d\r\n\r\n"
            % self.output.stat().st_size
        )
        with self.output.open("rb") as file:
            while chunk := file.read(1 << 18):
                writer.write(chunk)
                await writer.drain()

    def _json(self, method: str, path: str) -> dict[str, Any]:
        if path.endswith("/stats"):
            seen = {"first_byte": self.first_byte, "uploaded": self.uploaded}
            self.first_byte = 0.0
            return seen
        if path.endswith("/finish"):
            self.done = True
        if path.endswith("/files"):
            return {**FILE, "bytes": self.uploaded} if method == "POST" else {"object": "list", "data": []}
        if path.endswith("/batches") and method == "GET":
            return {"object": "list", "data": [], "has_more": False}
        return {**(DONE if self.done else OPEN), "request_counts": self.counts}


async def main() -> None:
    rate = float(sys.argv[2]) * 1e6 if len(sys.argv) > 2 else 0.0
    provider = Provider(Path(sys.argv[1]), rate)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__" and len(sys.argv) > 1:
    asyncio.run(main())
