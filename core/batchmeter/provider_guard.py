"""The guard around provider plugins: a wrong answer, a SystemExit or a hang costs its own account one call."""

import inspect
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import cache, partial, wraps
from typing import Any, cast

from .errors import APIResponseError, APITimeoutError
from .hook_calls import exceptions_only, within
from .models import Batch, FileDeleted, FileObject, Page
from .providers import ContentStream, OutputFile, ProviderFactory

CALL_SECONDS = 3600.0
"""How long a short call may take: more than any time-out and its repeats."""
CLOSE_SECONDS = 5.0

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
        work = _contained(method, who, self, *args, **arguments)
        given = await within(work, seconds, f"{who} did not end in", APITimeoutError)
        _check(name, kind, given, who)
        if name == "outputs":
            return [replace(file, open=partial(_opened, file.open, who)) for file in given]
        return given

    return call


def _name_call(method: Callable[..., Any]) -> Callable[..., str]:
    @wraps(method)
    def call(self: Any, *args: Any, **arguments: Any) -> str:
        who = f"provider {self.name!r}: price_model"
        with exceptions_only(who):
            given = method(self, *args, **arguments)
        if not isinstance(given, str):
            raise _wrong(who, given, "a model's name")
        return given

    return call


def _content_call(method: Callable[..., AbstractAsyncContextManager[Any]]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **arguments: Any) -> AbstractAsyncContextManager[ContentStream]:
        return _opened(partial(method, self, *args, **arguments), f"provider {self.name!r}: file_content")

    return call


@asynccontextmanager
async def _opened(open_file: Callable[[], AbstractAsyncContextManager[Any]], who: str) -> AsyncGenerator[ContentStream]:
    """The stream, in the caller's own task: what a plugin has opened is closed where it was opened."""
    with exceptions_only(who):
        opened = open_file()
    content = await _contained(opened.__aenter__, who)

    async def leave(*failure: object) -> None:
        await _contained(opened.__aexit__, who, *failure)

    async with AsyncExitStack() as stack:
        stack.push_async_exit(leave)
        if not isinstance(content, ContentStream):
            raise _wrong(who, content, "a ContentStream")
        if not hasattr(content.chunks, "__anext__"):
            raise _wrong(who, content.chunks, "an async iterator of bytes")
        chunks = await stack.enter_async_context(aclosing(_chunks(content.chunks, who)))
        yield replace(content, chunks=chunks)


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
    with exceptions_only(who):
        given = method(*args, **arguments)
        return await given if inspect.isawaitable(given) else given


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
