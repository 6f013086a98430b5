"""Counts what the requests of a batch input file may use, a line at a time: the half of an estimate without prices."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from .estimate import NO_OUTPUT_LIMIT, InputSizes, ModelSizes, Tier
from .rules import UNREADABLE

TOKENS_PER_MESSAGE = 4
_SHORT = 16
"""Bytes of text that are not looked at: a token each at most."""
MOST_PER_MESSAGE = 16
MOST_PER_REQUEST = 32
"""Tokens that a chat template adds at most around the text."""
MAX_MODELS = 1_000
"""Models kept apart while counting: a file that names one a line must not fill the memory."""
_BOM = b"\xef\xbb\xbf"
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NO_OUTPUT = ("/embeddings", "/moderations")
_MEDIA_ENDPOINTS = {"/images/": "images", "/videos": "video", "/audio/": "audio"}
_NO_PROMPT = frozenset(
    {"model", "metadata", "user", "safety_identifier", "prompt_cache_key", "service_tier", "stop", "include"}
)
"""Fields of a body that the model does not read."""
_WITH_KEYS = frozenset({"tools", "functions", "response_format", "text"})
"""Schemas: their keys are read, too."""
_DATA = frozenset({"url", "data", "file_data", "image_url", "file_url"})
"""Content, not text."""
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"})
_PARTS = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "computer_screenshot": "images",
    "file": "files",
    "input_file": "files",
    "document": "files",
    "input_audio": "audio",
    "audio": "audio",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
    "item_reference": "stored_conversation",
}
"""Type of a content part or item -> why its tokens are not in its text."""
_ITEMS = frozenset({"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"})
_OWN_TOOLS = frozenset({"function", "custom", "local_shell", "apply_patch"})
"""Tools that run at the caller's: their definitions are text."""
_ASCII_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS = _ASCII_LETTERS + b" \n" + bytes(range(0x80, 0xF0))
_LEADS = bytes(range(0xF0, 0xF5))
"""First bytes of emoji and other characters of four bytes."""

