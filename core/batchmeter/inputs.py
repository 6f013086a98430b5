"""Checks a batch input file as it streams by: what the provider would refuse, on which line, and how to mend it.

The common line costs one typed decode that skips what is not needed; only a line that something is wrong with is read
again, tolerantly, to say what. Memory holds the custom_ids and one line, whatever the file's size.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from .errors import InvalidInputError, Problem, UsageError

CHUNK = 64 * 1024
MAX_PROBLEMS = 20
_MB = 1024 * 1024

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/responses": ("model",),
    "/v1/embeddings": ("model", "input"),
    "/v1/completions": ("model", "prompt"),
    "/v1/moderations": ("input",),
    "/v1/images/generations": ("prompt",),
    "/v1/images/edits": ("prompt",),
    "/v1/videos": ("prompt",),
}
"""OpenAI's batch endpoints and what a request body must have there."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class InputLimits:
    """What one provider accepts in one file."""

    bytes: int = 200 * _MB
    lines: int = 50_000
    embedding_inputs: int = 50_000
    """Over all lines of an embeddings file."""
    line_bytes: int = 64 * _MB
    """A longer line is reported and never held in memory."""
    endpoints: frozenset[str] | None = frozenset(REQUIRED)
    """None: any url."""
    one_model: bool = True


OPENAI = InputLimits()


