"""Tells what a file is that holds no answers: one error says it, and how to mend it."""

import json
from collections.abc import Mapping
from typing import Any, cast

from batchmeter.errors import NotAnOutputError

from .tally import Tally

REQUEST, BATCH, MANIFEST, FAILURE = "a_request", "a_batch", "a_manifest", "an_error"
HEAD = 64 * 1024
"""Bytes from the start of a file that are kept to tell what it is."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe", "is UTF-16 text, as PowerShell writes it: save it as UTF-8, or run `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "is UTF-16 text: save it as UTF-8, or run `iconv -f UTF-16 -t UTF-8`"),
    (b"PK\x03\x04", "is a zip archive: unpack it and meter the .jsonl files in it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it with `unzstd` first (gzip is read as it is)"),
    (b"BZh", "is compressed with bzip2: unpack it with `bunzip2` first (gzip is read as it is)"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it with `unxz` first (gzip is read as it is)"),
    (b"PAR1", "is a Parquet file: export its rows as JSON Lines, one answer a line"),
    (b"Obj\x01", "is an Avro file: export its rows as JSON Lines, one answer a line"),
)
_TEXT: tuple[tuple[bytes, str], ...] = (
    (b"[", "is one JSON array, not JSON Lines: `jq -c '.[]' FILE > answers.jsonl` puts one answer on a line"),
    (b"<", "is an HTML or XML page, not an output file: the download failed, so look at its text and fetch it again"),
)
_ADVICE = {
    REQUEST: "is a batch input file, requests without answers: meter the output file, or see `batchmeter estimate`",
    BATCH: "is a batch object, not its output: download the file that its output_file_id names and meter that",
    MANIFEST: "is a job's manifest, with sums but no answers: give the .jsonl.out files of the job along with it",
    FAILURE: "is an error message of an API, not an output file",
}


def refuse_by_head(name: str, head: bytes) -> None:
    """NotAnOutputError where the first bytes are those of something else."""
    for start, advice in _MAGIC:
        if head.startswith(start):
            raise NotAnOutputError(f"{name} {advice}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, advice in _TEXT:
        if text.startswith(start):
            raise NotAnOutputError(f"{name} {advice}")


def refuse_without_answers(name: str, head: bytes, tally: Tally) -> None:
    """NotAnOutputError where no line is an answer, and what there is has a name."""
    if tally.succeeded or tally.failed:
        return
    kind = next((kind for kind, _ in tally.strangers.most_common()), None)
    if kind is None and tally.manifest is not None:
        kind = MANIFEST
    if kind is None and tally.malformed:
        kind = kind_of(head)
    if kind is not None:
        raise NotAnOutputError(f"{name} {_ADVICE[kind]}{_message(head) if kind == FAILURE else ''}")


def kind_of(raw: bytes | bytearray) -> str | None:
    """The name of a JSON object that is no answer; None where it has none."""
    found = _loaded(raw)
    if found is None:
        return None
    if found.get("object") == "batch" or "processing_status" in found or "batchStats" in found:
        return BATCH
    if found.get("type") == "error" or (set(found) <= {"error", "request_id", "type"} and found.get("error")):
        return FAILURE
    if "totalRecordCount" in found:
        return MANIFEST
    return REQUEST if _is_request(found) else None


def _is_request(found: Mapping[str, Any]) -> bool:
    if any(found.get(key) is not None for key in ("response", "result", "modelOutput", "status", "error")):
        return False
    if "response" in found and "body" not in found:
        return False
    return any(isinstance(found.get(key), dict) for key in ("body", "params", "modelInput", "request"))


def _loaded(raw: bytes | bytearray) -> Mapping[str, Any] | None:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else None


def _message(head: bytes) -> str:
    found = _loaded(head) or {}
    error = found.get("error")
    text = cast("Mapping[str, Any]", error).get("message") if isinstance(error, dict) else error
    return f": {str(text)[:200]}" if text else ""
