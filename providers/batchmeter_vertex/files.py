"""Files in the bucket: what callers uploaded, and beside it the rows that Vertex AI reads.

    <prefix>/files/<folder>/in.jsonl     the upload, byte for byte; its id is the file's id
    <prefix>/rows/<folder>/in.jsonl      the same requests as Gemini or Claude rows (format "openai", purpose "batch")
    <prefix>/outputs/<folder>/           one job's answers

Both objects are written in one pass and neither exists unless the whole file was accepted.
"""

from contextlib import suppress

from batchmeter.errors import NotFoundError, NotSupportedError, ProviderError
from batchmeter.models import FileDeleted, FileObject, Page
from batchmeter.providers import CallOptions, FileUpload
from batchmeter_translate.buckets import page_of_files, unique_folder
from batchmeter_translate.shape import mapping

from .names import Blob, model_in_path, safe_filename
from .rows import RowWriter
from .settings import VertexSettings
from .storage import Storage, file_object
from .upload import Upload

MODEL_NOTE = "batchmeter-model"
ENDPOINT_NOTE = "batchmeter-endpoint"


class Files:
    """Objects of one account."""

    def __init__(self, settings: VertexSettings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage

    def blob(self, *parts: str) -> Blob:
        bucket, folder = self._settings.folder()
        return Blob(bucket, "/".join((folder, *parts) if folder else parts))

    async def create(self, upload: FileUpload, options: CallOptions) -> FileObject:
        if upload.expires_after:
            raise NotSupportedError("vertex_ai: Cloud Storage expires objects by the bucket's lifecycle rules only")
        translated = upload.purpose == "batch" and self._settings.format == "openai"
        place = (unique_folder(), safe_filename(upload.filename))
        notes = {"batchmeter-purpose": upload.purpose, "batchmeter-filename": _note(upload.filename)}
        blob = self.blob("files", *place)
        original = Upload(self._storage.http, blob, upload.content_type, lambda: notes, options)
        if not translated:
            return file_object(blob, await self._copy(upload, original))
        writer = RowWriter(upload.filename, self._settings.safety_settings)
        rows = Upload(
            self._storage.http, self.blob("rows", *place), "application/jsonl", lambda: _row_notes(writer), options
        )
        return await self._translate(upload, original, rows, writer)

    async def retrieve(self, blob: Blob, options: CallOptions) -> FileObject:
        return file_object(blob, await self._storage.look(blob, options))

    async def delete(self, blob: Blob, options: CallOptions) -> FileDeleted:
        await self._storage.delete(blob, options)
        rows = self._rows_of(blob)
        if rows is not None:
            await self._storage.discard(rows)
        return FileDeleted(id=blob.id)

    async def page(
        self, *, purpose: str | None, after: str | None, limit: int | None, order: str | None
    ) -> Page[FileObject]:
        """Newest first unless asked otherwise. Cloud Storage lists by name only, so every file is looked at."""
        found = [
            file_object(Blob(item["bucket"], item["name"]), item)
            async for item in self._storage.below(self.blob("files", ""))
        ]
        chosen = [file for file in found if purpose in (None, file.purpose)]
        return page_of_files(chosen, after=after, limit=limit, order=order)

    async def input_of(self, blob: Blob) -> tuple[Blob, str | None, str | None]:
        """The source that a job has to read for this file: the object, its model and its endpoint, as far as they are known."""
        rows = self._rows_of(blob)
        if rows is not None:
            try:
                noted = mapping((await self._storage.look(rows)).get("metadata"))
                return rows, noted.get(MODEL_NOTE), noted.get(ENDPOINT_NOTE)
            except NotFoundError:
                pass
        await self._storage.look(blob)
        return blob, model_in_path(blob.key), None

    def file_of(self, uri: str) -> str:
        """The id of the file whose rows a job reads."""
        blob = Blob.of_uri(uri)
        rows = self.blob("rows", "")
        if blob.bucket == rows.bucket and blob.key.startswith(rows.key):
            return self.blob("files", blob.key.removeprefix(rows.key)).id
        return blob.id

    def _rows_of(self, blob: Blob) -> Blob | None:
        """Where the translation of an upload lies, if there is one; None for a foreign object."""
        files = self.blob("files", "")
        if blob.bucket != files.bucket or not blob.key.startswith(files.key):
            return None
        return self.blob("rows", blob.key.removeprefix(files.key))

    async def _copy(self, upload: FileUpload, original: Upload) -> dict[str, object]:
        try:
            async for chunk in upload.open():
                await original.write(chunk)
            return await original.finish()
        except BaseException:
            await original.abort()
            raise

    async def _translate(self, upload: FileUpload, original: Upload, rows: Upload, writer: RowWriter) -> FileObject:
        try:
            async for chunk in upload.open():
                translated = await writer.feed(chunk)
                if writer.refused:
                    continue
                await original.write(chunk)
                await rows.write(translated)
            await rows.write(await writer.close())
            await rows.finish()
            item = await original.finish()
        except BaseException:
            await original.abort()
            await self._undo(rows)
            raise
        return file_object(original.blob, item).model_copy(update={"warnings": writer.warnings})

    async def _undo(self, rows: Upload) -> None:
        if not rows.finished:
            await rows.abort()
            return
        with suppress(ProviderError):
            await self._storage.discard(rows.blob)


def _row_notes(writer: RowWriter) -> dict[str, str]:
    return {MODEL_NOTE: writer.resource, ENDPOINT_NOTE: writer.endpoint}


def _note(filename: str) -> str:
    """Object metadata is UTF-8 of some kilobytes."""
    return filename.encode("utf-8", "replace").decode()[:500]
