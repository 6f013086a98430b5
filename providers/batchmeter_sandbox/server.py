"""The sandbox over HTTP, for any OpenAI client."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from batchmeter.testing.wire import stop_accepting

from .app import App, Request, Response
from .connection import Connection
from .engine import Engine


@dataclass(slots=True)
class Server:
    """Listens once started; `close` ends its connections and waits for them."""

    app: App
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one; `start` says which."""
    requests: int = field(default=0, init=False)
    """Answered so far."""
    _server: asyncio.Server | None = field(default=None, init=False)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"], init=False)

    @property
    def url(self) -> str:
        """The `base_url` for OpenAI clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=256 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            await stop_accepting(self._server)
            self._server.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(Connection(reader, writer, self._handle).serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # a task cancelled before its first step closes nothing itself

    async def _handle(self, request: Request) -> Response:
        self.requests += 1
        return await self.app(request)


@asynccontextmanager
async def serving(
    engine: Engine, *, host: str = "127.0.0.1", port: int = 0, api_key: str | None = None
) -> AsyncGenerator[Server]:
    """Serves `engine` while the block runs; the engine stays the caller's to close."""
    server = Server(App(engine, api_key), host, port)
    await server.start()
    try:
        yield server
    finally:
        await server.close()
