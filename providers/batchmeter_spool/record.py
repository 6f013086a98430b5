"""The record of a spooled file, and what its id tells: when it was made, and of which content."""

import json
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex

from batchmeter.errors import NotFoundError
from batchmeter.models import FileObject

_ID = re.compile(r"file-([0-9a-f]{11})([0-9a-f]{8})([0-9a-f]{16})")
_TIME = 11
_CONTENT = 16


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """One upload."""

    id: str
    sha256: str
    bytes: int
    filename: str
    purpose: str
    created_at: int
    """Epoch seconds."""
    expires_at: int
    notes: dict[str, str] = field(default_factory=dict[str, str])
    """A provider's own: model, endpoint, number of requests."""

    def object(self) -> FileObject:
        """As OpenAI shows a file."""
        return FileObject(
            id=self.id,
            bytes=self.bytes,
            created_at=self.created_at,
            expires_at=self.expires_at,
            filename=self.filename,
            purpose=self.purpose,
            status="processed",
        )


def to_json(record: SpooledFile) -> bytes:
    return json.dumps(asdict(record)).encode()


def from_json(content: bytes) -> SpooledFile:
    return SpooledFile(**json.loads(content))


def new_id(sha256: str, milliseconds: int | None = None) -> str:
    """40 characters of `[a-z0-9-]`, which vendors take as a name: it sorts by time and ends in the content's hash."""
    now = int(time.time() * 1000) if milliseconds is None else milliseconds
    return f"file-{now:0{_TIME}x}{token_hex(4)}{sha256[:_CONTENT]}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def made_at(file_id: str) -> float:
    """Epoch seconds."""
    return int(file_id[5 : 5 + _TIME], 16) / 1000


def is_of(name: str, sha256: str) -> bool:
    """Whether the file of this record's name may have this content."""
    return name.partition(".")[0].endswith(sha256[:_CONTENT])


def no_such(what: str, name: str) -> NotFoundError:
    """As an API says it."""
    message = f"No such {what}: {name}"
    body = {"error": {"message": message, "type": "invalid_request_error", "param": "id", "code": None}}
    return NotFoundError(message, status_code=404, body=body)


def read_record(path: Path) -> SpooledFile | None:
    """None where another worker has just deleted it, or where it is not readable."""
    try:
        return from_json(path.read_bytes())
    except (OSError, ValueError, TypeError):
        return None
