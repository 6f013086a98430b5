"""Client: an AsyncClient for code without an event loop; it runs on an engine of its own."""

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from batchmeter.answers.result import Result as BatchResult
from batchmeter.calls.content import StreamedContent
from batchmeter.calls.files import AsyncFiles
from batchmeter.calls.pages import AsyncPage, SyncPage
from batchmeter.errors import ClosedError
from batchmeter.providers import ContentStream

from .client import AsyncBatches, AsyncClient
from .engine import Engine, Steps

Result = TypeVar("Result")
P = ParamSpec("P")
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
        steps = self._engine.steps()
        content = steps.step(opened.__aenter__)
        try:
            yield _each(steps, content.chunks)
        finally:
            with suppress(ClosedError):  # closed with the client
                steps.step(lambda: opened.__aexit__(None, None, None))


class Batches:
    """As AsyncBatches, blocking."""

    def __init__(self, engine: Engine, batches: AsyncBatches) -> None:
        self._engine = engine
        self._batches = batches
        self.create = _blocking(engine, batches.create)
        self.retrieve = _blocking(engine, batches.retrieve)
        self.cancel = _blocking(engine, batches.cancel)
        self.delete = _blocking(engine, batches.delete)
        self.list = _pages(engine, batches.list)
        self.wait = _blocking(engine, batches.wait)
        self.settlement = _blocking(engine, batches.settlement)
        self.results = _blocking(engine, batches.results)
        self.create_many = _blocking(engine, batches.create_many)
        self.wait_many = _blocking(engine, batches.wait_many)
        self.results_many = _blocking(engine, batches.results_many)
        self.retry = _blocking(engine, batches.retry)

    def iter_results(self, batch_id: str, **arguments: Any) -> Iterator[BatchResult]:
        """As `AsyncBatches.iter_results`."""
        steps, found = self._engine.steps(), self._batches.iter_results(batch_id, **arguments)
        try:
            yield from _each(steps, found)
        finally:
            with suppress(ClosedError):  # closed with the client
                steps.step(found.aclose)


def _each(steps: Steps, source: AsyncIterator[Item]) -> Iterator[Item]:
    while (item := steps.step(lambda: anext(source, None))) is not None:
        yield item


def _blocking(engine: Engine, method: Callable[P, Coroutine[Any, Any, Result]]) -> Callable[P, Result]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        result = engine.call(lambda _: method(*args, **kwargs))
        read_on(engine, result)
        return result

    call.__doc__ = method.__doc__
    return call


def read_on(engine: Engine, result: object) -> None:
    """A streamed file's next bytes come from the engine's loop, where it was opened."""
    if isinstance(result, StreamedContent):
        steps = engine.steps()
        result.on(steps.step, steps.astep)


def _pages(engine: Engine, method: Callable[P, Coroutine[Any, Any, AsyncPage[Item]]]) -> Callable[P, SyncPage[Item]]:
    def call(*args: P.args, **kwargs: P.kwargs) -> SyncPage[Item]:
        return engine.call(lambda _: method(*args, **kwargs)).blocking(engine.step)

    call.__doc__ = method.__doc__
    return call
