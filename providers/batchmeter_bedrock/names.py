"""Names: file ids, objects in S3, jobs, models.

A file id is `s3-` and the base64url of `bucket/key`: it names its object on any machine, and fits into a URL's path, which
`s3://bucket/key` does not. The latter is understood wherever an id is. A job's answers are views: `bedrock-output-<job>`
and `bedrock-error-<job>`.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Literal
from urllib.parse import quote, unquote

from batchmeter_translate.listing import no_such

_OBJECT_ID = "s3-"
_VIEW = re.compile(r"bedrock-(output|error)-([a-z0-9]{1,64})")
_JOB = re.compile(r"(?:arn:aws[\w-]*:bedrock:[a-z0-9-]+:\d{12}:model-invocation-job/)?([a-z0-9]{1,64})")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)")
_PLACES = re.compile(r"(?:us|us-gov|eu|apac|jp|au|ca|sa|me|af|global)\.(?=[a-z0-9-]+\.)")


@dataclass(frozen=True, slots=True)
class Blob:
    """An object in S3."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def id(self) -> str:
        encoded = base64.urlsafe_b64encode(f"{self.bucket}/{self.key}".encode("utf-8", "replace"))
        return _OBJECT_ID + encoded.decode().rstrip("=")

    @property
    def path(self) -> str:
        """The path-style address, as it is signed: S3 decodes it once."""
        return f"{quote(self.bucket, safe='', errors='replace')}/{quote(self.key, safe='/-_.~', errors='replace')}"


@dataclass(frozen=True, slots=True)
class View:
    """The translated answers of one job: those that succeeded, or those that failed."""

    kind: Literal["output", "error"]
    job: str

    @property
    def id(self) -> str:
        return f"bedrock-{self.kind}-{self.job}"


def parse_uri(uri: str) -> Blob:
    """`s3://bucket/key` as an object; a folder's name may end in a slash."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Blob(bucket, key)


def parse_file_id(file_id: str) -> Blob | View:
    """Any id this account could have given, or an `s3://` URI; NotFoundError for every other."""
    text = unquote(file_id) if file_id.lower().startswith("s3%3a") else file_id
    if text.startswith("s3://"):
        blob = parse_uri(text)
    elif view := _VIEW.fullmatch(text):
        return View("output" if view[1] == "output" else "error", view[2])
    else:
        blob = _decode(text)
    if not blob.bucket or not blob.key or {".", ".."} & {blob.bucket, *blob.key.split("/")}:
        raise no_such("file", file_id)  # a path of dots is another path by the time it is sent
    return blob


def _decode(text: str) -> Blob:
    encoded = text.removeprefix(_OBJECT_ID)
    if encoded == text:
        raise no_such("file", text)
    try:
        return parse_uri(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode())
    except (ValueError, binascii.Error):
        raise no_such("file", text) from None


def job_id(batch_id: str) -> str:
    """The job's own id, from it or from its ARN."""
    match = _JOB.fullmatch(batch_id)
    if match is None:
        raise no_such("batch", batch_id)
    return match[1]


def unique_folder() -> str:
    """A folder of its own for one upload or one job; sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(6)}"


def name_in_key(filename: str) -> str:
    """A filename as one part of an object's key, from which `name_from_key` reads it again."""
    cut = filename.encode("utf-8", "replace")[-200:].decode("utf-8", "ignore")
    coded = quote(cut, safe="").replace("%", "=")
    return coded.replace(".", "=2E") if not coded.strip(".") else coded  # `..` is another folder


def name_from_key(part: str) -> str:
    return unquote(part.replace("=", "%"))


def rows_place(part: str) -> tuple[str, str]:
    """Folder and name of the records of a file with this part in its key: a job's URI takes few characters, and its
    name, which has to end in .jsonl, becomes that of the answers."""
    stem = _UNSAFE.sub("_", name_from_key(part).rsplit("/", 1)[-1]).removesuffix(".jsonl")[-100:]
    return base64.b32encode(part.encode()).decode().rstrip("=").lower(), f"{stem or 'file'}.jsonl"


def part_of_rows(folder: str) -> str | None:
    """The part of the file's key that `rows_place` made this folder of."""
    try:
        return base64.b32decode(folder.upper() + "=" * (-len(folder) % 8)).decode()
    except ValueError:
        return None


def model_id(model: str) -> str:
    """The id that a job takes for a model's name in a line."""
    return model.removeprefix("bedrock/").removeprefix("converse/").removeprefix("invoke/")


def foundation(model: str) -> str:
    """The model's own id, without the ARN, the region group and so on around it."""
    match = _ARN.fullmatch(model)
    return _PLACES.sub("", match[1] if match else model, count=1)
