"""Files in the bucket: what callers uploaded, and beside it the records that Bedrock reads.

    <prefix>/files/<purpose>/<folder>/<name>      the upload, byte for byte; its id is the file's id
    <prefix>/rows/<folder>/<coded>/<name>.jsonl   the same requests as records (purpose "batch"); <coded>: the file's name
    <prefix>/ids/<folder>                         custom_ids that are too long for a record, one JSON text a line
    <prefix>/outputs/<folder>/…                   one job's answers

All are written in one pass, and none of them exists unless the whole file was accepted.
"""

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from batchmeter.errors import InvalidInputError, NotFoundError, NotSupportedError, Problem
from batchmeter.models import FileDeleted, FileObject, Page
from batchmeter.providers import CallOptions, FileUpload
from batchmeter_translate.buckets import page_of_files, unique_folder
from batchmeter_translate.shape import modelled

from .names import Blob, name_from_key, name_in_key, part_of_rows, rows_place
from .rows import MOST_BYTES, NativeWriter, RowWriter
from .settings import BedrockSettings
from .storage import PLAIN, Storage, Stored
from .upload import Upload

MODEL, INVOCATION = "batchmeter-model", "batchmeter-invocation"
_IN_MEMORY = 1 << 20
_BATCH = "batch"
_DEPTH = 3
"""Purpose, folder and name."""


