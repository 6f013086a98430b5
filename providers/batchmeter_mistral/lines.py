"""OpenAI's input lines as Mistral's and back: Mistral's have no url, and its bodies have names of their own.

The url of a file's lines stands in the file's name at Mistral (`in~chat-completions.jsonl`), for whoever reads it again.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, cast

from batchmeter.errors import InvalidInputError, Problem

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
ENDPOINTS = (
    CHAT,
    "/v1/embeddings",
    "/v1/fim/completions",
    "/v1/moderations",
    "/v1/chat/moderations",
    "/v1/ocr",
    "/v1/classifications",
    "/v1/chat/classifications",
    "/v1/conversations",
    "/v1/audio/transcriptions",
)
RENAMED = {"max_completion_tokens": "max_tokens", "seed": "random_seed"}
"""Members of a chat body -> Mistral's names."""
DROPPED = frozenset({"logprobs", "top_logprobs", "user", "metadata", "store", "service_tier", "stream_options"})
"""Members of a chat body that Mistral does not have, and that change no answer's text."""
_WORD = {endpoint.removeprefix("/v1/").replace("/", "-"): endpoint for endpoint in ENDPOINTS}
_MARKED = re.compile(rf"(.*)~({'|'.join(_WORD)})(\.\w+)?")


def marked(filename: str, url: str) -> str:
    """The name at Mistral: `in.jsonl` of chat lines -> `in~chat-completions.jsonl`."""
    stem, dot, ending = filename.rpartition(".")
    word = url.removeprefix("/v1/").replace("/", "-")
    return f"{stem}~{word}.{ending}" if dot else f"{filename}~{word}"


def unmarked(filename: str) -> tuple[str, str | None]:
    """The user's name for the file, and its lines' url; None for a file that was uploaded elsewhere."""
    found = _MARKED.fullmatch(filename)
    return (filename, None) if found is None else (f"{found[1]}{found[3] or ''}", _WORD[found[2]])


def to_mistral(line: Json) -> Json:
    """A line that is Mistral's already, without a url, stays as it is."""
    body: object = line.get("body")
    rest = {name: value for name, value in line.items() if name not in ("method", "url", "body")}
    if line.get("url") == CHAT and isinstance(body, dict):
        body = chat_body(cast("Json", body))
    return {**rest, "body": body}


def chat_body(body: Json) -> Json:
    made = {name: value for name, value in body.items() if name not in DROPPED and name not in RENAMED}
    made |= {RENAMED[name]: value for name, value in body.items() if name in RENAMED and value is not None}
    if made.get("tool_choice") == "required":
        made["tool_choice"] = "any"
    return made


def to_openai(line: Json, url: str) -> Json:
    """As users write it; the body keeps Mistral's names, which are read as well."""
    rest = {name: value for name, value in line.items() if name not in ("custom_id", "body")}
    return {"custom_id": line.get("custom_id"), "method": "POST", "url": url, "body": line.get("body"), **rest}


async def translated(chunks: AsyncIterator[bytes], change: Callable[[Json], Json]) -> AsyncGenerator[bytes]:
    """Each line changed, off the event loop; InvalidInputError names a line that is no JSON object."""
    held, number = list[bytes](), 0
    async for chunk in chunks:
        whole, line_feed, rest = chunk.rpartition(b"\n")
        if line_feed:
            block, held = b"".join([*held, whole]), []
            yield await asyncio.to_thread(_changed, block, change, number)
            number += block.count(b"\n") + 1
        held.append(rest)
    if last := b"".join(held):
        yield await asyncio.to_thread(_changed, last, change, number)


def _changed(block: bytes, change: Callable[[Json], Json], before: int) -> bytes:
    lines = enumerate(block.split(b"\n"), before + 1)
    return b"".join(json.dumps(change(_read(raw, number))).encode() + b"\n" for number, raw in lines if raw.strip())


def _read(raw: bytes, number: int) -> Json:
    try:
        found: object = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInputError("the file", [Problem("invalid_json_line", "it is no JSON object", number)])
    return cast("Json", found)


def url_of(first: bytes) -> str | None:
    """The url in a file's first line; None where it has none, or one that Mistral has no batches for."""
    try:
        line: object = json.loads(first)
    except ValueError:
        return None
    url = cast("Mapping[str, object]", line).get("url") if isinstance(line, dict) else None
    return url if isinstance(url, str) and url in ENDPOINTS else None
