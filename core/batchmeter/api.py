"""The module-level functions, with LiteLLM's names and arguments, over one default client.

It reads the environment and batchmeter.toml on first use, and follows every open batch in its ledger while the process
lives (`BATCHMETER_TRACK=0` turns that off). Arguments and errors are those of AsyncFiles and AsyncBatches.
"""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from .batches import AsyncBatches
from .client import AsyncClient
from .engine import Engine
from .files import AsyncFiles

P = ParamSpec("P")
Result = TypeVar("Result")

engine = Engine(AsyncClient)


def close() -> None:
    """Deliver what is due, within a bound, and drop the default client; the next call makes a new one."""
    engine.close()


def _files(select: Callable[[AsyncFiles], Callable[P, Coroutine[Any, Any, Result]]]) -> Callable[P, Result]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        return engine.call(lambda client: select(client.files)(*args, **kwargs))

    return _described(call, select(cast("AsyncFiles", AsyncFiles)))


def _afiles(
    select: Callable[[AsyncFiles], Callable[P, Coroutine[Any, Any, Result]]],
) -> Callable[P, Coroutine[Any, Any, Result]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        return await engine.acall(lambda client: select(client.files)(*args, **kwargs))

    return _described(call, select(cast("AsyncFiles", AsyncFiles)))


def _batches(select: Callable[[AsyncBatches], Callable[P, Coroutine[Any, Any, Result]]]) -> Callable[P, Result]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        return engine.call(lambda client: select(client.batches)(*args, **kwargs))

    return _described(call, select(cast("AsyncBatches", AsyncBatches)))


def _abatches(
    select: Callable[[AsyncBatches], Callable[P, Coroutine[Any, Any, Result]]],
) -> Callable[P, Coroutine[Any, Any, Result]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        return await engine.acall(lambda client: select(client.batches)(*args, **kwargs))

    return _described(call, select(cast("AsyncBatches", AsyncBatches)))


Made = TypeVar("Made", bound=Callable[..., Any])


def _described(call: Made, method: Callable[..., Any]) -> Made:
    """Help and signature of the method, without `self`."""
    import inspect  # noqa: PLC0415 - beside its only use

    signature = inspect.signature(method)
    call.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    call.__doc__ = method.__doc__
    return call


acreate_file = _afiles(lambda files: files.create)
create_file = _files(lambda files: files.create)
aretrieve_file = _afiles(lambda files: files.retrieve)
retrieve_file = _files(lambda files: files.retrieve)
alist_files = _afiles(lambda files: files.list)
list_files = _files(lambda files: files.list)
adelete_file = _afiles(lambda files: files.delete)
delete_file = _files(lambda files: files.delete)
afile_content = _afiles(lambda files: files.content)
file_content = _files(lambda files: files.content)
acreate_batch = _abatches(lambda batches: batches.create)
create_batch = _batches(lambda batches: batches.create)
aretrieve_batch = _abatches(lambda batches: batches.retrieve)
retrieve_batch = _batches(lambda batches: batches.retrieve)
acancel_batch = _abatches(lambda batches: batches.cancel)
cancel_batch = _batches(lambda batches: batches.cancel)
alist_batches = _abatches(lambda batches: batches.list)
list_batches = _batches(lambda batches: batches.list)
await_batch = _abatches(lambda batches: batches.wait)
wait_batch = _batches(lambda batches: batches.wait)