Body = Mapping[str, Any]


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str
    role: str = ""


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The body of most requests: messages of text alone. Any other field makes it another."""

    messages: list[_Message]
    model: str = "unknown"
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    user: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()


class _Request(msgspec.Struct, gc=False):
    url: str
    body: _Plain


_plain = msgspec.json.Decoder(_Request).decode


class _Tiers(dict[int, list[int]]):
    """Tier -> requests, input tokens, output limits."""

    def add(self, over: int, tokens: int, limit: int) -> None:
        sums = self.get(over)
        if sums is None:
            sums = self[over] = [0, 0, 0]
        sums[0] += 1
        sums[1] += tokens
        sums[2] += limit

    def frozen(self) -> dict[int, Tier]:
        return {over: Tier(*sums) for over, sums in self.items()}


@dataclass(slots=True)
class _Sum:
    expected: _Tiers = field(default_factory=_Tiers)
    most: _Tiers = field(default_factory=_Tiers)
    unknown: Counter[str] = field(default_factory=Counter[str])
    marked: bool = False

    def sizes(self) -> ModelSizes:
        return ModelSizes(self.expected.frozen(), self.most.frozen(), dict(self.unknown), self.marked)


@dataclass(slots=True)
class _Text:
    """Tokens of text: quarters of likely ones, and at most."""

    likely: int = 0
    most: int = 0

    def add(self, text: str) -> None:
        """Mostly ASCII takes about 4 bytes a token, other scripts about 2; words never less than 2, other text 1."""
        length = len(text)
        if text.isascii():
            self.likely += length
            self.most += length if length <= _SHORT else _most(text.encode("ascii"))
        else:
            raw = text.encode("utf-8", "replace")
            self.likely += len(raw) * 2 if (len(raw) - length) * 4 > length else len(raw)
            self.most += _most(raw)


@dataclass(slots=True)
class SizeCounter:
    """Feed it the file's lines; `sizes` is what an estimate is made from. Lines that are no requests are left out.

    `boundaries` are those of the price book: prompt lengths at which any model changes price.
    """

    boundaries: tuple[int, ...] = ()
    _models: dict[str, _Sum] = field(default_factory=dict[str, _Sum])

    def add(self, line: bytes) -> None:
        """One line, with or without its line feed."""
        try:
            request = _plain(line)
        except UNREADABLE:
            self._add_other(line)
            return
        body = request.body
        text = _Text()
        for message in body.messages:
            text.add(message.role)
            text.add(message.content)
        messages = len(body.messages) or 1
        limit = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
        choices = 1 if body.n is None else body.n
        known = limit is not None and limit >= 0 < choices and "/chat/" in request.url and "search" not in body.model
        if not known:
            self._add_other(line)
            return
        self._count(self._sum(body.model), *_tokens(text, messages), cast("int", limit) * choices)

    def add_request(self, request: Mapping[str, Any]) -> None:
        """One request, decoded already."""
        raw: object = request.get("body")
        body: Body = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
        url = str(request.get("url") or "")
        total = self._sum(str(body.get("model") or "unknown"))
        limit = 0 if url.endswith(_NO_OUTPUT) else _limit(body)
        total.unknown.update({*_besides(body, url), *((NO_OUTPUT_LIMIT,) if limit is None else ())})
        total.marked |= "prompt_cache_retention" in body or "prompt_cache_options" in body or _is_marked(body)
        self._count(total, *_input_tokens(body), limit or 0)

    def sizes(self) -> InputSizes:
        return InputSizes.of({name: total.sizes() for name, total in self._models.items()})

    def _add_other(self, line: bytes) -> None:
        try:
            request: object = msgspec.json.decode(line.removeprefix(_BOM))
        except UNREADABLE:
            return
        if isinstance(request, dict):
            self.add_request(cast("Body", request))

    def _count(self, total: _Sum, likely: int, most: int, limit: int) -> None:
        total.expected.add(self._tier(likely), likely, 0)
        total.most.add(self._tier(most), most, limit)

    def _sum(self, model: str) -> _Sum:
        found = self._models.get(model)
        if found is None:
            model = model if len(self._models) < MAX_MODELS else "unknown"
            found = self._models.setdefault(model, _Sum())
        return found

    def _tier(self, tokens: int) -> int:
        at = bisect_left(self.boundaries, tokens)
        return self.boundaries[at - 1] if at else 0


def count_sizes(lines: Iterable[bytes], boundaries: tuple[int, ...] = ()) -> InputSizes:
    """A whole file's sizes, with one line in memory."""
    counter = SizeCounter(boundaries)
    for line in lines:
        counter.add(line)
    return counter.sizes()


def file_sizes(path: Path, boundaries: tuple[int, ...] = ()) -> InputSizes:
    """Blocking: for the command line, or a thread."""
    with path.open("rb") as lines:
        return count_sizes(lines, boundaries)


def _input_tokens(body: Body) -> tuple[int, int]:
    """Likely, and at most."""
    prompts = _prompts(body.get("messages") or body.get("input") or body.get("prompt"))
    counted = [_token_ids(prompt) for prompt in prompts]
    ids = sum(count or 0 for count in counted)
    messages = counted.count(None)
    text = _Text()
    for name, value in body.items():
        if name not in _NO_PROMPT:
            _add_text(text, value, keys=name in _WITH_KEYS)
    likely, most = _tokens(text, messages)
    return likely + ids, most + ids


def _tokens(text: _Text, messages: int) -> tuple[int, int]:
    likely = text.likely // 4 + TOKENS_PER_MESSAGE * messages
    return likely, text.most + MOST_PER_MESSAGE * messages + MOST_PER_REQUEST


def _add_text(text: _Text, value: object, *, keys: bool) -> None:
    if isinstance(value, str):
        text.add(value)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _add_text(text, item, keys=keys)
    elif isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            if keys:
                text.add(name)
            if name not in _DATA or not isinstance(item, str):
                _add_text(text, item, keys=keys)


