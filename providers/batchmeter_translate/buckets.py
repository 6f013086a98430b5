"""Files of accounts that keep them as objects in a bucket: their ids, a folder for each, one job's answers, pages of them.

A file id is the scheme, `-` and the base64url of `bucket/key`: it names its object on any machine, and fits into a URL's
path, which `s3://bucket/key` does not. The latter is understood wherever an id is, percent-encoded too (LiteLLM's form).
A job's answers are views: `bedrock-output-<job>` and `bedrock-error-<job>`.
"""

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import ClassVar, Literal, Self, TypeVar
from urllib.parse import unquote

from batchmeter.models import FileObject, Page

from .listing import no_such, page_of
from .shape import modelled

MOST_LISTED = 10_000
"""Files of one page, where the caller names no limit: as many as OpenAI gives."""


@dataclass(frozen=True, slots=True)
class Blob(ABC):
    """An object in a bucket."""

    bucket: str
    key: str
    scheme: ClassVar[str]

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def id(self) -> str:
        encoded = base64.urlsafe_b64encode(f"{self.bucket}/{self.key}".encode("utf-8", "replace"))
        return f"{self.scheme}-{encoded.decode().rstrip('=')}"

    @property
    @abstractmethod
    def path(self) -> str:
        """The object's address below the storage's own."""

    @classmethod
    def of_uri(cls, uri: str) -> Self:
        """`s3://bucket/key` as an object; a folder's name may end in a slash."""
        bucket, _, key = uri.removeprefix(f"{cls.scheme}://").partition("/")
        return cls(bucket, key)

    @classmethod
    def of_id(cls, file_id: str) -> Self:
        """NotFoundError for an id that is none of this scheme's."""
        encoded = file_id.removeprefix(f"{cls.scheme}-")
        if encoded == file_id:
            raise no_such("file", file_id)
        padding = "=" * (-len(encoded) % 4)
        try:
            return cls.of_uri(base64.b64decode(encoded + padding, altchars=b"-_", validate=True).decode())
        except (ValueError, binascii.Error):
            raise no_such("file", file_id) from None


@dataclass(frozen=True, slots=True)
class View:
    """The translated answers of one job: those that succeeded, or those that failed."""

    kind: Literal["output", "error"]
    job: str
    vendor: ClassVar[str]
    jobs: ClassVar[str]
    """A pattern of the vendor's job ids."""

    @property
    def id(self) -> str:
        return f"{self.vendor}-{self.kind}-{self.job}"

    @classmethod
    def of_id(cls, file_id: str) -> Self | None:
        match = re.fullmatch(f"{cls.vendor}-(output|error)-({cls.jobs})", file_id)
        return None if match is None else cls("output" if match[1] == "output" else "error", match[2])

    def file(self, size: int, created_at: object) -> FileObject:
        """The view as a file; `size` is that of the rows that it is made of."""
        return modelled(
            FileObject,
            id=self.id,
            bytes=size,
            created_at=created_at,
            filename=f"{self.job}_{self.kind}.jsonl",
            purpose="batch_output",
            status="processed",
        )


ABlob = TypeVar("ABlob", bound=Blob)
AView = TypeVar("AView", bound=View)


def file_named(file_id: str, blobs: type[ABlob], views: type[AView]) -> ABlob | AView:
    """Any id an account could have given, or an object's URI; NotFoundError for every other."""
    scheme = blobs.scheme
    text = unquote(file_id) if file_id.lower().startswith(f"{scheme}%3a") else file_id
    if (view := views.of_id(text)) is not None:
        return view
    blob = blobs.of_uri(text) if text.startswith(f"{scheme}://") else blobs.of_id(text)
    if not blob.bucket or not blob.key or {".", ".."} & set(blob.path.split("/")):
        raise no_such("file", file_id)  # a path of dots is another path by the time it is sent
    return blob


def folder_in(bucket: str, prefix: str, scheme: str) -> tuple[str, str]:
    """Bucket and the folder in it, without slashes at the ends, of settings that may be `bucket`, `bucket/path` or a URI."""
    name, _, path = bucket.removeprefix(f"{scheme}://").partition("/")
    return name, "/".join(part.strip("/") for part in (path, prefix) if part.strip("/"))


def unique_folder() -> str:
    """A folder of its own for one upload or one job; sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(6)}"


def page_of_files(
    found: Sequence[FileObject], *, after: str | None, limit: int | None, order: str | None
) -> Page[FileObject]:
    """Newest first unless asked otherwise; NotFoundError for an `after` that is none of them."""
    files = sorted(found, key=lambda file: (file.created_at or 0, file.id), reverse=order != "asc")
    ids = [file.id for file in files]
    if after is not None and after not in ids:
        raise no_such("file", after)
    start = ids.index(after) + 1 if after is not None else 0
    end = start + (limit or MOST_LISTED)
    return page_of(files[start:end], more=end < len(files))
