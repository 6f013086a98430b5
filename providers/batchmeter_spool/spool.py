"""The spool of one account: files written, read, listed, deleted and pruned, over a folder that workers may share.

    <spool>/content/ab/<sha256>                   bytes, once for all files that have them
    <spool>/accounts/<account>/files/<id>.json    what was uploaded; <id>.new while it is being finished
    <spool>/accounts/<account>/parts/<id>.rows    what a provider made of it
    <spool>/accounts/<account>/notes/             batches of vendors that keep no metadata (notes.py)

There is no lock: a deleter sets content aside, looks once more for files that have it, and puts it back if there are.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote

from batchmeter.errors import ConfigError
from batchmeter.models import FileDeleted, FileObject, Page
from batchmeter.providers import ContentStream

from .disk import disk_errors
from .draft import CONTENT, Draft, content_path
from .record import SpooledFile, is_id, is_of, made_at, no_such, read_record
from .settings import SpoolSettings

CHUNK = 256 * 1024
PRUNE_SECONDS = 3600.0
"""Between two looks for what has expired."""
FORGOTTEN_SECONDS = 86_400.0
"""An unfinished file as old as this is nobody's any more."""
SHORTEST_EXPIRY = 3600.0
"""No file expires sooner, so a younger one need not be looked at."""


class Spool:
    """One account's files."""

    def __init__(self, account: str, settings: SpoolSettings) -> None:
        self._name = account
        self._folder = settings.spool
        self._days = settings.keep_inputs_days
        self._pruned = 0.0

    @property
    def root(self) -> Path:
        """ConfigError where no folder is known: a user without a home, say."""
        if not self._folder:
            raise ConfigError(
                f"account {self._name!r} keeps its input files in a spool: set [spool] path to a folder for them "
                "(one that all workers share)"
            )
        return Path(self._folder).expanduser()

    @property
    def account(self) -> Path:
        return self.root / "accounts" / f"account-{quote(self._name, safe='')}"

    async def draft(self) -> Draft:
        """A new file; what has expired goes first."""
        if time.monotonic() - self._pruned > PRUNE_SECONDS or not self._pruned:
            self._pruned = time.monotonic()
            await asyncio.to_thread(self.prune)
        return Draft(self.root, self.account, self._days)

    async def look(self, file_id: str) -> SpooledFile:
        """NotFoundError, also for an expired one."""
        return await asyncio.to_thread(self._look, file_id)

    @asynccontextmanager
    async def read(self, file_id: str, part: str = CONTENT) -> AsyncGenerator[ContentStream]:
        """The bytes of a file, or of a part of it; NotFoundError."""
        record = await self.look(file_id)
        chunks = self._chunks(record, part)
        size = record.bytes if part == CONTENT else await asyncio.to_thread(self.size, record, part)
        async with aclosing(chunks):
            yield ContentStream(chunks, "application/jsonl", size)

    def size(self, record: SpooledFile, part: str) -> int:
        """Bytes of a part; NotFoundError where there is none."""
        try:
            return self.path(record, part).stat().st_size
        except FileNotFoundError:
            raise no_such("file", record.id) from None

    def path(self, record: SpooledFile, part: str = CONTENT) -> Path:
        """Where its bytes are. A deleter of another file of the same content may have them set aside for an instant."""
        if part != CONTENT:
            return self.account / "parts" / f"{record.id}.{part}"
        found = content_path(self.root, record.sha256)
        aside = found.with_name(f"{found.name}.aside")
        return aside if not found.exists() and aside.exists() else found

    async def page(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None
    ) -> Page[FileObject]:
        """Newest first unless asked otherwise."""
        return await asyncio.to_thread(self._page, purpose, after, limit, order)

    async def delete(self, file_id: str) -> FileDeleted:
        await asyncio.to_thread(self._delete, file_id)
        return FileDeleted(id=file_id)

    def prune(self) -> int:
        """Removes files that have expired and what was never finished; how many files went."""
        with disk_errors(self.root):
            now, gone = time.time(), 0
            for path in _entries(self.account / "files"):
                if made_at(path.name) > now - SHORTEST_EXPIRY:
                    continue
                record = read_record(path)
                unfinished = path.suffix == ".new" and made_at(path.name) < now - FORGOTTEN_SECONDS
                if record is not None and (unfinished or record.expires_at < now):
                    self._remove(record, path)
                    gone += 1
            for path in _files(self.root / "tmp"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < now - FORGOTTEN_SECONDS:
                        path.unlink()
            return gone

    def _look(self, file_id: str) -> SpooledFile:
        record = read_record(self._record_path(file_id)) if is_id(file_id) else None
        if record is None or record.expires_at < time.time():
            raise no_such("file", file_id)
        return record

    def _record_path(self, file_id: str) -> Path:
        return self.account / "files" / f"{file_id}.json"

    async def _chunks(self, record: SpooledFile, part: str) -> AsyncGenerator[bytes]:
        file = await asyncio.to_thread(self._open, record, part)
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
        finally:
            file.close()

    def _open(self, record: SpooledFile, part: str) -> BufferedReader:
        for last in (False, True):
            try:
                return self.path(record, part).open("rb")
            except FileNotFoundError:
                if last:
                    raise no_such("file", record.id) from None
        raise AssertionError

    def _page(self, purpose: str | None, after: str | None, limit: int | None, order: str | None) -> Page[FileObject]:
        with disk_errors(self.root):
            names = sorted(
                (path for path in _entries(self.account / "files") if path.suffix == ".json"), reverse=order != "asc"
            )
        ids = [path.stem for path in names]
        if after is not None and after not in ids:
            raise no_such("file", after)
        most, now = limit or 10_000, time.time()
        data: list[FileObject] = []
        for path in names[ids.index(after) + 1 if after is not None else 0 :]:
            record = read_record(path)
            if record is None or record.expires_at < now or purpose not in (None, record.purpose):
                continue
            data.append(record.object())
            if len(data) > most:
                break
        shown = data[:most]
        return Page(
            data=shown,
            first_id=shown[0].id if shown else None,
            last_id=shown[-1].id if shown else None,
            has_more=len(data) > most,
        )

    def _delete(self, file_id: str) -> None:
        with disk_errors(self.root):
            self._remove(self._look(file_id), self._record_path(file_id))

    def _remove(self, record: SpooledFile, path: Path) -> None:
        path.unlink(missing_ok=True)
        for part in (self.account / "parts").glob(f"{record.id}.*"):
            part.unlink(missing_ok=True)
        self._release(record.sha256)

    def _release(self, sha256: str) -> None:
        """The content goes with its last file, whichever account's that is."""
        if self._is_used(sha256):
            return
        found = content_path(self.root, sha256)
        aside = found.with_name(f"{found.name}.aside")
        try:
            found.replace(aside)
        except FileNotFoundError:
            return
        if self._is_used(sha256):
            aside.replace(found)
        else:
            aside.unlink(missing_ok=True)

    def _is_used(self, sha256: str) -> bool:
        folders = _files(self.root / "accounts")
        return any(is_of(path.name, sha256) for folder in folders for path in _entries(folder / "files"))


def _entries(folder: Path) -> list[Path]:
    """Records, finished or not."""
    return [path for path in _files(folder) if path.suffix in (".json", ".new") and is_id(path.stem)]


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
