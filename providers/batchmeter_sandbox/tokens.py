"""How many tokens an answer takes: always the same for the same seed, request and custom_id."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from .snapshots import caches, reasons

_CHARACTERS = 4
"""Per token, roughly, in English."""
_IMAGE = 85
_PER_MESSAGE = 4
_CACHE_FROM = 1024
_CACHE_STEP = 128
_REASONING_STEP = 64
_NOT_TEXT = frozenset({"role", "type", "detail", "id", "name"})


class Dice:
    """A handful of numbers that follow from a seed and a text."""

    def __init__(self, seed: int, text: str) -> None:
        key = f"{seed}\n{text}".encode("utf-8", "surrogatepass")
        self._digest = hashlib.blake2b(key, digest_size=48).digest()

    def below(self, which: int, limit: int) -> int:
        """The number `which` (0..11), from 0 to `limit` - 1."""
        return int.from_bytes(self._digest[which * 4 : which * 4 + 4], "big") % limit

    def hex(self, digits: int) -> str:
        return self._digest.hex()[:digits]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one answer. Cached is part of input, reasoning of output, as OpenAI counts."""

    input: int
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cut: bool = False
    """The caller's limit ended it."""

    def times(self, factor: int) -> "Tokens":
        given, made = self.input * factor, self.output * factor
        return Tokens(given, made, self.cached * factor, self.reasoning * factor, cut=self.cut)


def spent(endpoint: str, body: Mapping[str, Any], dice: Dice) -> Tokens:
    """The tokens that an answer to `body` takes."""
    prompt = _prompt(endpoint, body)
    if endpoint == "/v1/embeddings":
        return Tokens(prompt)
    model = str(body.get("model", ""))
    thought = (1 + dice.below(1, 8)) * _REASONING_STEP if reasons(model) else 0
    choices = whole(body, "n", 1, 128)
    wanted = thought + (20 + dice.below(0, 280)) * choices
    limit = _limit(body)
    output = wanted if limit is None else min(wanted, limit * choices)
    cached = _cached(prompt, dice) if caches(model) else 0
    return Tokens(prompt, output, cached, min(thought, output), cut=output < wanted)


def _limit(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        if body.get(name) is not None:
            return whole(body, name, 1, 1_000_000)
    return None


def _cached(prompt: int, dice: Dice) -> int:
    """Prompts of 1,024 tokens and more hit the cache two times in three, in steps of 128."""
    if prompt < _CACHE_FROM or dice.below(2, 3) == 0:
        return 0
    steps = (prompt - 1) // _CACHE_STEP
    return (steps // 2 + dice.below(3, steps - steps // 2) + 1) * _CACHE_STEP


def _prompt(endpoint: str, body: Mapping[str, Any]) -> int:
    if endpoint == "/v1/embeddings":
        return sum(max(1, _characters(text) // _CHARACTERS) for text in inputs(body))
    given = cast("object", body.get("messages"))
    messages = cast("list[object]", given) if isinstance(given, list) else [given] if given else []
    texts = (messages, body.get("input"), body.get("instructions"), body.get("prompt"))
    return 3 + _PER_MESSAGE * len(messages) + sum(-(-_characters(text) // _CHARACTERS) for text in texts)


def whole(body: Mapping[str, Any], name: str, default: int, most: int) -> int:
    """A number from 1 to `most`; the default where the caller sent something else."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most else default


def inputs(body: Mapping[str, Any]) -> list[Any]:
    """The texts (or token lists) of an embeddings or moderations request."""
    given: object = body.get("input")
    if not isinstance(given, list):
        return [given]
    many = cast("list[object]", given)
    return [many] if many and isinstance(many[0], int) else many


def _characters(value: object) -> int:
    """Of all text in a value; an image, or a token's number, counts as its tokens do."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(_characters, cast("list[object]", value)))
    if isinstance(value, dict):
        part = cast("dict[str, object]", value)
        if "image" in str(part.get("type", "")):
            return _IMAGE * _CHARACTERS
        return sum(_characters(item) for name, item in part.items() if name not in _NOT_TEXT)
    return _CHARACTERS if isinstance(value, int) else 0
