"""Parts that commands share: a client from the global options, and an event loop that Ctrl-C and SIGTERM end cleanly."""

import signal
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from batchmeter.errors import UsageError

if TYPE_CHECKING:
    from batchmeter.config import Settings
    from batchmeter.faces.client import AsyncClient
    from batchmeter.ledger.ledger import Ledger

Result = TypeVar("Result")


def settings(**overrides: Any) -> "Settings":
    """As the global options say."""
    from batchmeter.runtime.load_settings import load_settings

    options = cast("dict[str, str | None]", click.get_current_context().find_root().obj or {})
    return load_settings(options.get("config"), ledger=options.get("ledger"), **overrides)


@asynccontextmanager
async def client(*, track: bool = False) -> "AsyncGenerator[AsyncClient]":
    """An open client. Commands follow batches only when they say so."""
    from batchmeter.faces.client import AsyncClient

    async with AsyncClient(settings=settings(track=track)) as opened:
        yield opened


@asynccontextmanager
async def ledger(*, create: bool = True) -> "AsyncGenerator[Ledger]":
    """The ledger alone, open and up to date; no plugin is loaded, no account looked at."""
    from batchmeter.ledger import open_ledger

    opened = open_ledger(settings().ledger)
    await opened.open(create=create)
    try:
        yield opened
    finally:
        await opened.aclose()


_LISTED = 5
"""Ids named where a prefix is of several."""


async def whole_id(opened: "AsyncClient", text: str) -> str:
    """The id of the one batch in the ledger that begins so; the text itself where none does. UsageError for several."""
    if await opened.ledger.batches_of_id(text):
        return text
    return _only(text, await opened.ledger.ids_from(text, limit=_LISTED + 1), "batches")


async def whole_file_id(opened: "AsyncClient", text: str) -> str:
    """As `whole_id`, of the files that the ledger knows."""
    statement = "SELECT DISTINCT file_id FROM batchmeter.file WHERE strpos(file_id, %(text)s) = 1 ORDER BY file_id LIMIT %(most)s"
    rows = await opened.ledger.database.read(
        lambda session: session.rows(session.statement(statement), text=text, most=_LISTED + 1)
    )
    return _only(text, [row["file_id"] for row in rows], "files")


async def whole_key(opened: "AsyncClient", text: str | None) -> str | None:
    """As `whole_id`, of the keys that anything was spent by."""
    if text is None:
        return None
    named = (row.group or "" for row in (await opened.costs(group_by="key")).data)
    return _only(text, [key for key in named if key.startswith(text)], "keys")


async def whole_listed_id(opened: "AsyncClient", text: str, account: str) -> str:
    """As `whole_id`, of the newest batches that the account lists."""
    listed = await opened.batches.list(limit=100, custom_llm_provider=account)
    return _only(text, [one.id for one in listed.data if one.id.startswith(text)], "batches")


def _only(text: str, found: list[str], what: str) -> str:
    if len(found) > 1 and text not in found:
        some = ", ".join(found[:_LISTED]) + (", …" if len(found) > _LISTED else "")
        raise UsageError(f"{text!r} begins several {what}' ids: {some}; write more of it")
    return found[0] if len(found) == 1 else text


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; Ctrl-C and SIGTERM cancel it, let it clean up, and raise KeyboardInterrupt."""
    import asyncio

    try:
        with asyncio.Runner() as runner:
            result = runner.run(_stoppable(work))
    finally:
        work.close()  # where no loop could be made for it
    if isinstance(result, SystemExit):
        raise result
    return result


async def _held(work: Coroutine[Any, Any, Result]) -> Result | SystemExit:
    """SystemExit (rich raises it when nobody reads the output) would tear down the loop under everybody else."""
    try:
        return await work
    except SystemExit as end:
        return end


async def _stoppable(work: Coroutine[Any, Any, Result]) -> Result | SystemExit:
    import asyncio

    task = asyncio.ensure_future(_held(work))
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows has no loop signal handlers; Ctrl-C still works there
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
