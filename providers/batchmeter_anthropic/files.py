"""Input files in the spool: the upload as it came, the requests made of it, and long ids beside them."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from batchmeter.errors import InvalidInputError, Problem
from batchmeter.models import FileObject
from batchmeter.providers import FileUpload
from batchmeter_spool.draft import Draft
from batchmeter_spool.record import SpooledFile
from batchmeter_spool.spool import Spool

from .rows import MOST_BYTES, MOST_REQUESTS, NativeWriter, RowWriter
from .settings import AnthropicSettings

ROWS, IDS = "rows", "ids"


class Files:
    """Files of one account."""

    def __init__(self, settings: AnthropicSettings, spool: Spool) -> None:
        self._settings = settings
        self.spool = spool

    async def create(self, upload: FileUpload) -> FileObject:
        """InvalidInputError when a request cannot be sent; the file then exists nowhere."""
        draft = await self.spool.draft()
        try:
            if upload.purpose != "batch":
                async for chunk in upload.open():
                    await draft.write(chunk)
                return (await draft.finish(upload, {})).object()
            writer = self._writer(upload.filename)
            async for chunk in upload.open():
                await draft.write(chunk)
                await self._put(draft, writer, await writer.feed(chunk))
            await self._put(draft, writer, await writer.close())
            _check_size(upload.filename, writer, draft.size(ROWS))
            record = await draft.finish(upload, _notes(writer))
        except BaseException:
            await draft.abort()
            raise
        return record.object().model_copy(update={"warnings": writer.warnings})

    def _writer(self, filename: str) -> RowWriter:
        if self._settings.format == "native":
            return NativeWriter(filename)
        return RowWriter(filename, self._settings.max_tokens)

    async def _put(self, draft: Draft, writer: RowWriter, rows: bytes) -> None:
        kept, writer.kept = writer.kept, []
        if not writer.refused:
            await draft.write(rows, ROWS)
            if kept:
                await draft.write(b"".join(kept), IDS)

    def kept_ids(self, record: SpooledFile | None) -> Callable[[int], str | None]:
        """Reads a long id by its place; in memory is none of them."""
        path = None if record is None else self.spool.path(record, IDS)
        return lambda place: None if path is None else _line_at(path, place)


def _line_at(path: Path, place: int) -> str | None:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return str(msgspec.json.decode(file.readline()))
    except (OSError, ValueError):
        return None


def _notes(writer: RowWriter) -> dict[str, str]:
    model = next(iter(writer.models)) if len(writer.models) == 1 else ""
    return {
        "endpoint": writer.endpoint,
        "model": model,
        "requests": str(writer.digest.count),
        "ids": writer.digest.text,
    }


def _check_size(source: str, writer: RowWriter, size: int) -> None:
    """Of the requests as they are sent: the body holds them all."""
    problem = None
    if writer.digest.count == 0:
        problem = Problem("empty_file", "the file has no requests; write one JSON object per line")
    elif writer.digest.count > MOST_REQUESTS:
        problem = Problem("too_many_lines", f"more than {MOST_REQUESTS:,} requests; split the file")
    elif size > MOST_BYTES:
        problem = Problem("file_too_large", f"its requests are {size:,} bytes, more than {MOST_BYTES:,}; split it")
    if problem is not None:
        raise InvalidInputError(source, [problem])
