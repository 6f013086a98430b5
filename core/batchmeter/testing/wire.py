"""A loopback HTTP server in a few lines, for tests of what providers put on the wire and of what may come back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    """Path and query, still escaped."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, right or wrong."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    length: int | None = None
    """The content-length to declare; by default the true one. The connection closes after the body if they differ."""
    chunked: bool = False
    after: asyncio.Event | None = None
    """Nothing is sent before this is set."""


HANG_UP = Answer(status=0)
"""The connection closes without an answer."""

Handler = Callable[[Received], Awaitable[Answer]]


@dataclass
class Script:
    """A handler that gives its answers in turn, then the last one again and again, and keeps what it was sent."""

    answers: Sequence[Answer]
    received: list[Received] = field(default_factory=list[Received])

    async def __call__(self, request: Received) -> Answer:
        turn = min(len(self.received), len(self.answers) - 1)
        self.received.append(request)
        return self.answers[turn]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[str]:
    """The address (`http://127.0.0.1:port`) at which `handler` answers, until the block ends."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_serve(reader, writer, handler))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # a task cancelled before its first step closes nothing itself

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        await stop_accepting(server)
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def stop_accepting(server: asyncio.Server) -> None:
    """No connection is accepted after this, and each accepted one has reached its callback.

    asyncio loses a connection that it accepted just before `server.close()`: its client would wait for ever.
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(4):  # accepted, transport made, connection_made called, its task begun
        await asyncio.sleep(0)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    try:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await _converse(reader, writer, handler)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler) -> None:
    while True:
        request = await _read(reader, writer)
        if request is None:
            return
        answer = await handler(request)
        if answer.after is not None:
            await answer.after.wait()
        if answer.status == 0:
            return
        writer.write(_bytes(answer))
        await writer.drain()
        if answer.length not in (None, len(answer.body)) and request.method != "HEAD":  # whose answer has no body
            return


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines if line)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # AWS's client keeps its body back for a second otherwise
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunked(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, target, headers, body)


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


def _bytes(answer: Answer) -> bytes:
    headers = {"content-type": "application/json", **answer.headers}
    body = answer.body
    if answer.chunked:
        headers["transfer-encoding"] = "chunked"
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n" + (b"" if answer.length else b"0\r\n\r\n")
    else:
        headers["content-length"] = str(len(body) if answer.length is None else answer.length)
    head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"HTTP/1.1 {answer.status} -\r\n{head}\r\n".encode() + body
