"""Lines of a batch's files, and the few that are wanted: the others are not decoded."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast

Record = dict[str, Any]
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*("(?:[^"\\]|\\.)*")')


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    async for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        if others:
            yield b"".join(rest)
            for line in others[:-1]:
                yield line
            rest = [others[-1]]
    yield b"".join(rest)


def custom_id_of(line: bytes) -> str | None:
    """Found without decoding the whole line: most lines are not in the sample."""
    match = _CUSTOM_ID.search(line)
    try:
        return str(json.loads(match[1])) if match else None
    except ValueError:
        return None


def parsed(line: bytes) -> Record | None:
    try:
        return record_of(json.loads(line))
    except ValueError:
        return None


def record_of(value: object) -> Record | None:
    return cast("Record", value) if isinstance(value, dict) else None
