"""Embedding rows -> OpenAI embedding lists: the vectors of one request are gathered, in whatever order they come.

Rows of requests that are not complete yet wait in a temporary file; memory holds only where they lie.
"""

import re
import struct
import tempfile
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from .lines import decode, encode
from .shape import Json, mapping, sequence
from .usage import embedding_usage

_KEY = re.compile(r"(.*)#([0-9]{1,9})/([0-9]{1,9})(/b64)?", re.DOTALL)
_IN_MEMORY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A row's place: the vector's number, and its request's name."""

    name: str
    index: int = 0
    count: int = 1
    base64: bool = False


def part_of(key: str) -> Part:
    """A key that is not ours is a whole request."""
    match = _KEY.fullmatch(key)
    return Part(match[1], int(match[2]), int(match[3]), bool(match[4])) if match else Part(key)


@dataclass
class Gathering:
    """Rows that wait for the others of their request."""

    _places: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict[str, dict[int, tuple[int, int]]])
    """Request -> index -> where in the file."""
    _file: Any = field(default_factory=lambda: tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - `close` closes it

    def add(self, part: Part, row: Json) -> list[Json] | None:
        """All rows of the request, once this one completes it."""
        if part.count <= 1:
            return [row]
        places = self._places.setdefault(part.name, {})
        places[part.index] = self._keep(row)
        if len(places) < part.count:
            return None
        return [self._again(place) for place in self._places.pop(part.name).values()]

    def incomplete(self) -> list[list[Json]]:
        """Rows of requests that never became complete."""
        left = [[self._again(place) for place in places.values()] for places in self._places.values()]
        self._places.clear()
        return left

    def close(self) -> None:
        self._file.close()

    def _keep(self, row: Json) -> tuple[int, int]:
        self._file.seek(0, 2)
        start = self._file.tell()
        return start, self._file.write(encode(row))

    def _again(self, place: tuple[int, int]) -> Json:
        self._file.seek(place[0])
        return mapping(decode(self._file.read(place[1])))


def embedding_list(rows: list[Json], model: str) -> Json:
    """The OpenAI answer from all rows of one request."""
    parts = [(part_of(str(row.get("key"))), mapping(row.get("response"))) for row in rows]
    parts.sort(key=lambda item: item[0].index)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": part.index, "embedding": _vector(response, base64=part.base64)}
            for part, response in parts
        ],
        "model": model,
        "usage": embedding_usage([mapping(response.get("usageMetadata")) or response for _, response in parts]),
    }


def _vector(response: Json, *, base64: bool) -> object:
    values = sequence(mapping(response.get("embedding")).get("values"))
    return packed(values) if base64 else values


def packed(values: list[Any]) -> object:
    """Base64 of the vector's floats; the vector as it is where they are none, or too large for floats of four bytes."""
    try:
        return b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    except (struct.error, OverflowError):
        return values
