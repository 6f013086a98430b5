"""Results of a batch's lines: the output and error files, and the exact sums of what is in them.

Every line's fate and tokens follow from the seed, the script and the request alone, so sums can be had without files
and files can be written late; both agree because both walk `outcomes`.
"""

import json
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from batchmeter.models import Usage

from .answers import answer, with_usage, without_usage
from .requests import Requests
from .script import Script
from .snapshots import snapshot
from .tokens import Dice, Tokens, spent

Kind = Literal["output", "error"]
KINDS: tuple[Kind, ...] = ("output", "error")
Fate = Literal["answered", "malformed", "no_usage", "bad_request", "server_error", "never_run"]

_UNRUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
_ERRORS: dict[Fate, tuple[int, dict[str, Any]]] = {
    "bad_request": (
        400,
        {
            "message": "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.",
            "type": "invalid_request_error",
            "param": "temperature",
            "code": "decimal_above_max_value",
        },
    ),
    "server_error": (
        500,
        {
            "message": "The server had an error while processing your request.",
            "type": "server_error",
            "param": None,
            "code": None,
        },
    ),
}
_GOOD: frozenset[Fate] = frozenset({"answered", "malformed", "no_usage"})


@dataclass(frozen=True, slots=True)
class Run:
    """An ended batch: all that its files follow from."""

    requests: Requests
    endpoint: str
    script: Script
    seed: int
    share: Fraction
    """Of the lines, run."""
    status: str
    job_id: str = ""
    created: int = 0
    """The time in the answers."""

    @property
    def finished(self) -> int:
        return int(self.share * len(self.requests))

    def order(self) -> "array[int]":
        """The lines in the order in which they finish."""
        numbers = array("Q", range(len(self.requests)))
        random.Random(f"{self.seed}:{len(numbers)}").shuffle(numbers)  # noqa: S311 - repeatable, not secret
        return numbers

    def fate(self, position: int) -> Fate:
        """Of the line that finishes at this position; failures are spread evenly, spoilt answers come first."""
        if position >= self.finished:
            return "never_run"
        failed = int(position * self.script.fail)
        if int((position + 1) * self.script.fail) > failed:
            return "server_error" if failed % 2 else "bad_request"
        answered = position - failed
        if answered < self.script.malformed:
            return "malformed"
        return "no_usage" if answered < self.script.malformed + self.script.no_usage else "answered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line's end."""

    fate: Fate
    request: dict[str, Any]
    dice: Dice
    factor: int = 1
    """Tokens that its counters say, by those that its text has."""

    @property
    def kind(self) -> Kind:
        return "output" if self.fate in _GOOD else "error"

    def tokens(self, endpoint: str) -> Tokens:
        return spent(endpoint, self.request["body"], self.dice).times(self.factor)


@dataclass(slots=True)
class Totals:
    """Sums that an exact meter must find in a batch's files."""

    lines: int = 0
    succeeded: int = 0
    """Readable output lines, those without usage included."""
    failed: int = 0
    """Lines of the error file."""
    malformed: int = 0
    without_usage: int = 0
    usage: Usage = field(default_factory=Usage)
    """Of the readable lines that report usage."""
    models: dict[str, Usage] = field(default_factory=dict[str, Usage])
    billed: Usage = field(default_factory=Usage)
    """Of all lines that ran well, spoilt ones included: what the batch's own `usage` says."""


def tally(lines: int, share: Fraction, fail: Fraction) -> dict[str, int]:
    """`request_counts` when this share of the lines has run."""
    run = int(share * lines)
    failed = int(run * fail)
    return {"total": lines, "completed": run - failed, "failed": failed}


def outcomes(run: Run) -> Iterator[Outcome]:
    """Every line's end, in the order in which lines finish."""
    for position, request in enumerate(run.requests.read(run.order())):
        yield Outcome(run.fate(position), request, Dice(run.seed, request["custom_id"]), run.script.tokens)


def count(run: Run) -> Totals:
    """The sums, without writing anything."""
    totals = Totals()
    read: dict[str, list[int]] = {}
    billed = [0, 0, 0, 0]
    for outcome in outcomes(run):
        totals.lines += 1
        if outcome.kind == "error":
            totals.failed += 1
            continue
        malformed = outcome.fate == "malformed"
        totals.malformed += malformed
        totals.succeeded += not malformed
        if run.endpoint == "/v1/moderations":
            totals.without_usage += not malformed
            continue
        tokens = outcome.tokens(run.endpoint)
        _add(billed, tokens)
        if outcome.fate == "answered":
            _add(read.setdefault(snapshot(outcome.request["body"]["model"]), [0, 0, 0, 0]), tokens)
        totals.without_usage += outcome.fate == "no_usage"
    totals.models = {model: _usage(sums) for model, sums in read.items()}
    totals.usage = sum(totals.models.values(), Usage())
    totals.billed = _usage(billed)
    return totals


def write(run: Run, paths: dict[Kind, Path]) -> None:
    """Writes the output and the error file; each appears whole or not at all."""
    parts = {kind: path.with_name(f"{path.name}.{id(run):x}.part") for kind, path in paths.items()}
    with parts["output"].open("wb") as output, parts["error"].open("wb") as error:
        files: dict[Kind, BinaryIO] = {"output": output, "error": error}
        for outcome in outcomes(run):
            files[outcome.kind].write(_line(run, outcome))
    for kind in KINDS:
        parts[kind].replace(paths[kind])


def _line(run: Run, outcome: Outcome) -> bytes:
    custom_id = outcome.request["custom_id"]
    dice = Dice(run.seed, f"{run.job_id}\n{custom_id}")
    line: dict[str, Any] = {"id": f"batch_req_{dice.hex(32)}", "custom_id": custom_id}
    if outcome.fate == "never_run":
        code, message = _UNRUN[run.status]
        line |= {"response": None, "error": {"code": code, "message": message}}
    else:
        status, body = _answer(run, outcome)
        line |= {"response": {"status_code": status, "request_id": dice.hex(32), "body": body}, "error": None}
    encoded = _encode(line)
    return (encoded[: len(encoded) // 2] if outcome.fate == "malformed" else encoded) + b"\n"


def _answer(run: Run, outcome: Outcome) -> tuple[int, dict[str, Any]]:
    if outcome.fate in _ERRORS:
        status, error = _ERRORS[outcome.fate]
        return status, {"error": error}
    body = answer(run.endpoint, outcome.request["body"], outcome.dice, run.created)
    return 200, without_usage(body) if outcome.fate == "no_usage" else with_usage(body, outcome.factor)


def _encode(line: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(line)
    except UnicodeEncodeError:  # a lone surrogate, escaped as it came
        return json.dumps(line, separators=(",", ":")).encode()


def _add(sums: list[int], tokens: Tokens) -> None:
    sums[0] += tokens.input
    sums[1] += tokens.cached
    sums[2] += tokens.output
    sums[3] += tokens.reasoning


def _usage(sums: list[int]) -> Usage:
    given, cached, output, reasoning = sums
    return Usage(input_tokens=given, cached_input_tokens=cached, output_tokens=output, reasoning_tokens=reasoning)
