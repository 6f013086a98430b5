"""Names: objects in S3, jobs, models, and a filename within an object's key."""

import base64
import re
from urllib.parse import quote, unquote

from batchmeter_translate import buckets
from batchmeter_translate.buckets import file_named
from batchmeter_translate.listing import no_such

_JOB_ID = "[a-z0-9]{1,64}"
_JOB = re.compile(rf"(?:arn:aws[\w-]*:bedrock:[a-z0-9-]+:\d{{12}}:model-invocation-job/)?({_JOB_ID})")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)")
_PLACES = re.compile(r"(?:us|us-gov|eu|apac|jp|au|ca|sa|me|af|global)\.(?=[a-z0-9-]+\.)")


class Blob(buckets.Blob):
    """An object in S3."""

    __slots__ = ()
    scheme = "s3"

    @property
    def path(self) -> str:
        """The path-style address, as it is signed: S3 decodes it once."""
        return f"{quote(self.bucket, safe='', errors='replace')}/{quote(self.key, safe='/-_.~', errors='replace')}"


class View(buckets.View):
    """Answers of one job of Bedrock's."""

    __slots__ = ()
    vendor, jobs = "bedrock", _JOB_ID


def parse_file_id(file_id: str) -> Blob | View:
    """Any id this account could have given, or an `s3://` URI; NotFoundError for every other."""
    return file_named(file_id, Blob, View)


def job_id(batch_id: str) -> str:
    """The job's own id, from it or from its ARN."""
    match = _JOB.fullmatch(batch_id)
    if match is None:
        raise no_such("batch", batch_id)
    return match[1]


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
