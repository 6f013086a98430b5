"""`batchmeter submit FILE`: check it here, upload it, create the batch, and wait for its cost if asked."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from batchmeter.commands.output import as_json, console, errors, print_json
from batchmeter.commands.session import client, run
from batchmeter.commands.wait import show_settlement, wait_for
from batchmeter.errors import InvalidInputError

from .jobs import checked_lines, submit_job

if TYPE_CHECKING:
    from batchmeter.inputs import InputSummary
    from batchmeter.models import Batch
    from batchmeter.providers import Provider


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", "account", metavar="ACCOUNT", help="The account to submit to (default: openai).")
@click.option("--endpoint", help="Such as /v1/chat/completions (default: the url of the file's lines).")
@click.option(
    "--metadata",
    "pairs",
    multiple=True,
    metavar="K=V",
    help="Goes to the provider and rides on every event; costs by team need --team.",
)
@click.option("--team", help="Whose batch it is, for `costs --group-by team`; the provider is not told.")
@click.option("--user", help="Who submits it.")
@click.option("--session", help="What it belongs to; loggers may group by it.")
@click.option("--tag", "tags", multiple=True, help="For `costs --group-by tag`; repeat for more.")
@click.option("--window", default="24h", show_default=True, help="completion_window.")
@click.option("--idempotency-key", help="Submitting again with the same key gives the same batch.")
@click.option("--wait", is_flag=True, help="Wait for the end and print what it cost.")
@click.option("--check/--no-check", default=True, help="Check the file's lines by the provider's rules first.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Give up waiting after this long.")
@as_json
def submit(
    file: Path,
    account: str | None,
    endpoint: str | None,
    pairs: Sequence[str],
    team: str | None,
    user: str | None,
    session: str | None,
    tags: Sequence[str],
    window: str,
    idempotency_key: str | None,
    wait: bool,
    check: bool,
    timeout: float | None,
    json_output: bool,
) -> None:
    """Submit the batch input FILE (JSONL), `-` for standard input. Nothing is uploaded unless every line passes the provider's rules.

    A file with more lines, bytes or models than the provider takes in one batch becomes several: one job.
    """
    order = {
        "metadata": _metadata(pairs),
        "attribution": {"team": team, "user": user, "session": session, "tags": tuple(tags)},
        "completion_window": window,
        "idempotency_key": idempotency_key,
        "custom_llm_provider": account,
    }
    with _as_file(file) as whole:
        code = run(_submit(whole, endpoint, account, order, wait, check, timeout, json_output))
    click.get_current_context().exit(code)


@contextmanager
def _as_file(file: Path) -> Generator[Path]:
    """The file; with `-`, one that holds standard input, as the lines are checked before they are sent."""
    if str(file) != "-":
        if not file.is_file():
            raise click.UsageError(f"no such file: {file}")
        yield file
        return
    if sys.stdin.isatty():
        raise click.UsageError("- reads the requests from standard input: pipe them in")
    with tempfile.TemporaryDirectory(prefix="batchmeter-") as folder:
        piped = Path(folder) / "stdin.jsonl"
        with piped.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield piped


async def _submit(
    file: Path,
    endpoint: str | None,
    account: str | None,
    order: dict[str, Any],
    wait: bool,
    check: bool,
    timeout: float | None,
    json_output: bool,
) -> int:
    async with client() as opened:
        provider = await opened.provider(account, {})
        try:
            summary = await asyncio.to_thread(checked, file, endpoint, provider if check else None)
        except InvalidInputError:
            whole = await asyncio.to_thread(checked_lines, file, endpoint, provider)
            return await submit_job(opened, file, str(whole.endpoint), order, wait, timeout, json_output)
        with uploading(file) as upload:
            uploaded = await opened.files.create(file=(file.name, upload), purpose="batch", custom_llm_provider=account)
        batch = await opened.batches.create(
            input_file_id=uploaded.id,
            endpoint=str(summary.endpoint),
            **order,
        )
        if not wait:
            _show_batch(batch, summary, json_output)
            return 0
        settlement = await wait_for(opened, batch.id, account, timeout)
    show_settlement(settlement, json_output=json_output)
    return 0 if settlement.status == "completed" else 1


def checked(file: Path, endpoint: str | None, provider: "Provider | None") -> "InputSummary":
    """By the rules of its provider; without one, or where that has none, only the endpoint is looked for."""
    from batchmeter.inputs import COMPATIBLE, check_path, limits_of

    limits = None if provider is None else limits_of(provider)
    summary = check_path(file, endpoint, limits or COMPATIBLE)
    if limits is not None:
        summary.check(str(file))
    elif summary.endpoint is None:
        raise click.UsageError(f"{file} is not checked and its first lines name no url: say --endpoint")
    for warning in summary.warnings:
        errors().print(f"warning: {warning}")
    return summary


def _metadata(pairs: Sequence[str]) -> dict[str, str] | None:
    metadata: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--metadata {pair!r}: write KEY=VALUE")
        metadata[key] = value
    return metadata or None


def _show_batch(batch: "Batch", checked: "InputSummary", json_output: bool) -> None:
    if json_output:
        print_json(batch)
        return
    console().print(f"submitted {checked.lines:,} requests as {batch.id} ({batch.status})")
    console().print(f"follow it: batchmeter batches wait {batch.id}   or leave a tracker running: batchmeter track")


@contextmanager
def uploading(file: Path) -> Generator[IO[bytes]]:
    """The open file, with a progress bar on a terminal."""
    with file.open("rb") as handle, _Upload(handle, file.stat().st_size) as upload:
        yield upload


class _Upload:
    """The file as it is read for the upload, moving a progress bar on a terminal."""

    def __init__(self, handle: IO[bytes], size: int) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        shown = errors()
        self._handle = handle
        self._bar = Progress(
            TextColumn("uploading"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=shown,
            transient=True,
            disable=not shown.is_terminal,
        )
        self._task = self._bar.add_task("upload", total=size)

    def __enter__(self) -> IO[bytes]:
        self._bar.start()
        return self  # type: ignore[return-value]  # the part of IO that an upload uses

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def read(self, size: int = -1) -> bytes:
        data = self._handle.read(size)
        self._bar.advance(self._task, len(data))
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = self._handle.seek(offset, whence)
        self._bar.update(self._task, completed=0 if whence == os.SEEK_END else position)
        return position

    def tell(self) -> int:
        return self._handle.tell()