def _most(raw: bytes) -> int:
    """Words have three letters in five bytes and a space for twenty of them: no digits, no emoji, no encoded data."""
    size, others = len(raw), len(raw.translate(None, _LETTERS))
    if not raw.isascii():
        others += 3 * (size - len(raw.translate(None, _LEADS)))
    if others * 5 > size * 2:
        return size
    spaces = 1 + raw.count(b" ") + raw.count(b"\n")
    words = size <= 20 * spaces or size - len(raw.translate(None, _ASCII_LETTERS)) <= 20 * spaces
    return -(-size // 2) if words else size


def _prompts(prompt: object) -> list[object]:
    """Messages or texts; an array of numbers is one text, sent as its tokens."""
    if _token_ids(prompt) is not None or not isinstance(prompt, list):
        return [prompt]
    return cast("list[object]", prompt)


def _token_ids(prompt: object) -> int | None:
    """The number of tokens in an array of them; None for anything else."""
    numbers = cast("list[object]", prompt) if isinstance(prompt, list) else []
    return len(numbers) if numbers and all(type(number) is int for number in numbers) else None


def _limit(body: Body) -> int | None:
    """Most output tokens of one request, over all its choices; None where it names none that makes sense."""
    choices = [1 if body.get(name) is None else body[name] for name in ("n", "best_of")]
    for name in _LIMITS:
        limit = body.get(name)
        if type(limit) is int and limit >= 0 and all(type(n) is int and n > 0 for n in choices):
            return limit * max(choices) * max(len(_prompts(body.get("prompt"))), 1)
    return None


def _besides(body: Body, url: str) -> Iterator[str]:
    """Why text and limit do not tell all that the request may use."""
    yield from (reason for part, reason in _MEDIA_ENDPOINTS.items() if part in url)
    if body.get("previous_response_id") or body.get("conversation"):
        yield "stored_conversation"
    if isinstance(body.get("prompt"), dict):
        yield "stored_prompt"
    if body.get("audio") or "audio" in (body.get("modalities") or ()):
        yield "audio"
    if (
        body.get("web_search_options") is not None
        or body.get("search_parameters")
        or "search" in str(body.get("model"))
    ):
        yield "searches"
    yield from _tools(body.get("tools"))
    for name in ("messages", "input"):
        yield from _parts(body.get(name))


def _tools(tools: object) -> Iterator[str]:
    for tool in cast("list[object]", tools) if isinstance(tools, list) else []:
        kind = str(cast("Body", tool).get("type") or "") if isinstance(tool, dict) else ""
        if kind not in _OWN_TOOLS:
            yield "searches" if "search" in kind and not kind.startswith("file") else "tools"


def _parts(items: object) -> Iterator[str]:
    """Reasons in messages and items, and in the parts of their content."""
    for item in cast("list[object]", items) if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        given = cast("Body", item)
        kind = given.get("type")
        if kind is not None and kind not in _TEXT_PARTS and kind not in _ITEMS and kind != "reasoning":
            yield _PARTS.get(str(kind), "other_content")
        for name in ("content", "output"):
            yield from _parts(given.get(name))
        if given.get("audio"):
            yield "audio"


def _is_marked(value: object) -> bool:
    """Whether a part asks to be cached (`cache_control`)."""
    if isinstance(value, list):
        return any(map(_is_marked, cast("list[object]", value)))
    if isinstance(value, dict):
        given = cast("dict[str, object]", value)
        return "cache_control" in given or any(map(_is_marked, given.values()))
    return False


LONGEST = 4 * 1024 * 1024
"""Bytes of a line that is looked at; a longer one counts as a request of which nothing is known."""


@dataclass(slots=True)
class SizePass:
    """One pass over one file. Memory holds the sums and one line."""

    boundaries: InitVar[tuple[int, ...]] = ()
    """Of the price book: `PriceSource.boundaries`."""
    _counter: SizeCounter = field(init=False)
    _held: list[bytes] = field(default_factory=list[bytes], init=False)
    _length: int = field(default=0, init=False)
    """Bytes of the line that is still coming in, held or not."""

    def __post_init__(self, boundaries: tuple[int, ...]) -> None:
        self._counter = SizeCounter(boundaries)

    def feed(self, chunk: bytes) -> None:
        """The next bytes; chunk borders change nothing."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._hold(chunk[start:end])
            self._end_line()
            start = end + 1
        self._hold(chunk[start:])

    def sizes(self) -> InputSizes:
        """The sums; a last line without a line feed counts."""
        self._end_line()
        return self._counter.sizes()

    def close(self) -> str:
        """The sums as text."""
        return self.sizes().to_json()

    def _hold(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > LONGEST:
            self._held.clear()
        elif piece:
            self._held.append(piece)

    def _end_line(self) -> None:
        if self._length > LONGEST:
            self._counter.add_request({})
        elif self._length:
            self._counter.add(self._held[0] if len(self._held) == 1 else b"".join(self._held))
        self._held.clear()
        self._length = 0
