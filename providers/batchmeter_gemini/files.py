"""Input files: in the spool, as Gemini gives no upload back, and the rows made of them at Google, for 48 hours."""

from contextlib import suppress

from batchmeter.errors import (
    APIStatusError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    Problem,
)
from batchmeter.models import FileDeleted, FileObject
from batchmeter.providers import CallOptions, FileUpload
from batchmeter_spool.draft import CONTENT, Draft
from batchmeter_spool.record import SpooledFile, is_id, no_such
from batchmeter_spool.spool import Spool
from batchmeter_translate.shape import Json, modelled

from .api import Api
from .rows import MOST_BYTES, RowWriter
from .settings import GeminiSettings
from .upload import upload

ROWS = "rows"
_STATUS = {"ACTIVE": "processed", "PROCESSING": "uploaded", "FAILED": "error"}
_MISSING = (NotFoundError, PermissionDeniedError)
"""Gemini says 403 of a file that is not there."""


class Files:
    """Files of one account."""

    def __init__(self, settings: GeminiSettings, spool: Spool, api: Api) -> None:
        self._settings = settings
        self.spool = spool
        self._api = api

    async def create(self, given: FileUpload) -> FileObject:
        """InvalidInputError when a request cannot be translated; the file then exists nowhere."""
        draft = await self.spool.draft()
        try:
            writer = self._writer(given)
            record = await (self._copy(given, draft) if writer is None else self._translate(given, draft, writer))
        except BaseException:
            await draft.abort()
            raise
        if given.purpose == "batch":
            try:
                await self._send(record)
            except BaseException:
                await self.spool.delete(record.id)
                raise
        return record.object().model_copy(update={"warnings": writer.warnings if writer else []})

    async def there(self, record: SpooledFile, options: CallOptions) -> None:
        """Sees that the rows are at Google: they live for 48 hours, the spooled file longer."""
        try:
            await self._api.file(record.id, options)
        except _MISSING:
            await self._send(record)

    async def retrieve(self, file_id: str, options: CallOptions) -> FileObject:
        if is_id(file_id):
            return (await self.spool.look(file_id)).object()
        try:
            return _shown(await self._api.file(file_id.removeprefix("files/"), options))
        except _MISSING as error:
            raise no_such("file", file_id) from error

    async def delete(self, file_id: str, options: CallOptions) -> FileDeleted:
        if is_id(file_id):
            deleted = await self.spool.delete(file_id)
            with suppress(APIStatusError):  # it may have gone by itself
                await self._api.delete_file(file_id, options)
            return deleted
        try:
            await self._api.delete_file(file_id.removeprefix("files/"), options)
        except _MISSING as error:
            raise no_such("file", file_id) from error
        return FileDeleted(id=file_id)

    def _writer(self, given: FileUpload) -> RowWriter | None:
        if given.purpose != "batch" or self._settings.format == "native":
            return None
        return RowWriter(given.filename, self._settings.safety_settings)

    async def _copy(self, given: FileUpload, draft: Draft) -> SpooledFile:
        async for chunk in given.open():
            await draft.write(chunk)
        if given.purpose == "batch" and not draft.size(CONTENT):
            raise InvalidInputError(given.filename, [Problem("empty_file", "the file has no requests")])
        return await draft.finish(given, {})

    async def _translate(self, given: FileUpload, draft: Draft, writer: RowWriter) -> SpooledFile:
        async for chunk in given.open():
            await draft.write(chunk)
            rows = await writer.feed(chunk)
            if not writer.refused:
                await draft.write(rows, ROWS)
        await draft.write(await writer.close(), ROWS)
        if draft.size(ROWS) > MOST_BYTES:
            size = f"its rows are {draft.size(ROWS):,} bytes, more than {MOST_BYTES:,}; split it"
            raise InvalidInputError(given.filename, [Problem("file_too_large", size)])
        return await draft.finish(given, {"model": writer.model, "endpoint": writer.endpoint})

    async def _send(self, record: SpooledFile) -> None:
        part = ROWS if record.notes else CONTENT
        with suppress(ConflictError):  # an upload whose answer was lost
            await upload(self._api, self.spool.path(record, part), record.id, record.filename)


def _shown(file: Json) -> FileObject:
    """A file at Google in OpenAI's shape."""
    return modelled(
        FileObject,
        id=str(file.get("name") or "").removeprefix("files/"),
        bytes=file.get("sizeBytes") or 0,
        created_at=file.get("createTime"),
        expires_at=file.get("expirationTime"),
        filename=file.get("displayName"),
        purpose="batch",
        status=_STATUS.get(str(file.get("state")), "uploaded"),
    )