@dataclass(frozen=True, slots=True)
class InputSummary:
    """What a file holds."""

    bytes: int
    lines: int
    """Requests: blank lines do not count."""
    models: tuple[str, ...]
    endpoint: str | None
    problems: tuple[Problem, ...]
    """The first 20 reasons for which the provider would refuse the file."""
    more: int = 0
    """How many problems there are beyond `problems`."""
    warnings: tuple[Problem, ...] = ()
    """The first 20 oddities: accepted, though not every JSON reader would."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def check(self, source: str) -> None:
        """Raises InvalidInputError, naming `source`, when there are problems."""
        if self.problems:
            raise InvalidInputError(source, self.problems, self.more)


class _Body(msgspec.Struct, gc=False):
    model: str = ""
    stream: bool | None = None
    messages: msgspec.Raw | None = None
    input: msgspec.Raw | None = None
    prompt: msgspec.Raw | None = None


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    method: str
    url: str
    body: _Body


_decode = msgspec.json.Decoder(_Line).decode
_decode_inputs = msgspec.json.Decoder(str | list[Any]).decode


@dataclass(slots=True)
class _Fault:
    """A problem without its place."""

    code: str
    message: str
    param: str | None = None


@dataclass(slots=True)
class InputChecker:
    """Push chunks of any size into `feed`, then `close` for the verdict; chunk borders never change it."""

    endpoint: str | None = None
    """The batch's endpoint; None: the first line's url decides."""
    limits: InputLimits = OPENAI
    _ids: dict[str, int] = field(default_factory=dict[str, int], init=False)
    _models: dict[str, None] = field(default_factory=dict[str, None], init=False)
    _problems: list[Problem] = field(default_factory=list[Problem], init=False)
    _warnings: list[Problem] = field(default_factory=list[Problem], init=False)
    _tail: list[bytes] = field(default_factory=list[bytes], init=False)
    _held: int = field(default=0, init=False)
    _size: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _lines: int = field(default=0, init=False)
    _inputs: int = field(default=0, init=False)
    _more: int = field(default=0, init=False)
    _over: bool = field(default=False, init=False)
    """A limit of the whole file is broken: from here on bytes and lines are only counted."""
    _first: bytes = field(default=b"", init=False)

    def feed(self, chunk: bytes) -> None:
        """Looks at the next bytes of the file."""
        if len(self._first) < 4:  # noqa: PLR2004 - the longest signature below
            self._first += chunk[:4]
        self._size += len(chunk)
        if self._size > self.limits.bytes:
            self._break("file_too_large", f"the file is larger than {self.limits.bytes // _MB} MB; split it")
        start = 0
        end = chunk.find(b"\n")
        while end >= 0:
            self._line(self._joined(chunk[start:end]))
            start = end + 1
            end = chunk.find(b"\n", start)
        self._hold(chunk[start:])

    def close(self) -> InputSummary:
        """The verdict; a last line without a line feed counts."""
        if self._held:
            self._line(self._joined(b""))
        if not self._lines and not self._problems:
            self._report(_Fault("empty_file", "the file has no requests; write one JSON object per line"), None, None)
        return InputSummary(
            bytes=self._size,
            lines=self._lines,
            models=tuple(self._models),
            endpoint=self.endpoint,
            problems=tuple(self._problems),
            more=self._more,
            warnings=tuple(self._warnings),
        )

    def _hold(self, rest: bytes) -> None:
        if not rest:
            return
        self._held += len(rest)
        if self._held > self.limits.line_bytes or self._over:
            self._tail.clear()
        else:
            self._tail.append(rest)

    def _joined(self, rest: bytes) -> bytes | None:
        """The whole line; None when it was too long to hold."""
        if not self._held:
            return rest
        whole = self._held + len(rest) <= self.limits.line_bytes
        line = b"".join((*self._tail, rest)) if whole and not self._over else None
        self._tail.clear()
        self._held = 0
        return line

    def _line(self, line: bytes | None) -> None:
        self._number += 1
        if line is not None and not line.strip():
            return
        self._lines += 1
        if self._over:
            return
        if self._lines > self.limits.lines:
            self._break("too_many_lines", f"more than {self.limits.lines:,} requests; split the file")
        elif line is None:
            size = self.limits.line_bytes // _MB
            self._report(_Fault("line_too_long", f"longer than {size} MB; one request per line"), self._number, None)
        elif not self._plain(line):
            self._explain(line)

    def _plain(self, line: bytes) -> bool:
        """True, and remembered, for a line with nothing to say about."""
        try:
            request = _decode(line)
            if not line.isascii():
                line.decode()
        except _UNREADABLE:
            return False
        body = request.body
        if (
            request.url != self.endpoint
            or request.method != "POST"
            or body.stream
            or body.model not in self._models
            or request.custom_id in self._ids
            or not request.custom_id
            or any(not getattr(body, name, None) for name in REQUIRED.get(request.url, ()))
        ):
            return False
        self._ids[request.custom_id] = self._number
        if self.endpoint == "/v1/embeddings" and body.input is not None:
            self._count(_decode_inputs(body.input))
        return True

    def _explain(self, line: bytes) -> None:
        """Reads the line again, tolerantly, to report everything that is wrong with it."""
        request = self._tolerant(line)
        if request is None:
            return
        custom_id = request.get("custom_id")
        known = custom_id if isinstance(custom_id, str) else None
        for fault in self._faults(request):
            self._report(fault, self._number, known)
        if known:
            self._ids.setdefault(known, self._number)

    def _tolerant(self, line: bytes) -> dict[str, Any] | None:
        """The line as JSON; None, with the reason reported, when it is none."""
        try:
            request: object = json.loads(line.decode(), parse_constant=self._odd_number)
        except UnicodeDecodeError as error:
            reason = f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        except RecursionError:
            reason = "nested too deeply"
        except ValueError as error:
            reason = self._not_json(line, error)
        else:
            if isinstance(request, dict):
                self._warn_of_surrogates(line)
                return cast("dict[str, Any]", request)
            reason = f"a JSON {type(request).__name__}, not an object; write one JSON object per line"
        self._report(_Fault("invalid_json_line", reason), self._number, None)
        return None

    def _not_json(self, line: bytes, error: ValueError) -> str:
        if self._number == 1:
            for signature, reason in _SIGNATURES.items():
                if self._first.startswith(signature):
                    return reason
        if line.strip() in _FRAGMENTS:
            return "part of a JSON text spread over several lines; write each request on one line (JSONL)"
        return f"not JSON: {error}"

    def _odd_number(self, name: str) -> float:
        self._warn(f"{name} is not JSON, though some readers take it; send null or a number")
        return float(name.replace("Infinity", "inf"))

    def _warn_of_surrogates(self, line: bytes) -> None:
        try:
            msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            if "surrogate" in str(error) or "unicode" in str(error).lower():
                self._warn("a lone surrogate escape (half a character, such as \\ud83d); many readers refuse it")
        except _UNREADABLE:
            return

    def _faults(self, request: Mapping[str, Any]) -> Iterator[_Fault]:
        yield from self._custom_id_faults(request)
        yield from self._target_faults(request)
        body = request.get("body")
        if isinstance(body, dict):
            yield from self._body_faults(cast("dict[str, Any]", body))
        else:
            yield _Fault("missing_required_parameter", "no `body` object: the request to send", "body")

    def _custom_id_faults(self, request: Mapping[str, Any]) -> Iterator[_Fault]:
        custom_id = request.get("custom_id")
        if not isinstance(custom_id, str) or not custom_id:
            got = "no `custom_id`" if custom_id in (None, "") else f"`custom_id` is {custom_id!r}"
            yield _Fault("missing_required_parameter", f"{got}; give each line a string of its own", "custom_id")
        elif custom_id in self._ids:
            first = self._ids[custom_id]
            yield _Fault("duplicate_custom_id", f"custom_id already used on line {first}; make it unique", "custom_id")

    def _target_faults(self, request: Mapping[str, Any]) -> Iterator[_Fault]:
        if (method := request.get("method")) != "POST":
            yield _Fault("invalid_method", f'`method` is {method!r}; it has to be "POST"', "method")
        url = request.get("url")
        known = self.limits.endpoints
        if not isinstance(url, str) or (known is not None and url not in known):
            accepted = ", ".join(sorted(known or ("a string",)))
            yield _Fault("invalid_url", f"`url` is {url!r}; it has to be one of: {accepted}", "url")
        elif self.endpoint is None:
            self.endpoint = url
        elif url != self.endpoint:
            yield _Fault(
                "url_mismatch", f"`url` is {url!r}, the batch's endpoint {self.endpoint!r}; one per file", "url"
            )

    def _body_faults(self, body: Mapping[str, Any]) -> Iterator[_Fault]:
        for name in REQUIRED.get(self.endpoint or "", ()):
            if body.get(name) in (None, "", []):
                yield _Fault("missing_required_parameter", f"`body` has no `{name}`", f"body.{name}")
        if body.get("stream"):
            message = "`stream` cannot be true in a batch; leave it out"
            yield _Fault("streaming_unsupported", message, "body.stream")
        model = body.get("model")
        if isinstance(model, str) and model:
            yield from self._model_faults(model)
        if self.endpoint == "/v1/embeddings":
            self._count(body.get("input"))

    def _model_faults(self, model: str) -> Iterator[_Fault]:
        if self._models and model not in self._models and self.limits.one_model:
            first = next(iter(self._models))
            message = f"`model` is {model!r}, on earlier lines {first!r}; make one file per model"
            yield _Fault("mismatched_model", message, "body.model")
        else:
            self._models[model] = None

    def _count(self, inputs: object) -> None:
        """Embedding inputs: a text or a list of token numbers is one, a list of either is many."""
        items = cast("list[object]", inputs) if isinstance(inputs, list) else []
        self._inputs += len(items) if items and isinstance(items[0], str | list) else 1
        if self._inputs > self.limits.embedding_inputs:
            most = f"{self.limits.embedding_inputs:,}"
            self._break("too_many_inputs", f"more than {most} embedding inputs in one file; split it")

    def _break(self, code: str, message: str) -> None:
        if not self._over:
            self._over = True
            self._ids.clear()
            self._report(_Fault(code, message), self._number or None, None)

    def _report(self, fault: _Fault, line: int | None, custom_id: str | None) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(fault.code, fault.message, line, custom_id, fault.param))
        else:
            self._more += 1

    def _warn(self, message: str) -> None:
        if len(self._warnings) < MAX_PROBLEMS:
            self._warnings.append(Problem("not_interoperable", message, self._number))


_SIGNATURES = {
    b"\xef\xbb\xbf": "the file starts with a byte order mark; save it as UTF-8 without one",
    b"\xff\xfe": "the file is UTF-16; save it as UTF-8",
    b"\xfe\xff": "the file is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "the file is gzipped; unpack it",
    b"PK\x03\x04": "the file is a zip archive; unpack it",
    b"[": "the file is a JSON array; write one request per line (JSONL), without brackets and commas",
    b"{\n": "a request is spread over several lines; write each on one line (JSONL)",
    b"{\r\n": "a request is spread over several lines; write each on one line (JSONL)",
}
_FRAGMENTS = frozenset({b"{", b"}", b"[", b"]", b"},", b"],"})


def check_path(path: str | Path, endpoint: str | None = None, limits: InputLimits = OPENAI) -> InputSummary:
    """Checks a file on disk; UsageError when it cannot be read."""
    checker = InputChecker(endpoint, limits)
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK):
                checker.feed(chunk)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return checker.close()


async def check_file(path: str | Path, endpoint: str | None = None, limits: InputLimits = OPENAI) -> InputSummary:
    """`check_path` off the event loop."""
    return await asyncio.to_thread(check_path, path, endpoint, limits)
