"""An ended job's answers as they lie in the bucket: its `.jsonl.out` objects in no order, and a manifest with sums."""

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from batchmeter.errors import APIResponseError, NotFoundError
from batchmeter.models import FileDeleted, FileObject, RequestCounts
from batchmeter.providers import ContentStream, OutputFile
from batchmeter_translate.listing import no_such
from batchmeter_translate.shape import Json, mapping

from .names import Blob, View
from .states import STATUS, counts_of, output_folder
from .storage import Storage, Stored

_ROWS, _MANIFEST = ".jsonl.out", "manifest.json.out"
_MOST_MANIFEST = 1 << 20
_REMEMBERED = 1000


class Outputs:
    """Reads and removes them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._counted: OrderedDict[str, RequestCounts] = OrderedDict()

    async def files(self, job: Json) -> list[OutputFile]:
        """One piece per object, the manifest last."""
        stored = await self._stored(job)
        if not any(_is_rows(one) for one in stored) and STATUS.get(str(job.get("status"))) == "completed":
            raise APIResponseError(
                f"{job.get('jobArn')} has completed, but there are no answers below {_uri(job)}; were they moved or deleted?"
            )
        rows = [OutputFile(one.blob.id, "output", self._reader(one.blob)) for one in stored if _is_rows(one)]
        sums = [OutputFile(one.blob.id, "manifest", self._reader(one.blob)) for one in stored if _is_manifest(one)]
        return [*rows, *sums]

    async def rows(self, files: Sequence[OutputFile]) -> AsyncGenerator[bytes]:
        """The bytes of all rows, one object after the other."""
        for file in files:
            if file.kind == "manifest":
                continue
            ended = True
            async with file.open() as stream:
                async for chunk in stream.chunks:
                    yield chunk
                    ended = chunk.endswith(b"\n")
            if not ended:
                yield b"\n"

    async def counts(self, job: Json) -> RequestCounts | None:
        """By the manifest of an ended job that tells none itself; None where there is no manifest either."""
        arn = str(job.get("jobArn"))
        if arn not in self._counted:
            found = counts_of(await self._manifest(job))
            if found is None:
                return None
            self._counted[arn] = found
            if len(self._counted) > _REMEMBERED:
                self._counted.popitem(last=False)
        return self._counted[arn]

    async def describe(self, view: View, job: Json) -> FileObject:
        stored = [one for one in await self._stored(job) if _is_rows(one)]
        if not stored:
            raise no_such("file", view.id)
        return view.file(sum(one.size for one in stored), job.get("endTime"))

    async def delete(self, view: View, job: Json) -> FileDeleted:
        """Removes every object of the job's: both views read the same rows."""
        stored = await self._stored(job)
        if not stored:
            raise no_such("file", view.id)
        for one in stored:
            await self._storage.delete(one.blob)
        return FileDeleted(id=view.id)

    async def _stored(self, job: Json) -> list[Stored]:
        folder = output_folder(job)
        return [] if folder is None else [one async for one in self._storage.below(folder)]

    async def _manifest(self, job: Json) -> Json:
        folder, content = output_folder(job), b""
        if folder is None:
            return {}
        try:
            async with self._storage.read(Blob(folder.bucket, f"{folder.key}{_MANIFEST}")) as stream:
                async for chunk in stream.chunks:
                    content += chunk
                    if len(content) > _MOST_MANIFEST:
                        return {}
            return mapping(json.loads(content))
        except (NotFoundError, ValueError, RecursionError):
            return {}

    def _reader(self, blob: Blob) -> Callable[[], AbstractAsyncContextManager[ContentStream]]:
        return lambda: self._storage.read(blob)


def _is_rows(stored: Stored) -> bool:
    return stored.blob.key.endswith(_ROWS)


def _is_manifest(stored: Stored) -> bool:
    return stored.blob.key.rsplit("/", 1)[-1] == _MANIFEST


def _uri(job: Json) -> str:
    folder = output_folder(job)
    return "any output folder" if folder is None else folder.uri
