"""The module-level functions, with LiteLLM's names, arguments and their order, over one default client.

It reads the environment and batchmeter.toml on first use, and follows every open batch in its ledger while the process
lives (`BATCHMETER_TRACK=0` turns that off). Arguments and errors are those of AsyncFiles and AsyncBatches.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

from batchmeter.calls.files import AsyncFiles
from batchmeter.calls.pages import AsyncPage, SyncPage
from batchmeter.runtime.runtime import asyncio_loop

from .client import AsyncBatches, AsyncClient
from .engine import Engine
from .sync import read_on

P = ParamSpec("P")
Result = TypeVar("Result")
Item = TypeVar("Item")
Made = TypeVar("Made", bound=Callable[..., Any])

engine = Engine(AsyncClient)
_SHAPES = cast("AsyncClient", SimpleNamespace(files=AsyncFiles, batches=AsyncBatches))
"""Where the methods stand, unbound: for help and signatures before there is a client."""


def close() -> None:
    """Deliver what is due, within a bound, and drop the default client; the next call makes a new one."""
    engine.close()


def _async(
    select: Callable[[AsyncClient], Callable[P, Coroutine[Any, Any, Result]]],
) -> Callable[P, Coroutine[Any, Any, Result]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        result = await engine.acall(lambda client: select(client)(*args, **kwargs))
        if isinstance(result, AsyncPage):
            return cast("Result", result.through(engine.astep))
        read_on(engine, result)
        return result

    return _described(call, select(_SHAPES), ())


def _sync(
    select: Callable[[AsyncClient], Callable[P, Coroutine[Any, Any, Result]]], order: str = ""
) -> Callable[P, Result]:
    """`order`: of positional arguments, where LiteLLM's function has another than its async twin."""
    names = tuple(order.split())

    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        if names and args:
            call.__signature__.bind_partial(*args, **kwargs)  # type: ignore[attr-defined]  # TypeError, as for any function
        positional = () if names else args
        named = {**dict(zip(names, args, strict=False)), **kwargs}
        method = cast("Callable[..., Coroutine[Any, Any, Result]]", select)
        result: Result = engine.call(lambda client: cast("Any", method(client))(*positional, **named))
        read_on(engine, result)
        return result

    return _described(call, select(_SHAPES), names)


def _pages(
    select: Callable[[AsyncClient], Callable[P, Coroutine[Any, Any, AsyncPage[Item]]]], order: str = ""
) -> Callable[P, SyncPage[Item]]:
    list_of = _sync(select, order)

    def call(*args: P.args, **kwargs: P.kwargs) -> SyncPage[Item]:
        return list_of(*args, **kwargs).blocking(engine.step)

    return _described(call, select(_SHAPES), tuple(order.split()))


def _described(call: Made, method: Callable[..., Any], order: tuple[str, ...]) -> Made:
    """Help and signature of the method, without `self`."""
    signature = inspect.signature(method)
    _, *parameters = signature.parameters.values()
    first = [one.replace(kind=one.POSITIONAL_OR_KEYWORD) for name in order for one in parameters if one.name == name]
    rest = [
        one.replace(kind=one.KEYWORD_ONLY) if order and one.kind is one.POSITIONAL_OR_KEYWORD else one
        for one in parameters
        if one.name not in order
    ]
    call.__signature__ = signature.replace(parameters=[*first, *rest])  # type: ignore[attr-defined]
    call.__doc__ = method.__doc__
    return call


acreate_file = _async(lambda client: client.files.create)
create_file = _sync(lambda client: client.files.create)
aretrieve_file = afile_retrieve = _async(lambda client: client.files.retrieve)
retrieve_file = file_retrieve = _sync(lambda client: client.files.retrieve)
alist_files = afile_list = _async(lambda client: client.files.list)
list_files = file_list = _pages(lambda client: client.files.list)
adelete_file = afile_delete = _async(lambda client: client.files.delete)
delete_file = file_delete = _sync(
    lambda client: client.files.delete, "file_id model custom_llm_provider extra_headers extra_body"
)
afile_content = _async(lambda client: client.files.content)
file_content = _sync(
    lambda client: client.files.content,
    "file_id model custom_llm_provider extra_headers extra_body chunk_size stream",
)
acreate_batch = _async(lambda client: client.batches.create)
create_batch = _sync(lambda client: client.batches.create)
aretrieve_batch = _async(lambda client: client.batches.retrieve)
retrieve_batch = _sync(lambda client: client.batches.retrieve)
acancel_batch = _async(lambda client: client.batches.cancel)
cancel_batch = _sync(lambda client: client.batches.cancel)
alist_batches = _async(lambda client: client.batches.list)
list_batches = _pages(lambda client: client.batches.list, "after limit custom_llm_provider extra_headers extra_body")
await_batch = _async(lambda client: client.batches.wait)
wait_batch = _sync(lambda client: client.batches.wait)
abatch_results = _async(lambda client: client.batches.results)
batch_results = _sync(lambda client: client.batches.results)
aretry_batch = _async(lambda client: client.batches.retry)
retry_batch = _sync(lambda client: client.batches.retry)


_lock = threading.Lock()
_users = 0
"""Blocks of `tracking()` that are open over the default client."""


@asynccontextmanager
async def tracking(client: AsyncClient | None = None) -> AsyncGenerator[None]:
    """`async with batchmeter.tracking():` in an app's lifespan; whatever BATCHMETER_TRACK says.

    Over the default client, which is closed (delivering what is due) when the last such block ends; or over `client`,
    which is opened in this loop and, if it was not open before, closed again. Any number of processes may track one
    ledger: each batch is claimed by a lease, so each event is recorded once.
    """
    if client is not None:
        async with _over(client):
            yield
        return
    asyncio_loop()
    await asyncio.to_thread(_enter)
    try:
        yield
    finally:
        await asyncio.to_thread(_leave)


def start_tracking() -> None:
    """As `tracking`, from code without a loop (WSGI, Celery, threads) and until the process ends or `close()`.

    Call it as often as you like. In a forked child (gunicorn's preload, Celery's prefork) the parent's tracker goes on
    in the parent; the child gets one of its own with its first call to batchmeter.
    """
    engine.track()


@asynccontextmanager
async def _over(client: AsyncClient) -> AsyncGenerator[None]:
    mine = not client.is_open
    await client.open()
    task = client.start_tracking()
    try:
        yield
    finally:
        if mine:
            await client.aclose()
        elif not client.settings.track:
            task.cancel()
            await asyncio.wait([task])


def _enter() -> None:
    global _users  # noqa: PLW0603 - one default client, one count
    with _lock:
        engine.track()
        _users += 1


def _leave() -> None:
    global _users  # noqa: PLW0603 - as above
    with _lock:
        _users -= 1
        if _users == 0:
            engine.close()
