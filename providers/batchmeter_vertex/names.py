"""Names: objects in Cloud Storage, jobs, models."""

import re
from urllib.parse import quote

from batchmeter.errors import NotSupportedError, UsageError
from batchmeter_translate import buckets
from batchmeter_translate.buckets import file_named
from batchmeter_translate.listing import no_such

_JOB_ID = "[0-9A-Za-z_-]+"
_JOB = re.compile(rf"(?:projects/[^/]+/locations/[^/]+/batchPredictionJobs/)?({_JOB_ID})")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_TUNED = re.compile(r"projects/[^/]+/locations/[^/]+/(?:models|endpoints)/[^/]+")
_PUBLISHED = re.compile(r"(?:.*/)?publishers/([^/]+)/models/([^/]+)")
_PUBLISHER_BY_START = {"claude": "anthropic"}
"""Beginnings of bare model names; everything else is Google's."""


class Blob(buckets.Blob):
    """An object in Cloud Storage."""

    __slots__ = ()
    scheme = "gs"

    @property
    def path(self) -> str:
        return f"storage/v1/b/{quote(self.bucket, safe='', errors='replace')}/o/{quote(self.key, safe='', errors='replace')}"


class View(buckets.View):
    """Answers of one job of Vertex AI's."""

    __slots__ = ()
    vendor, jobs = "vertex", _JOB_ID


def parse_file_id(file_id: str) -> Blob | View:
    """Any id this account could have given, or a `gs://` URI; NotFoundError for every other."""
    refuse_bigquery(file_id)
    return file_named(file_id, Blob, View)


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
