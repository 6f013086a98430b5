"""Scripted trouble: what goes wrong with a batch (`Script`), and with single requests (`Fault`)."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .refusal import Dropped, Refusal, invalid

METADATA_KEY = "sandbox"
"""A batch's own script travels in this metadata key, …"""
SCRIPT_HEADER = "x-sandbox-script"
"""… or in this header of the request that creates it: `fail=0.1 outcome=expired`."""
FAULT_HEADER = "x-sandbox-fault"
"""The fault of one request and its repetitions: `rate_limit*2 retry_after=0.1`."""


class Script(BaseModel):
    """The fate of a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Literal["completed", "failed", "expired", "cancelled"] = "completed"
    """`failed`: validation refuses it. `expired`, `cancelled`: the share `done` of its lines was run before."""
    fail: Fraction = Field(default=Fraction(0), ge=0, le=1)
    """Share of the lines run that fail, evenly spread, half with 400 and half with 500. 1: only an error file."""
    done: Fraction = Field(default=Fraction(1, 2), ge=0, le=1)
    lag: int = Field(default=0, ge=0)
    """Looks (retrieves and lists) at which a finished batch does not name its files yet."""
    malformed: int = Field(default=0, ge=0)
    """Output lines that are cut in half."""
    no_usage: int = Field(default=0, ge=0)
    """Output lines whose usage is null."""
    tokens: int = Field(default=1, ge=1, le=1_000_000)
    """Every counter of an answer is so many times what its text has: realistic amounts from small files."""
    slow: float = Field(default=0.0, ge=0)
    """Seconds before every 64 KB of its downloads."""
    truncate: int = Field(default=0, ge=0)
    """Downloads of its output that break off halfway."""

    @classmethod
    def parse(cls, text: str, base: "Script | None" = None) -> "Script":
        """`fail=0.1 outcome=expired`, over `base`; Refusal when a word is unknown."""
        values: dict[str, Any] = {} if base is None else base.model_dump(exclude_unset=True)
        values.update(_pairs(text.replace(",", " ").split()))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise invalid(METADATA_KEY, f"not a sandbox script: {text!r}: {_first(error)}") from error


class Fault(BaseModel):
    """The fate of requests: `times` of those that match get it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["rate_limit", "quota", "server_error", "unavailable", "drop", "lose_answer"]
    """`drop` breaks the connection before anything is done, `lose_answer` after everything is."""
    times: int = Field(default=1, ge=1)
    method: str = "*"
    path: str = "*"
    """Patterns with `*` and `?`: `POST`, `/v1/batches/*`."""
    retry_after: float | None = None
    """Seconds, sent with `rate_limit` and `unavailable`."""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """`kind[*times] [METHOD] [/path] [retry_after=S]`; Refusal when it is something else."""
        kind, *words = text.replace(",", " ").split() or [""]
        kind, _, times = kind.partition("*")
        values: dict[str, Any] = {"kind": kind, "times": times or 1}
        values.update(_pairs(word for word in words if "=" in word))
        for word in words:
            if "=" not in word:
                values["path" if word.startswith(("/", "*")) else "method"] = word
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise invalid(FAULT_HEADER, f"not a sandbox fault: {text!r}: {_first(error)}") from error

    def matches(self, method: str, path: str) -> bool:
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path)

    def strike(self) -> None:
        """Raises what the request gets in place of its answer; `lose_answer` strikes later."""
        if self.kind == "drop":
            raise Dropped
        if self.kind != "lose_answer":
            status, message, kind, code = _ANSWERS[self.kind]
            headers = {} if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
            raise Refusal(status, message, kind, code=code, headers=headers)


_ANSWERS: dict[str, tuple[int, str, str, str | None]] = {
    "rate_limit": (429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    "quota": (429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "server_error": (500, "The server had an error while processing your request.", "server_error", None),
    "unavailable": (503, "The engine is currently overloaded, please try again later.", "server_error", None),
}


@dataclass(slots=True)
class Faults:
    """The faults still to come, in the order they were added."""

    _waiting: list[tuple[Fault, int]] = field(default_factory=list[tuple[Fault, int]])
    _sent: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])

    def add(self, *faults: Fault | str) -> None:
        for fault in faults:
            parsed = Fault.parse(fault) if isinstance(fault, str) else fault
            self._waiting.append((parsed, parsed.times))

    def clear(self) -> None:
        self._waiting.clear()
        self._sent.clear()

    @contextmanager
    def during(self, method: str, path: str, header: str | None = None) -> Generator[None]:
        """Around one request's work: raises Refusal or Dropped in place of its answer, where a fault says so."""
        fault = self.take(method, path, header)
        if fault is not None:
            fault.strike()
        yield
        if fault is not None:
            raise Dropped

    def take(self, method: str, path: str, header: str | None = None) -> Fault | None:
        """The fault of this request, if it has one; `header` is its own."""
        if header:
            fault = Fault.parse(header)
            key = (method, path, header)
            self._sent[key] = self._sent.get(key, 0) + 1
            if self._sent[key] <= fault.times:
                return fault
        for index, (fault, left) in enumerate(self._waiting):
            if fault.matches(method, path):
                if left > 1:
                    self._waiting[index] = (fault, left - 1)
                else:
                    del self._waiting[index]
                return fault
        return None


def _pairs(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
