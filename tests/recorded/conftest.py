"""A loopback server that answers with recorded traffic, byte for byte and in the recorded order."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tests.vendor_kit import BlockingHandler, served

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "recordings"
OF_THE_CONNECTION = {"transfer-encoding", "content-length", "content-encoding", "connection", "keep-alive", "date"}
"""Headers that the replay's own connection decides; bodies are stored decoded."""

OPENAI = (
    "openai-01-responses-completed",
    "openai-03-chat-completed",
    "openai-05-cancel",
    "openai-06-one-request",
    "openai-07-resubmission",
    "openai-08-create-get-cancel",
    "openai-09-list-pages",
    "openai-10-list-116-pages-some",
    "openai-11-file-404-get",
    "openai-12-content-404",
    "openai-14-upload-400",
    "openai-15-upload-non-ascii-name",
    "openai-16-file-get-delete",
    "openai-17-batches-mar-2025",
    "openai-18-list-first-page",
    "openai-19-file-uploaded-then-processed",
    "openai-20-content-binary",
    "openai-21-files-list",
    "openai-23-all-requests-failed",
    "openai-25-failed-invalid-json",
    "openai-26-96-of-100",
    "openai-27-expired",
)
"""Recordings of OpenAI's own service."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of the recording and its answer."""

    method: str
    path: str
    query: str
    sent: bytes
    answer: Answer

    @property
    def page(self) -> str:
        """The cursor of a list; two pages of one list are two answers."""
        return _page(self.query)


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a client made of the replay."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


@dataclass(slots=True)
class Replay:
    """`url` is scheme and host; `requests` is everything that was asked of it, `strangers` what was never recorded."""

    exchanges: list[Exchange]
    url: str = ""
    requests: list[Request] = field(default_factory=list[Request])
    strangers: list[str] = field(default_factory=list[str])
    _used: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])

    def answer(self, request: Request, query: str) -> Answer:
        """The next answer to this method and path; the last one again when all were given."""
        key = request.method, unquote(request.path), _page(query)
        fitting = [one for one in self.exchanges if (one.method, unquote(one.path), one.page) == key]
        if not fitting:
            self.strangers.append(f"{request.method} {request.path}")
            return Answer(404, (), b'{"error": {"message": "this was not recorded"}}')
        used = self._used.get(key, 0)
        self._used[key] = used + 1
        return fitting[min(used, len(fitting) - 1)].answer


def exchanges_of(name: str) -> list[Exchange]:
    """The recording's; the test is skipped where recordings are absent."""
    path = RECORDINGS / f"{name}.json"
    if not path.exists():
        pytest.skip("recorded traffic is not in this checkout (../shared/data/recordings)")
    return [_exchange(row) for row in json.loads(path.read_text("utf-8"))["exchanges"]]


@pytest.fixture
def replay() -> Iterator[Callable[..., Replay]]:
    """`replay("openai-03-chat-completed", …)`: starts a server that plays these recordings, one after the other.

    `edit` may change each exchange, or leave one out with None, before it is served.
    """
    servers = ExitStack()

    def start(*names: str, edit: Callable[[Exchange], Exchange | None] | None = None) -> Replay:
        found = [exchange for name in names for exchange in exchanges_of(name)]
        if edit is not None:
            found = [changed for exchange in found if (changed := edit(exchange)) is not None]
        playing = Replay(found)
        playing.url = servers.enter_context(served(_handler(playing)))
        return playing

    with servers:
        yield start


def _page(query: str) -> str:
    return parse_qs(query).get("after", [""])[0]


def _exchange(row: dict[str, Any]) -> Exchange:
    asked, answered = row["request"], row["response"]
    headers = tuple((name, value) for name, value in answered["headers"] if name.lower() not in OF_THE_CONNECTION)
    answer = Answer(answered["status"], headers, _bytes(answered.get("body")))
    return Exchange(asked["method"], asked["path"], asked.get("query") or "", _bytes(asked.get("body")), answer)


def _bytes(body: dict[str, str] | None) -> bytes:
    if not body:
        return b""
    return base64.b64decode(body["base64"]) if "base64" in body else body["text"].encode()


def _handler(playing: Replay) -> type[BlockingHandler]:
    class Handler(BlockingHandler):
        timeout = 5

        def version_string(self) -> str:
            return "replay"

        def respond(self) -> None:
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, url.path, parse_qs(url.query), headers, self._body(headers))
            playing.requests.append(request)
            answer = playing.answer(request, url.query)
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, re.sub(r"[^\x20-\x7e]", "?", value))
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = respond  # noqa: N815 - http.server's names

        def _body(self, headers: dict[str, str]) -> bytes:
            if headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(headers.get("content-length") or 0))
            pieces: list[bytes] = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

    return Handler