class Files:
    """Objects of one account."""

    def __init__(self, settings: BedrockSettings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage

    def blob(self, *parts: str) -> Blob:
        bucket, folder = self._settings.folder()
        return Blob(bucket, "/".join((folder, *parts) if folder else parts))

    async def create(self, upload: FileUpload, options: CallOptions) -> FileObject:
        """InvalidInputError when a request cannot be sent; the file then exists nowhere."""
        if upload.expires_after:
            raise NotSupportedError("bedrock: S3 expires objects by the bucket's lifecycle rules only")
        folder, name = unique_folder(), name_in_key(upload.filename)
        blob = self.blob("files", name_in_key(upload.purpose), folder, name)
        writer = self._writer(upload)
        original = Upload(self._storage, blob, upload.content_type, dict, options)
        uploads = [original]
        if writer is not None:
            place = self.blob("rows", folder, *rows_place(name))
            uploads.append(Upload(self._storage, place, "application/jsonl", lambda: _notes(writer), options))
            uploads.append(Upload(self._storage, self.blob("ids", folder), "application/jsonl", dict, options))
        try:
            size, kept = await self._write(upload, writer, uploads)
            for one in reversed(uploads[:3] if kept else uploads[:2]):
                await one.finish()
        except BaseException:
            for one in uploads:
                await one.abort()
            raise
        made = Stored(blob, size, (await self._storage.look(blob, options)).at, {})
        return self._object(made).model_copy(update={"warnings": writer.warnings if writer else []})

    async def _write(self, upload: FileUpload, writer: RowWriter | None, uploads: list[Upload]) -> tuple[int, bool]:
        """Bytes of the upload, and whether there are long ids."""
        size, kept = 0, False
        async for chunk in upload.open():
            size += len(chunk)
            await uploads[0].write(chunk)
            if writer is not None:
                kept |= await self._put(writer, await writer.feed(chunk), uploads)
        if writer is not None:
            kept |= await self._put(writer, await writer.close(), uploads)
            self._check(upload.filename, writer, size)
        return size, kept

    async def _put(self, writer: RowWriter, rows: bytes, uploads: list[Upload]) -> bool:
        kept, writer.kept = writer.kept, []
        if not writer.refused:
            await uploads[1].write(rows)
            await uploads[2].write(b"".join(kept))
        return bool(kept)

    def _writer(self, upload: FileUpload) -> RowWriter | None:
        if upload.purpose != _BATCH:
            return None
        kind = NativeWriter if self._settings.format == "native" else RowWriter
        return kind(upload.filename, self._settings)

    def _check(self, source: str, writer: RowWriter, size: int) -> None:
        """Bedrock would look when the job validates, and fail it."""
        least, most, count = self._settings.min_records, self._settings.max_records, writer.count
        problem = None
        if count < max(least, 1):
            problem = Problem(
                "too_few_lines",
                f"{count} request{'s' if count != 1 else ''}; a job takes {least} or more (the quota of its model and region: Service Quotas, "
                "`min_records` in the account)",
            )
        elif count > most:
            problem = Problem("too_many_lines", f"{count:,} requests; a job takes {most:,} (`max_records`): split it")
        elif size > MOST_BYTES:
            problem = Problem("file_too_large", f"{size:,} bytes; a file of a job has {MOST_BYTES:,} at most: split it")
        if problem is not None:
            raise InvalidInputError(source, [problem])

    async def retrieve(self, blob: Blob, options: CallOptions) -> FileObject:
        return self._object(await self._storage.look(blob, options))

    async def delete(self, blob: Blob, options: CallOptions) -> FileDeleted:
        await self._storage.look(blob, options)  # S3 deletes what is not there as well
        if (rows := self._rows_of(blob)) is not None:
            await self._storage.delete(rows)
            await self._storage.delete(self.blob("ids", blob.key.split("/")[-2]))
        await self._storage.delete(blob, None, options)
        return FileDeleted(id=blob.id)

    async def page(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None
    ) -> Page[FileObject]:
        """Newest first unless asked otherwise. S3 lists by key only, so every file is looked at."""
        below = self.blob("files", *([name_in_key(purpose)] if purpose else []), "")
        found = [self._object(stored) async for stored in self._storage.below(below)]
        return page_of_files(found, after=after, limit=limit, order=order)

    async def input_of(self, blob: Blob) -> tuple[Blob, str | None, str | None]:
        """The records that a job has to read for this file, their model and how it is asked, as far as they are known."""
        if (rows := self._rows_of(blob)) is not None:
            notes = (await self._storage.look(rows)).notes
            return rows, notes.get(MODEL), notes.get(INVOCATION)
        if not blob.key.endswith("/"):  # a folder is none of S3's objects
            await self._storage.look(blob)
        return blob, None, None

    def file_of(self, uri: str) -> str:
        """The id of the file whose records a job reads; for records of somebody else's, their own."""
        source, rows = Blob.of_uri(uri), self.blob("rows", "")
        parts = source.key.removeprefix(rows.key).split("/")
        ours = source.bucket == rows.bucket and source.key.startswith(rows.key) and len(parts) == _DEPTH
        name = part_of_rows(parts[1]) if ours else None
        return source.id if name is None else self.blob("files", _BATCH, parts[0], name).id

    @asynccontextmanager
    async def kept_ids(self, source: Blob) -> AsyncGenerator[Callable[[int], str | None]]:
        """Reads a long id by its place among those of a job's records; they lie in a temporary file."""
        rows = self.blob("rows", "")
        folder = source.key.removeprefix(rows.key).partition("/")[0] if source.key.startswith(rows.key) else ""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as kept:
            if folder and source.bucket == rows.bucket:
                try:
                    async with self._storage.read(self.blob("ids", folder), PLAIN) as content:
                        async for chunk in content.chunks:
                            kept.write(chunk)
                except NotFoundError:
                    pass

            def text(place: int) -> str | None:
                kept.seek(place)
                try:
                    return str(msgspec.json.decode(kept.readline()))
                except ValueError:
                    return None

            yield text

    def _parts(self, blob: Blob) -> tuple[str, str, str] | None:
        """Purpose, folder and name of an upload of ours; None for a foreign object."""
        files = self.blob("files", "")
        parts = blob.key.removeprefix(files.key).split("/")
        if blob.bucket != files.bucket or not blob.key.startswith(files.key) or len(parts) != _DEPTH:
            return None
        return parts[0], parts[1], parts[2]

    def _rows_of(self, blob: Blob) -> Blob | None:
        parts = self._parts(blob)
        if parts is None or parts[0] != _BATCH:
            return None
        return self.blob("rows", parts[1], *rows_place(parts[2]))

    def _object(self, stored: Stored) -> FileObject:
        purpose, _, name = self._parts(stored.blob) or (_BATCH, "", name_in_key(stored.blob.key.rsplit("/", 1)[-1]))
        return modelled(
            FileObject,
            id=stored.blob.id,
            bytes=stored.size,
            created_at=stored.at,
            filename=name_from_key(name),
            purpose=name_from_key(purpose),
            status="processed",
        )


def _notes(writer: RowWriter) -> dict[str, str]:
    """Metadata of the records; a native file says nothing of its model."""
    if writer.family is None:
        return {}
    return {MODEL: writer.model, INVOCATION: writer.family.invocation}
