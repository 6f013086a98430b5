"""The input file of a run: written as its requests come, checked and hashed on the way, gone when the run ends."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from batchmeter.inputs import OPENAI, InputChecker, InputLimits

from .requests import Lines, Requests


@dataclass(frozen=True, slots=True)
class Written:
    """A file on disk; a context manager that deletes it."""

    path: Path
    ids: Sequence[str]
    digest: str
    """SHA-256 of the content."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def write(requests: Requests, lines: Lines, limits: InputLimits = OPENAI) -> Written:
    """UsageError for what is no request, InvalidInputError for what the provider would refuse."""
    digest, checker = hashlib.sha256(), InputChecker(lines.endpoint, limits)
    with tempfile.NamedTemporaryFile(prefix="batchmeter-", suffix=".jsonl", delete=False) as file:
        path = Path(file.name)
        try:
            for line in lines.of(requests):
                file.write(line)
                digest.update(line)
                checker.feed(line)
            checker.close().check("requests")
        except BaseException:
            path.unlink()
            raise
    return Written(path, lines.ids, digest.hexdigest())
