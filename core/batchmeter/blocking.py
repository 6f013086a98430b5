"""Client: AsyncClient's twin for code without an event loop (and inside one: it never touches yours)."""

from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from .batches import AsyncBatches
from .client import AsyncClient
from .content import StreamedContent
from .engine import Engine
from .files import AsyncFiles
from .pages import AsyncPage, SyncPage
from .providers import ContentStream

P = ParamSpec("P")
Result = TypeVar("Result")
Item = TypeVar("Item")


class Client:
    """Takes what AsyncClient takes. A context manager; or call `close()`."""

    def __init__(self, **arguments: Any) -> None:
        client = AsyncClient(**arguments)
        self.settings = client.settings
        self.plugins = client.plugins
        self._engine = Engine(lambda: client)
        self.files = Files(self._engine, client.files)
        self.batches = Batches(self._engine, client.batches)
        self.costs = _blocking(self._engine, client.costs)

    @property
    def engine(self) -> Engine:
        """The thread and loop that its work runs on."""
        return self._engine

    def close(self) -> None:
        """Deliver what is due, within a bound, and stop."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Files:
    """As AsyncFiles, blocking."""

    def __init__(self, engine: Engine, files: AsyncFiles) -> None:
        self._engine = engine
        self._files = files
        self.create = _blocking(engine, files.create)
        self.retrieve = _blocking(engine, files.retrieve)
        self.list = _pages(engine, files.list)
        self.delete = _blocking(engine, files.delete)
        self.content = _blocking(engine, files.content)

    @contextmanager
    def stream(self, file_id: str, **arguments: Any) -> "Generator[Iterator[bytes]]":
        """`with client.files.stream(id) as chunks: for chunk in chunks: …`, in flat memory."""
        opened: AbstractAsyncContextManager[ContentStream] = self._files.stream(file_id, **arguments)
        content = self._engine.call(lambda _: _enter(opened))
        try:
            yield self._chunks(content)
        finally:
            self._engine.call(lambda _: _leave(opened))

    def _chunks(self, content: ContentStream) -> Iterator[bytes]:
        while (chunk := self._engine.call(lambda _: _next(content))) is not None:
            yield chunk


class Batches:
    """As AsyncBatches, blocking."""

    def __init__(self, engine: Engine, batches: AsyncBatches) -> None:
        self.create = _blocking(engine, batches.create)
        self.retrieve = _blocking(engine, batches.retrieve)
        self.cancel = _blocking(engine, batches.cancel)
        self.delete = _blocking(engine, batches.delete)
        self.list = _pages(engine, batches.list)
        self.wait = _blocking(engine, batches.wait)
        self.settlement = _blocking(engine, batches.settlement)


def _blocking(engine: Engine, method: Callable[P, Coroutine[Any, Any, Result]]) -> Callable[P, Result]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        result = engine.call(lambda _: method(*args, **kwargs))
        _read_on(engine, result)
        return result

    call.__doc__ = method.__doc__
    return call


def _read_on(engine: Engine, result: object) -> None:
    if isinstance(result, StreamedContent):
        result.on(engine.step, engine.astep)


def _pages(engine: Engine, method: Callable[P, Coroutine[Any, Any, AsyncPage[Item]]]) -> Callable[P, SyncPage[Item]]:
    def call(*args: P.args, **kwargs: P.kwargs) -> SyncPage[Item]:
        return engine.call(lambda _: method(*args, **kwargs)).blocking(engine.step)

    call.__doc__ = method.__doc__
    return call


async def _enter(opened: AbstractAsyncContextManager[Item]) -> Item:
    return await opened.__aenter__()


async def _leave(opened: AbstractAsyncContextManager[Item]) -> None:
    await opened.__aexit__(None, None, None)


async def _next(content: ContentStream) -> bytes | None:
    return await anext(content.chunks, None)
