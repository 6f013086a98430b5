"""A validated input file: where its lines are, and the requests on them."""

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from batchmeter.inputs import InputChecker, InputLimits

Problem = dict[str, Any]
"""One entry of a failed batch's `errors.data`: code, message, param, line."""


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Findings of the validation."""

    path: Path
    offsets: "array[int]"
    """Where each request's line begins."""
    model: str | None
    problem: Problem | None = None
    """Why the batch fails. OpenAI stops at the first."""

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """The requests with these numbers (from 0), in the order asked."""
        with self.path.open("rb") as file:
            for number in numbers:
                file.seek(self.offsets[number])
                yield _decode(file.readline())


def refused(path: Path, code: str, message: str, param: str | None = None, line: int | None = None) -> Requests:
    problem = {"code": code, "message": message, "param": param, "line": line}
    return Requests(path, array("Q"), None, problem)


def validate(path: Path, endpoint: str, limits: InputLimits) -> Requests:
    """Reads the file once, as OpenAI does when a batch is `validating`."""
    checker = InputChecker(endpoint, limits)
    offsets = array("Q")
    position = 0
    with path.open("rb") as file:
        for line in file:
            checker.feed(line)
            if line.strip():
                offsets.append(position)
            position += len(line)
    summary = checker.close()
    if summary.problems:
        first = summary.problems[0]
        return refused(path, first.code, first.message, first.param, first.line)
    return Requests(path, offsets, summary.models[0] if summary.models else None)


def _decode(line: bytes) -> dict[str, Any]:
    """NaN and lone surrogates are let in, so they have to be read."""
    try:
        request: dict[str, Any] = msgspec.json.decode(line)
    except msgspec.DecodeError:
        request = json.loads(line)
    return request
