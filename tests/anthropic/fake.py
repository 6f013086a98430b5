"""An Anthropic of our own: Message Batches that keep no metadata, count nothing until they end, and refuse what it refuses."""

import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.vendor_kit import BlockingHandler

KEY = "sk-ant-test-key-0123456789"
VERSIONS = ("2023-06-01", "2026-10-21")
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 5,
    "service_tier": "batch",
}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """The fake model's result. A prompt with FAIL in it is refused when it runs."""
    if "FAIL" in json.dumps(params):
        return errored("invalid_request_error", "messages: bad")
    text = params["messages"][-1]["content"]
    said = text if isinstance(text, str) else "".join(part.get("text", "") for part in text)
    content = [{"type": "text", "text": f"écho 🎈 {said}"}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": params["model"], "content": content}
    message |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": dict(USAGE)}
    return {"type": "succeeded", "message": message}


def errored(kind: str, message: str) -> dict[str, Any]:
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_9"}
    return {"type": "errored", "error": error}


class FakeAnthropic:
    """One workspace, and the knobs that tests turn."""

    def __init__(self) -> None:
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests_of: dict[str, list[dict[str, Any]]] = {}
        self.results: dict[str, list[dict[str, Any]]] = {}
        self.now = datetime.now(UTC)
        self.base = ""
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.looks = 2
        """How many looks at a batch until it ends."""
        self.respond: Callable[[dict[str, Any]], dict[str, Any]] = answer
        self.refuse: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        """Answers that come instead of those to the next creates."""
        self.lose = 0
        """How many creates get no answer, though the batch is made."""
        self.hang: tuple[threading.Event, threading.Event] | None = None
        """Set when a create has made its batch, and waited for before its answer is lost."""
        self.results_url: str | None = None
        """Where a hostile answer says that the results are."""
        self._looked: dict[str, int] = {}

    def create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        requests = body.get("requests")
        if not isinstance(requests, list) or not 1 <= len(requests) <= 100_000:
            return problem(400, "invalid_request_error", "requests: between 1 and 100000 items")
        names = [request.get("custom_id") for request in requests]
        if not all(isinstance(name, str) and CUSTOM_ID.fullmatch(name) for name in names):
            return problem(400, "invalid_request_error", "requests.0.custom_id: String should match pattern")
        if len(set(names)) < len(names):
            return problem(400, "invalid_request_error", "requests: custom_id must be unique")
        if any(request["params"].get("stream") or "speed" in request["params"] for request in requests):
            return problem(400, "invalid_request_error", "requests.0.params.stream: not allowed")
        batch_id = f"msgbatch_{len(self.batches):024d}"
        self.requests_of[batch_id] = requests
        self.batches[batch_id] = {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
            | {"processing": len(requests)},
            "created_at": self._time(),
            "expires_at": self._time(timedelta(hours=24)),
            "ended_at": None,
            "cancel_initiated_at": None,
            "archived_at": None,
            "results_url": None,
        }
        return 200, self.batches[batch_id]

    def look(self, batch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        looked = self._looked[batch["id"]] = self._looked.get(batch["id"], 0) + 1
        if batch["processing_status"] == "canceling":
            self.end(batch["id"], keep=1, rest="canceled")
        elif looked >= self.looks:
            self.end(batch["id"])
        return 200, batch

    def end(self, batch_id: str, keep: int | None = None, rest: str = "expired") -> None:
        """All requests are answered, or the first `keep` of them; the rest gets this result."""
        batch, requests = self.batches[batch_id], self.requests_of[batch_id]
        if batch["processing_status"] == "ended":
            return
        done = len(requests) if keep is None else keep
        results = [self.respond(request["params"]) for request in requests[:done]]
        results += [{"type": rest} for _ in requests[done:]]
        kinds = [result["type"] for result in results]
        rows = [
            {"custom_id": one["custom_id"], "result": result} for one, result in zip(requests, results, strict=True)
        ]
        self.results[batch_id] = rows[::-1]
        counted = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        batch.update(processing_status="ended", ended_at=self._time(), request_counts={"processing": 0, **counted})
        batch["results_url"] = self.results_url or f"{self.base}/v1/messages/batches/{batch_id}/results"

    def cancel(self, batch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if batch["processing_status"] == "ended":
            return problem(400, "invalid_request_error", "Batch has already ended.")
        batch.update(processing_status="canceling", cancel_initiated_at=self._time())
        return 200, batch

    def delete(self, batch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if batch["processing_status"] != "ended":
            return problem(400, "invalid_request_error", "Batch has not ended.")
        del self.batches[batch["id"]]
        return 200, {"id": batch["id"], "type": "message_batch_deleted"}

    def page(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        newest, limit = list(reversed(self.batches.values())), int(query.get("limit") or 20)
        ids = [batch["id"] for batch in newest]
        if not 1 <= limit <= 1000 or any(query[name] not in ids for name in ("after_id", "before_id") if name in query):
            return problem(400, "invalid_request_error", "limit, after_id or before_id")
        start = ids.index(query["after_id"]) + 1 if "after_id" in query else 0
        end = ids.index(query["before_id"]) if "before_id" in query else len(ids)
        found = newest[start:end]
        shown = found[-limit:] if "before_id" in query else found[:limit]
        named = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
        return 200, {"data": shown, "has_more": len(found) > len(shown), **named}

    def _time(self, later: timedelta = timedelta()) -> str:
        self.now += timedelta(milliseconds=1)
        return (self.now + later).isoformat(timespec="microseconds").replace("+00:00", "Z")


def problem(status: int, kind: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


class Handler(BlockingHandler):
    """One request at a fake."""

    fake: FakeAnthropic

    def answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        self.fake.seen.append((self.command, self.path, {name.lower(): text for name, text in self.headers.items()}))
        if (refusal := self.refused()) is not None:
            return self.reply(*refusal)
        creates = (self.command, url.path) == ("POST", "/v1/messages/batches")
        if creates and self.fake.refuse:
            status, reply, headers = self.fake.refuse.pop(0)
            return self.reply(status, reply, headers)
        match = re.fullmatch(r"/v1/messages/batches/([\w-]+)/results", url.path)
        if match and match[1] in self.fake.results and match[1] in self.fake.batches:
            return self.stream(self.fake.results[match[1]])
        status, reply = self.route(url.path, dict(urllib.parse.parse_qsl(url.query)), body)
        if creates and self.fake.hang is not None:
            made, go_on = self.fake.hang
            made.set()
            go_on.wait(30)
            self.close_connection = True
            return None
        if creates and self.fake.lose:
            self.fake.lose -= 1
            self.close_connection = True
            return None
        return self.reply(status, reply)

    do_GET = answer  # noqa: N815 - http.server names them
    do_POST = answer  # noqa: N815
    do_DELETE = answer  # noqa: N815

    def refused(self) -> tuple[int, dict[str, Any]] | None:
        key, bearer = self.headers.get("x-api-key"), self.headers.get("authorization")
        if (key is None) == (bearer is None):
            return problem(401, "authentication_error", "exactly one of x-api-key and authorization")
        if KEY not in (key, (bearer or "").removeprefix("Bearer ")):
            return problem(401, "authentication_error", "invalid x-api-key")
        if self.headers.get("anthropic-version") not in VERSIONS:
            return problem(400, "invalid_request_error", "anthropic-version: header is required")
        return None

    def reply(self, status: int, reply: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(reply).encode()
        self.send_response(status)
        for name, text in {"request-id": "req_1", "content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, rows: list[dict[str, Any]]) -> None:
        """Chunks end inside lines, and inside characters."""
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        self.send_response(200)
        self.send_header("content-type", "application/x-jsonl")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        size = max(len(data) // 7, 1) if len(data) < 10_000 else 65_521
        for start in range(0, len(data), size):
            chunk = data[start : start + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def route(self, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match = re.fullmatch(r"/v1/messages/batches(?:/([\w-]+))?(/cancel)?", path)
        if match is None:
            return problem(404, "not_found_error", path)
        batch_id, cancel = match.groups()
        if batch_id is None:
            return self.fake.create(body) if self.command == "POST" else self.fake.page(query)
        if batch_id not in self.fake.batches:
            return problem(404, "not_found_error", f"No message batch {batch_id}")
        if self.command == "DELETE":
            return self.fake.delete(self.fake.batches[batch_id])
        return self.fake.cancel(self.fake.batches[batch_id]) if cancel else self.fake.look(self.fake.batches[batch_id])


def handler(fake: FakeAnthropic) -> type[Handler]:
    return type("HandlerOfOne", (Handler,), {"fake": fake})
