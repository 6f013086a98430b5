"""Names: file ids, objects in the bucket, jobs, models.

A file id is `gs-` and the base64url of `bucket/object`: it names its object on any machine, and fits into a URL's path,
which `gs://bucket/object` does not. The latter (and LiteLLM's percent-encoded form of it) is understood wherever an
id is. A finished job's answers are views: `vertex-output-<job>` and `vertex-error-<job>`.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Literal
from urllib.parse import quote, unquote

from batchmeter.errors import NotSupportedError, UsageError
from batchmeter_translate.listing import no_such

_OBJECT_ID = "gs-"
_VIEW = re.compile(r"vertex-(output|error)-([0-9A-Za-z_-]+)")
_JOB = re.compile(r"(?:projects/[^/]+/locations/[^/]+/batchPredictionJobs/)?([0-9A-Za-z_-]+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_TUNED = re.compile(r"projects/[^/]+/locations/[^/]+/(?:models|endpoints)/[^/]+")
_PUBLISHED = re.compile(r"(?:.*/)?publishers/([^/]+)/models/([^/]+)")
_PUBLISHER_BY_START = {"claude": "anthropic"}
"""Beginnings of bare model names; everything else is Google's."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An object in Cloud Storage."""

    bucket: str
    name: str

    @property
    def uri(self) -> str:
        return f"gs://{self.bucket}/{self.name}"

    @property
    def id(self) -> str:
        encoded = base64.urlsafe_b64encode(f"{self.bucket}/{self.name}".encode())
        return _OBJECT_ID + encoded.decode().rstrip("=")

    @property
    def path(self) -> str:
        return f"storage/v1/b/{quote(self.bucket, safe='')}/o/{quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True)
class View:
    """The translated answers of one job: those that succeeded, or those that failed."""

    kind: Literal["output", "error"]
    job: str

    @property
    def id(self) -> str:
        return f"vertex-{self.kind}-{self.job}"


def parse_uri(uri: str) -> Blob:
    """`gs://bucket/object` as an object; a folder's name may end in a slash."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return Blob(bucket, name)


def parse_file_id(file_id: str) -> Blob | View:
    """Any id this account could have given, or a `gs://` URI; NotFoundError for every other."""
    refuse_bigquery(file_id)
    text = unquote(file_id) if file_id.lower().startswith("gs%3a") else file_id
    if text.startswith("gs://"):
        blob = parse_uri(text)
    elif view := _VIEW.fullmatch(text):
        return View("output" if view[1] == "output" else "error", view[2])
    else:
        blob = _decode(text)
    if not blob.bucket or not blob.name:
        raise no_such("file", file_id)
    return blob


def _decode(text: str) -> Blob:
    encoded = text.removeprefix(_OBJECT_ID)
    if encoded == text:
        raise no_such("file", text)
    try:
        return parse_uri(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error):
        raise no_such("file", text) from None


def refuse_bigquery(uri: str) -> None:
    if uri.startswith("bq://"):
        raise NotSupportedError(
            f"{uri}: batchmeter does not read or write BigQuery; put the rows into Cloud Storage as JSON lines"
        )


def job_id(batch_id: str) -> str:
    """The job's own id, from it or from its full resource name."""
    match = _JOB.fullmatch(batch_id)
    if match is None:
        raise no_such("batch", batch_id)
    return match[1]


def unique_folder() -> str:
    """A folder of its own for one upload or one job; sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(6)}"


def safe_filename(filename: str) -> str:
    """No slash, no wildcard, nothing that a URI would have to escape."""
    return _UNSAFE.sub("_", filename.rsplit("/", 1)[-1])[-120:] or "file"


def model_resource(model: str) -> str:
    """`gemini-2.5-flash`, `anthropic/claude-x`, `vertex_ai/…`, a tuned model's name -> what a job calls it."""
    name = model.removeprefix("vertex_ai/")
    if _TUNED.fullmatch(name):
        return name
    if match := _PUBLISHED.fullmatch(name):
        return f"publishers/{match[1]}/models/{match[2]}"
    publisher, slash, rest = name.removeprefix("models/").rpartition("/")
    if "/" in publisher or not rest:
        raise UsageError(
            f"{model!r} is no model name: write gemini-2.5-flash, or publishers/google/models/gemini-2.5-flash"
        )
    start = rest.split("-", 1)[0]
    return f"publishers/{publisher if slash else _PUBLISHER_BY_START.get(start, 'google')}/models/{rest}"


def model_name(resource: str) -> str:
    """The name prices go by: without the publisher; a tuned model keeps its whole name."""
    match = _PUBLISHED.fullmatch(resource)
    return match[2] if match else resource


def publisher(resource: str) -> str:
    match = _PUBLISHED.fullmatch(resource)
    return match[1] if match else "google"


def model_in_path(name: str) -> str | None:
    """LiteLLM puts the model into the object's name; so may you."""
    match = re.search(r"publishers/[^/]+/models/[^/]+", name)
    return match[0] if match else None
