"""One object being written: at once where it is small, else in parts of 8 MiB; it exists only after `finish`."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from batchmeter.errors import APIResponseError, NotFoundError, ProviderError
from batchmeter.providers import CallOptions

from .failure import xml_text
from .names import Blob
from .storage import Storage

PART = 8 * 1024 * 1024
"""Bytes; S3 takes 5 MiB to 5 GiB, and 10,000 of them."""


@dataclass(slots=True)
class Upload:
    """Memory holds one part, whose hash is taken off the event loop."""

    storage: Storage
    blob: Blob
    content_type: str
    notes: Callable[[], Mapping[str, str]]
    """Object metadata, asked for when the first part is full."""
    options: CallOptions = field(default_factory=CallOptions)
    _upload_id: str | None = None
    _tags: list[str] = field(default_factory=list[str])
    """ETags of the parts that S3 has."""
    _held: list[bytes] = field(default_factory=list[bytes])
    _size: int = 0

    async def write(self, data: bytes) -> None:
        """Takes any amount; sends whole parts."""
        view = memoryview(data)
        while self._size + len(view) > PART:
            room = PART - self._size
            self._hold(bytes(view[:room]))
            view = view[room:]
            await self._send_part()
        self._hold(bytes(view))

    async def finish(self) -> None:
        if self._upload_id is None:
            data, digest = await self._take()
            await self.storage.put(self.blob, {}, data, digest, self._headers(), self.options)
            return
        await self._send_part()
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
            for number, tag in enumerate(self._tags, 1)
        )
        whole = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        try:
            await self.storage.post(self.blob, {"uploadId": self._upload_id}, whole, {}, self.options)
        except NotFoundError:  # an earlier try, whose answer was lost, made the object and ended the upload
            if not await self.storage.there(self.blob):
                raise
        self._upload_id = None

    async def abort(self) -> None:
        """Forget the parts, which nobody ever saw; S3 would bill for them."""
        if self._upload_id is None:
            return
        upload_id, self._upload_id = self._upload_id, None
        try:
            await self.storage.delete(self.blob, {"uploadId": upload_id})
        except ProviderError:
            return  # a lifecycle rule of the bucket may do it

    async def _send_part(self) -> None:
        if self._upload_id is None:
            answer = await self.storage.post(self.blob, {"uploads": ""}, b"", self._headers(), self.options)
            self._upload_id = xml_text(answer, "UploadId")
            if not self._upload_id:
                raise APIResponseError(f"S3 began an upload of {self.blob.uri} without naming it")
        data, digest = await self._take()
        query = {"partNumber": str(len(self._tags) + 1), "uploadId": self._upload_id}
        receipt = await self.storage.put(self.blob, query, data, digest, {}, self.options)
        tag = receipt.headers.get("etag")
        if not tag:
            raise APIResponseError(f"S3 took a part of {self.blob.uri} without an ETag")
        self._tags.append(tag.replace("&", "&amp;").replace("<", "&lt;"))

    def _headers(self) -> dict[str, str]:
        noted = {f"x-amz-meta-{name}": text for name, text in self.notes().items()}
        return {"content-type": self.content_type, **noted}

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)

    async def _take(self) -> tuple[bytes, str]:
        held, self._held, self._size = self._held, [], 0
        return await asyncio.to_thread(_joined, held)


def _joined(held: list[bytes]) -> tuple[bytes, str]:
    data = b"".join(held)
    return data, hashlib.sha256(data).hexdigest()
