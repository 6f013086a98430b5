"""The guard around provider plugins: a wrong answer, a SystemExit or a hang costs its own account one call."""

import asyncio
import inspect
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from functools import cache, wraps
from typing import Any, TypeVar, cast

from .errors import APIResponseError, APITimeoutError
from .models import Batch, FileDeleted, FileObject, Page
from .providers import ContentStream, OutputFile, ProviderFactory

GRACE_SECONDS = 1.0
"""How long a cancelled call may take to end; then it is left behind."""
CALL_SECONDS = 3600.0
"""How long a short call may take: more than any time-out and its repeats."""
CLOSE_SECONDS = 5.0

Result = TypeVar("Result")

_ANSWERS: dict[str, type] = {
    "create_file": FileObject,
    "retrieve_file": FileObject,
    "list_files": FileObject,
    "delete_file": FileDeleted,
    "create_batch": Batch,
    "retrieve_batch": Batch,
    "cancel_batch": Batch,
    "list_batches": Batch,
    "outputs": OutputFile,
    "delete_batch": types.NoneType,
    "aclose": types.NoneType,
}
"""Method -> what it answers with, or what its page or sequence holds."""
_PAGES = frozenset({"list_files", "list_batches"})
_SECONDS: dict[str, float | None] = {"create_file": None, "create_batch": None, "aclose": CLOSE_SECONDS}
"""None: a large upload, or a create that waits for its file, may take as long as it does."""


def guarded(factory: ProviderFactory) -> ProviderFactory:
    """The same provider class, its methods guarded; anything that is no class is left as it is."""
    given: object = factory
    return cast("ProviderFactory", _guarded_class(given)) if isinstance(given, type) else factory


@cache
def _guarded_class(cls: type[Any]) -> type[Any]:
    made: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    for name, kind in _ANSWERS.items():
        if callable(method := getattr(cls, name, None)):
            made[name] = _short_call(name, kind, method)
    if callable(price := getattr(cls, "price_model", None)):
        made["price_model"] = _name_call(price)
    if hasattr(cls, "file_content"):
        made["file_content"] = _content_call(cls.file_content)
    return types.new_class(cls.__name__, (cls,), {}, lambda body: body.update(made))


def _short_call(name: str, kind: type, method: Callable[..., Any]) -> Callable[..., Any]:
    seconds = _SECONDS.get(name, CALL_SECONDS)

    @wraps(method)
    async def call(self: Any, *args: Any, **arguments: Any) -> Any:
        who = f"provider {self.name!r}: {name}"
        given = await apart(_contained(method, who, self, *args, **arguments), who, seconds=seconds)
        _check(name, kind, given, who)
        if name == "outputs":
            return [replace(file, open=_opener(file.open, who)) for file in given]
        return given

    return call


def _name_call(method: Callable[..., Any]) -> Callable[..., str]:
    @wraps(method)
    def call(self: Any, *args: Any, **arguments: Any) -> str:
        who = f"provider {self.name!r}: price_model"
        try:
            given = method(self, *args, **arguments)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise RuntimeError(f"{who} raised {type(error).__name__}: {error}") from error
        if not isinstance(given, str):
            raise _wrong(who, given, "a model's name")
        return given

    return call


def _content_call(method: Callable[..., AbstractAsyncContextManager[Any]]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **arguments: Any) -> AbstractAsyncContextManager[ContentStream]:
        return _opened(lambda: method(self, *args, **arguments), f"provider {self.name!r}: file_content")

    return call


def _opener(
    open_file: Callable[[], AbstractAsyncContextManager[Any]], who: str
) -> Callable[[], AbstractAsyncContextManager[ContentStream]]:
    return lambda: _opened(open_file, who)


@asynccontextmanager
async def _opened(open_file: Callable[[], AbstractAsyncContextManager[Any]], who: str) -> AsyncGenerator[ContentStream]:
    """The stream, in the caller's own task: what a plugin has opened is closed where it was opened."""
    opened = open_file()
    content = await _contained(opened.__aenter__, who)
    failure: BaseException | None = None
    try:
        _check_stream(content, who)
        async with aclosing(_chunks(content.chunks, who)) as chunks:
            yield replace(content, chunks=chunks)
    except BaseException as error:
        failure = error
        raise
    finally:
        trace = None if failure is None else failure.__traceback__
        await _contained(opened.__aexit__, who, failure and type(failure), failure, trace)


def _check_stream(given: object, who: str) -> None:
    if not isinstance(given, ContentStream):
        raise _wrong(who, given, "a ContentStream")
    if not hasattr(given.chunks, "__anext__"):
        raise _wrong(who, given.chunks, "an async iterator of bytes")


async def _chunks(given: AsyncIterator[bytes], who: str) -> AsyncGenerator[bytes]:
    """The plugin's own, each of them bytes."""
    try:
        while True:
            try:
                chunk = await _contained(given.__anext__, who)
            except StopAsyncIteration:
                return
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise _wrong(who, chunk, "bytes")
            yield cast("bytes", chunk)
    finally:
        if isinstance(given, AsyncGenerator):
            await _contained(given.aclose, who)


async def _contained(method: Callable[..., Any], who: str, *args: Any, **arguments: Any) -> Any:
    """Exceptions only: anything else a plugin raises would end the event loop, or pass for a cancelled call."""
    try:
        given = method(*args, **arguments)
        return await given if inspect.isawaitable(given) else given
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError(f"{who} cancelled itself") from error
    except BaseException as error:
        raise RuntimeError(f"{who} raised {type(error).__name__}: {error}") from error


async def apart(work: Coroutine[Any, Any, Result], who: str, *, seconds: float | None) -> Result:
    """The result; APITimeoutError after `seconds`. Work that ignores being cancelled is left behind."""
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _end(task)
        raise
    if not done:
        await _end(task)
        raise APITimeoutError(f"{who} did not end in {seconds:g} s")
    return task.result()


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
    finally:  # cancelled once more meanwhile, perhaps
        if not task.done():
            # The loop's own end would wait for it for ever: asyncio.run() gathers every task that is registered.
            asyncio.tasks._unregister_task(task)  # noqa: SLF001 - there is no public way
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001


def _check(name: str, kind: type, given: object, who: str) -> None:
    """APIResponseError for an answer of another type than the contract's."""
    if kind is types.NoneType:
        return
    if name in _PAGES:
        if not isinstance(given, Page):
            raise _wrong(who, given, f"a Page of {kind.__name__}s")
        rows = cast("Sequence[object]", given.data)  # pyright: ignore[reportUnknownMemberType]
    elif name == "outputs":
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            raise _wrong(who, given, "a sequence of OutputFiles")
        rows = cast("Sequence[object]", given)
    else:
        rows = [given]
    for row in rows:
        if not isinstance(row, kind):
            raise _wrong(who, row, f"a {kind.__name__}")


def _wrong(who: str, given: object, wanted: str) -> APIResponseError:
    return APIResponseError(f"{who} gave {type(given).__name__} where the contract wants {wanted}")
