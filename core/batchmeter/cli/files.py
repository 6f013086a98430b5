"""`batchmeter files`: an account's files, listed, fetched, sent and deleted."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, instant, print_json, table
from batchmeter.commands.session import client, run, whole_file_id

from .results import output_option, written_to
from .submit import checked, uploading

if TYPE_CHECKING:
    from batchmeter.models import FileObject

_PAGE = 100
"""Files asked for at once."""
account_option = click.option("--provider", "account", metavar="ACCOUNT", help="Whose file, if not known.")


@click.group()
def files() -> None:
    """List, get, put or delete files at an account."""


@files.command("list")
@click.option("--provider", "account", metavar="ACCOUNT", help="Whose files (default: openai).")
@click.option("--purpose", help="Only files of this purpose, such as batch or batch_output.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many at most.")
@as_json
def list_files(account: str | None, purpose: str | None, limit: int, json_output: bool) -> None:
    """The files that the account lists, in its order."""

    async def work() -> list["FileObject"]:
        found: list[FileObject] = []
        async with client() as opened:
            async for file in await opened.files.list(account, purpose, limit=min(limit, _PAGE)):
                found.append(file)
                if len(found) == limit:
                    break
        return found

    found = run(work())
    if json_output:
        print_json([file.model_dump(mode="json") for file in found])
        return
    rows = ((one.id, one.filename, one.purpose, f"{one.bytes:,}", instant(one.created_at)) for one in found)
    table(None, ("file!", "name", "purpose", "bytes>", "created"), rows)


@files.command()
@click.argument("file_id")
@output_option
@account_option
def get(file_id: str, output: Path | None, account: str | None) -> None:
    """Print a file's bytes, or write them to a file: whole or not at all."""

    async def work() -> None:
        async with client() as opened:
            whole = await whole_file_id(opened, file_id)
            async with opened.files.stream(whole, custom_llm_provider=account) as content:
                with written_to(output) as write:
                    async for chunk in content.chunks:
                        write(chunk)

    run(work())


@files.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", "account", metavar="ACCOUNT", help="The account to send it to (default: openai).")
@click.option("--purpose", default="batch", show_default=True)
@click.option("--endpoint", help="What a batch input's lines are for (default: the url of its lines).")
@click.option("--check/--no-check", default=True, help="Check a batch input by the provider's rules first.")
@as_json
def put(file: Path, account: str | None, purpose: str, endpoint: str | None, check: bool, json_output: bool) -> None:
    """Send FILE and print its id. A batch input is not sent unless every line passes the provider's rules."""
    if not file.is_file():
        raise click.UsageError(f"no such file: {file}")

    async def work() -> "FileObject":
        async with client() as opened:
            if check and purpose == "batch":
                await asyncio.to_thread(checked, file, endpoint, await opened.provider(account, {}))
            with uploading(file) as upload:
                return await opened.files.create((file.name, upload), purpose, custom_llm_provider=account)

    created = run(work())
    if json_output:
        print_json(created)
    else:
        console().print(created.id)


@files.command()
@click.argument("file_ids", nargs=-1, required=True)
@account_option
def delete(file_ids: tuple[str, ...], account: str | None) -> None:
    """Delete files at their provider. A batch's answers that were not read are gone with them."""

    async def work() -> None:
        async with client() as opened:
            for text in file_ids:
                file_id = await whole_file_id(opened, text)
                await opened.files.delete(file_id, custom_llm_provider=account)
                console().print(f"{file_id}: deleted")

    run(work())
