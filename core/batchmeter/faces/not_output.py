"""Refuses a file that holds no answers: one error names the kind of file it is, and the mend."""

import zlib
from collections.abc import Mapping
from typing import Any, cast

from batchmeter.errors import NotAnOutputError
from batchmeter.metering.result import Job
from batchmeter.metering.scan import BATCH, FAILURE, MANIFEST, REQUEST, Scanner, kind_of
from batchmeter.metering.wire import loads

HEAD = 64 * 1024
"""Bytes from the start of a file that are kept to tell what it is."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe", "is UTF-16 text, as PowerShell writes it: save it as UTF-8, or run `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "is UTF-16 text: save it as UTF-8, or run `iconv -f UTF-16 -t UTF-8`"),
    (b"{\0", "is UTF-16 text: save it as UTF-8, or run `iconv -f UTF-16LE -t UTF-8`"),
    (b"\0{", "is UTF-16 text: save it as UTF-8, or run `iconv -f UTF-16BE -t UTF-8`"),
    (b"%PDF-", "is a PDF document, not an output file"),
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
_GZIP = b"\x1f\x8b"
_LONGEST = 8
"""Bytes that decide."""
_ADVICE = {
    REQUEST: "is a batch input file, requests without answers: meter the output file, or see `batchmeter estimate`",
    BATCH: "is a batch object, not its output: download the file that its output_file_id names and meter that",
    MANIFEST: "is a job's manifest, with sums but no answers: give the .jsonl.out files of the job along with it",
    FAILURE: "is an error message of an API, not an output file",
}


class OutputScanner(Scanner):
    """A scanner that stops at a file which is no output."""

    def __init__(self, job: Job, *, many_files: bool = False) -> None:
        super().__init__(job, many_files=many_files)
        self._name = "the input"
        self._head = b""
        self._is_checked = False
        self._before = 0

    def start_file(self, name: str | None) -> None:
        super().start_file(name)
        self._name = name or "the input"
        self._head = b""
        self._is_checked = False
        self._before = self._answers()
        self.tally.strangers.clear()

    def feed(self, chunk: bytes) -> None:
        """NotAnOutputError where the first bytes are those of something else."""
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
        packed = self._head.startswith(_GZIP)
        if not self._is_checked and len(self._head.lstrip()) >= (HEAD if packed else _LONGEST):
            self._check()
        super().feed(chunk)

    def end_file(self) -> None:
        """NotAnOutputError where no line of the file is an answer, and what there is has a name."""
        super().end_file()
        self._check()
        kind = self._kind() if self._answers() == self._before else None
        if kind is not None and (kind != MANIFEST or self.tally.manifest is None):
            raise NotAnOutputError(
                f"{self._name} {_ADVICE[kind]}{_message(_unpacked(self._head)) if kind == FAILURE else ''}"
            )

    def finish(self) -> None:
        """NotAnOutputError where a manifest is all there is."""
        if self.tally.manifest is not None and not self._answers() and not self.tally.malformed:
            raise NotAnOutputError(f"{self._name} {_ADVICE[MANIFEST]}")

    def _answers(self) -> int:
        return self.tally.succeeded + self.tally.failed + self.tally.repeated

    def _kind(self) -> str | None:
        named = next((kind for kind, _ in self.tally.strangers.most_common()), None)
        return named or (kind_of(loads(_unpacked(self._head))) if self.tally.malformed else None)

    def _check(self) -> None:
        self._is_checked = True
        head = _unpacked(self._head)
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        for start, advice in (*_MAGIC, *_TEXT):
            if (head if (start, advice) in _MAGIC else text).startswith(start):
                raise NotAnOutputError(f"{self._name} {advice}")


def _unpacked(head: bytes) -> bytes:
    """The start of what was packed with gzip; what is broken in it is told by its lines."""
    if not head.startswith(_GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _message(head: bytes) -> str:
    found = loads(head)
    error = cast("Mapping[str, Any]", found).get("error") if isinstance(found, dict) else None
    text = cast("Mapping[str, Any]", error).get("message") if isinstance(error, dict) else error
    return f": {str(text)[:200]}" if text else ""
