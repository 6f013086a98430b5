"""Requests as people have them (texts, messages, bodies, whole lines, data frames) into the lines of an input file."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

from batchmeter.errors import UsageError
from batchmeter.inputs import OPENAI, InputChecker, InputLimits, check_path
from batchmeter.jobs.jobs import boundless

Requests: TypeAlias = "Iterable[Any] | Mapping[str, Any] | Any"
"""A list or generator of: texts; lists of messages; bodies; dicts with `custom_id`. Or a dict of those by custom_id; or a
data frame of pandas or polars, a row a request: `custom_id` (optional), and the columns of a body or one of texts."""


def _messages(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _input(content: Any) -> dict[str, Any]:
    return {"input": content}


def _prompt(text: str) -> dict[str, Any]:
    return {"prompt": text}


_FROM_TEXT: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": _messages,
    "/v1/responses": _input,
    "/v1/embeddings": _input,
    "/v1/moderations": _input,
    "/v1/completions": _prompt,
    "/v1/images/generations": _prompt,
    "/v1/videos": _prompt,
}
_FROM_LIST: Mapping[str, Callable[[list[Any]], dict[str, Any]]] = {
    "/v1/chat/completions": lambda messages: {"messages": messages},
    "/v1/responses": _input,
    "/v1/embeddings": _input,
}

BODY = frozenset(
    [
        "audio",
        "background",
        "dimensions",
        "encoding_format",
        "frequency_penalty",
        "include",
        "input",
        "instructions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt",
        "prompt_cache_key",
        "quality",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "size",
        "stop",
        "store",
        "stream",
        "stream_options",
        "system",
        "system_prompt",
        "temperature",
        "text",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "truncation",
        "verbosity",
        "web_search_options",
    ]
)
"""Members of a request that people give to the call, as they do when they call a model."""


def refuse_members(given: Mapping[str, Any]) -> None:
    """UsageError for members of a request where settings of an account stand; it says what to write."""
    found = {name: value for name, value in given.items() if name in BODY}
    if found:
        shown = ", ".join(f"{name!r}: {value!r:.60}" for name, value in found.items())
        raise UsageError(f"{', '.join(found)}: members of each request go into the body: run(…, body={{{shown}}})")


@dataclass(slots=True)
class Lines:
    """The lines of one input file."""

    endpoint: str
    model: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members that every request has unless it says otherwise: `temperature`, `max_completion_tokens`, …"""
    ids: list[str] = field(default_factory=list[str])
    """The custom_ids, in order, as far as lines were made."""

    def of(self, requests: Requests) -> Iterator[bytes]:
        """UsageError where something is no request; the rest of the rules are the input checker's."""
        for number, (custom_id, request) in enumerate(_each(requests)):
            line = self._line(custom_id, request, number)
            self.ids.append(str(line["custom_id"]))
            try:
                yield json.dumps(line, ensure_ascii=False, default=_plain).encode() + b"\n"
            except (TypeError, UnicodeEncodeError) as error:
                raise UsageError(f"request {line['custom_id']!r} (number {number}) is no JSON: {error}") from None

    def _line(self, custom_id: object, request: object, number: int) -> dict[str, Any]:
        if isinstance(request, Mapping):
            given = dict(cast("Mapping[str, Any]", request))
            custom_id = given.pop("custom_id", custom_id)
            wrapped: Any = given.get("body")
            body = self._body(wrapped if "body" in given and set(given) <= _LINE else given, number)
        else:
            body = self._body(request, number)
        known = {"model": self.model} if self.model is not None else {}
        name = f"request-{number}" if custom_id is None else str(_plain_or_same(custom_id))
        return {"custom_id": name, "method": "POST", "url": self.endpoint, "body": {**known, **self.body, **body}}

    def _body(self, request: object, number: int) -> dict[str, Any]:
        kind = type(request).__name__
        if isinstance(request, Mapping):
            return self._from_mapping(dict(cast("Mapping[str, Any]", request)))
        if isinstance(request, str) and self.endpoint in _FROM_TEXT:
            return _FROM_TEXT[self.endpoint](request)
        if isinstance(request, list | tuple) and self.endpoint in _FROM_LIST:
            return _FROM_LIST[self.endpoint](list(cast("Iterable[Any]", request)))
        raise UsageError(
            f"request number {number} is {kind}; for {self.endpoint} give "
            + ("a text, " if self.endpoint in _FROM_TEXT else "")
            + "a body, or a dict with `custom_id` and the body's fields"
        )

    def _from_mapping(self, body: dict[str, Any]) -> dict[str, Any]:
        """A chat body may say `prompt` (and `system`) in place of `messages`, as tables of texts do."""
        if self.endpoint != "/v1/chat/completions" or "messages" in body or not isinstance(body.get("prompt"), str):
            return body
        messages = _messages(body.pop("prompt"))["messages"]
        system = body.pop("system", None)
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        return {"messages": messages, **body}


_LINE = frozenset({"body", "method", "url"})


def _each(requests: Requests) -> Iterator[tuple[object, object]]:
    """(custom_id or None, request)"""
    if isinstance(requests, str | bytes):
        raise UsageError("requests= takes several: for one text, put it in a list")
    if isinstance(requests, Mapping):
        yield from cast("Mapping[object, object]", requests).items()
    elif hasattr(requests, "columns"):
        yield from ((None, row) for row in _rows(requests))
    elif isinstance(requests, Iterable):
        yield from ((None, request) for request in cast("Iterable[object]", requests))
    else:
        raise UsageError(f"requests= takes a list, a generator, a dict or a data frame, not {type(requests).__name__}")


def _rows(frame: Any) -> Iterator[object]:
    """A row of one column of texts is that text; empty cells are left out."""
    names = [str(name) for name in frame.columns]
    only = [name for name in names if name != "custom_id"]
    rows = frame.iter_rows() if hasattr(frame, "iter_rows") else frame.itertuples(index=False, name=None)
    for row in rows:
        cells = {name: _plain_or_same(cell) for name, cell in zip(names, row, strict=True) if not _empty(cell)}
        alone = cells.get(only[0]) if len(only) == 1 else None
        if isinstance(alone, str | list):
            yield {"body": alone, **{name: cells[name] for name in names if name == "custom_id" and name in cells}}
        else:
            yield cells


def _empty(cell: Any) -> bool:
    """None, NaN, NaT, pandas' NA: none of them equals itself."""
    if cell is None or isinstance(cell, str | list | dict):
        return cell is None
    same = cell == cell  # noqa: PLR0124 - what tells NaN from everything else
    return (
        same is False
        or type(same).__name__ == "NAType"
        or (hasattr(same, "item") and getattr(same, "size", 0) == 1 and not same)
    )


def _plain_or_same(value: Any) -> Any:
    """A cell of numpy's or arrow's own kind as Python's."""
    return _plain(value) if hasattr(value, "tolist") else value


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


@dataclass(frozen=True, slots=True)
class Written:
    """A file on disk; a context manager that deletes it."""

    path: Path
    ids: Sequence[str]
    digest: str
    """SHA-256 of the content."""
    many: bool = False
    """Whether it takes more than one batch."""

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
            many = False
            if checker.close().problems:
                file.flush()
                check_path(path, lines.endpoint, boundless(limits)).check("requests")
                many = True
        except BaseException:
            path.unlink()
            raise
    return Written(path, lines.ids, digest.hexdigest(), many)
