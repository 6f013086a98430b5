"""A finished job's answers as they lie in the bucket: every object below its output folder, in no order."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import msgspec

from batchmeter.errors import APIResponseError, NotFoundError, NotSupportedError
from batchmeter.models import FileDeleted, FileObject
from batchmeter.providers import ContentStream, OutputFile
from batchmeter_translate import ids
from batchmeter_translate.lines import Lines
from batchmeter_translate.listing import no_such
from batchmeter_translate.shape import Json, whole

from .names import Blob, View, refuse_bigquery
from .states import STATUS_BY_STATE, output_folder
from .storage import Storage

_INCREMENTAL = "incremental_"
_ERRORS = "errors"


class Outputs:
    """Reads and removes them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def files(self, job: Json) -> list[OutputFile]:
        """One piece per object; rows that a long job exported early and again at its end are given once."""
        items = await self._items(job)
        blobs = [(Blob(item["bucket"], item["name"]), _kind(item)) for item in items]
        if not any(_early(blob) for blob, _ in blobs) or all(_early(blob) for blob, _ in blobs):
            return [OutputFile(blob.id, kind, self._reader(blob)) for blob, kind in blobs]
        final_first = sorted((blob for blob, _ in blobs), key=_early)
        return [OutputFile(final_first[0].id, "output", lambda: self._merged(final_first))]

    async def rows(self, files: Sequence[OutputFile]) -> AsyncGenerator[bytes]:
        """The bytes of all of them, one after the other."""
        for file in files:
            ended = True
            async with file.open() as stream:
                async for chunk in stream.chunks:
                    yield chunk
                    ended = chunk.endswith(b"\n")
            if not ended:
                yield b"\n"

    async def describe(self, view: View, job: Json) -> FileObject:
        items = await self._items(job)
        if not items:
            raise no_such("file", view.id)
        return view.file(sum(whole(item.get("size")) for item in items), job.get("endTime"))

    async def delete(self, view: View, job: Json) -> FileDeleted:
        """Removes every row. Both views read the same objects, so the errors alone cannot be removed."""
        if view.kind == "error":
            raise NotSupportedError(
                f"{view.id} is a view of the rows that {View('output', view.job).id} holds too; delete that one"
            )
        for item in await self._items(job):
            await self._storage.discard(Blob(item["bucket"], item["name"]))
        return FileDeleted(id=view.id)

    async def _items(self, job: Json) -> list[Json]:
        """Objects, answers before errors. A job that succeeded has some; any other may have written a part."""
        folder = output_folder(job)
        refuse_bigquery(folder or "")
        if job.get("outputConfig", {}).get("bigqueryDestination"):
            raise NotSupportedError(f"{job.get('name')}: its answers are in BigQuery, which batchmeter does not read")
        items = [] if folder is None else [item async for item in self._found(Blob.of_uri(folder))]
        if not items and STATUS_BY_STATE.get(str(job.get("state"))) == "completed":
            raise APIResponseError(
                f"{job.get('name')} succeeded, but there is no object below {folder or 'any output folder'}; "
                "were its answers moved or deleted?"
            )
        return sorted(items, key=lambda item: (_kind(item) == "error", item["name"]))

    async def _found(self, folder: Blob) -> AsyncIterator[Json]:
        try:
            async for item in self._storage.below(folder):
                if not item["name"].endswith("/"):
                    yield item
        except NotFoundError:
            return

    def _reader(self, blob: Blob) -> Callable[[], AbstractAsyncContextManager[ContentStream]]:
        return lambda: self._storage.read(blob)

    @asynccontextmanager
    async def _merged(self, blobs: Sequence[Blob]) -> AsyncGenerator[ContentStream]:
        files = [OutputFile(blob.id, "output", self._reader(blob)) for blob in blobs]
        async with aclosing(self.rows(files)) as rows, aclosing(_once(rows)) as unique:
            yield ContentStream(unique, "application/jsonl")


class _Request(msgspec.Struct):
    labels: dict[str, Any] | None = None


class _Correlated(msgspec.Struct):
    custom_id: Any = None
    key: Any = None
    request: _Request | None = None


_decode = msgspec.json.Decoder(_Correlated).decode


async def _once(rows: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Drops rows that were seen before, by their id; those without one, if not a byte differs. Holds a hash of each."""
    hashes: set[int] = set()
    lines = Lines()
    async for chunk in rows:
        fresh = [line for line in lines.feed(chunk) if line and _is_new(line, hashes)]
        if fresh:
            yield b"\n".join(fresh) + b"\n"
    for line in lines.close():
        if line and _is_new(line, hashes):
            yield line


def _is_new(line: bytes, hashes: set[int]) -> bool:
    try:
        row = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    labels = (row.request and row.request.labels) or {}
    found = (row.custom_id, row.key, [(name, labels[name]) for name in sorted(labels) if ids.ANY_LABEL.fullmatch(name)])
    mark = hash(repr(found)) if any(part not in (None, []) for part in found) else hash(line)
    if mark in hashes:
        return False
    hashes.add(mark)
    return True


def _early(blob: Blob) -> bool:
    return blob.key.rsplit("/", 1)[-1].startswith(_INCREMENTAL)


def _kind(item: Json) -> Any:
    return "error" if item["name"].rsplit("/", 1)[-1].startswith(_ERRORS) else "output"
