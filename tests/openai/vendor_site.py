"""A test server with the files and batches of one compatible vendor, in that vendor's own shapes."""

import email
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.policy import HTTP
from typing import Any
from urllib.parse import urlsplit

from batchmeter.testing.wire import Answer, Received
from batchmeter_openai.profiles import Profile

KEY = "vendor-key-0123456789"
NOW = 1_790_000_000
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


@dataclass(frozen=True)
class Shapes:
    """A vendor's answers where they are not OpenAI's."""

    model: str = "m-1"
    words: tuple[str, ...] = ("validating", "in_progress", "finalizing", "completed")
    """Statuses, one a look."""
    cancelled: str = "cancelled"
    upload_data: bool = False
    """An upload is answered with `{"code": 20000, "data": {…}}`."""
    job: bool = False
    """A create is answered with `{"job": {…}}`."""
    bare_list: bool = False
    has_more: bool = True
    """Lists have pages, and say whether there are more."""
    counts: bool = True
    iso_times: bool = False
    usage: dict[str, Any] = field(default_factory=lambda: dict(USAGE))
    """Of each line."""
    batch_usage: bool = False
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    """More members of a line's answer."""
    error: Any = None
    """An error's body, for `{message}`; None: OpenAI's."""
    takes: frozenset[str] = frozenset({"input_file_id", "endpoint", "completion_window", "metadata"})
    """Members of a create; another one is refused."""


@dataclass
class Vendor:
    """One account there. `received` keeps each request."""

    profile: Profile
    shapes: Shapes = field(default_factory=Shapes)
    files: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    batches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    by_key: dict[str, str] = field(default_factory=dict[str, str])
    received: list[Received] = field(default_factory=list[Received])
    url: str = ""
    storage: str = ""
    """Where uploads are to go; empty: to this server itself."""
    now: int = NOW
    """Epoch seconds of the first batch."""
    lost: int = 0
    """Creates whose answer still gets lost."""

    async def __call__(self, request: Received) -> Answer:
        self.received.append(request)
        if request.path.startswith("/storage/"):
            return self.store(request)
        return self.api(request, urlsplit(self.profile.base).path)

    def api(self, request: Received, prefix: str) -> Answer:
        if not request.path.startswith(f"{prefix}/"):
            return self.refusal(404, "no such route")
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return self.refusal(401, "invalid api key")
        where = request.path.removeprefix(f"{prefix}/")
        if (request.method, where) == ("POST", "files"):
            return self.place(request) if self.profile.presigned else self.upload(request)
        if (request.method, where) == ("POST", "batches"):
            return self.create(request)
        return self.kept(request, *where.split("/"))

    def kept(self, request: Received, kind: str, *rest: str) -> Answer:
        """A list, or what is done with one file or batch."""
        held = {"files": self.files, "batches": self.batches}.get(kind, {})
        if not rest and request.method == "GET":
            return self.listed(kind, request)
        found = held.get(rest[0]) if rest else None
        if found is None:
            return self.refusal(404, f"no {kind} {rest}")
        if kind == "files" and rest[1:] == ("preprocess",):
            return answer(found["shown"])
        if kind == "files":
            return self.file(request.method, list(rest), found)
        if rest[1:] == ("cancel",):
            found["status"] = self.shapes.cancelled
        elif found["status"] in self.shapes.words[:-1]:
            found["status"] = self.shapes.words[self.shapes.words.index(found["status"]) + 1]
            if found["status"] == self.shapes.words[-1]:
                self.complete(found)
        return answer(self.shown(found))

    # -- files

    def upload(self, request: Received) -> Answer:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body, policy=HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        if parts["purpose"].get_content().strip() != self.profile.purpose:
            return self.refusal(400, "wrong purpose")
        content = parts["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        rows = [json.loads(line) for line in content.splitlines()]
        if not all(row["url"].startswith(f"{self.profile.url_prefix}/") for row in rows):
            return self.refusal(400, "url is not supported")
        made = self.keep(content, self.profile.purpose)
        if not self.shapes.upload_data:
            return answer(made["shown"])
        shown = {name: value for name, value in made["shown"].items() if name != "created_at"}
        return answer({"code": 20000, "message": "Ok", "status": True, "data": shown | {"createdAt": NOW}})

    def place(self, request: Received) -> Answer:
        """The first of three steps: where the bytes are to go."""
        if b"batch-api" not in request.body or b"file_name" not in request.body:
            return self.refusal(400, "purpose and file_name are required")
        file_id = self.keep(b"", self.profile.purpose)["shown"]["id"]
        host = self.storage or self.url.removesuffix(urlsplit(self.profile.base).path)
        location = f"{host}/storage/{file_id}?X-Amz-Signature=secret"
        return Answer(302, b"", {"location": location, "x-together-file-id": file_id})

    def store(self, request: Received) -> Answer:
        """Storage knows no key, and wants the length."""
        if "authorization" in request.headers or "content-length" not in request.headers:
            return self.refusal(400, "a key, or no length")
        file = self.files[request.path.rpartition("/")[2]]
        file["content"] = request.body
        file["shown"]["bytes"] = len(request.body)
        return Answer(200)

    def keep(self, content: bytes, purpose: str) -> dict[str, Any]:
        file_id = f"file-{uuid.uuid4().hex[:12]}"
        shown = {"id": file_id, "object": "file", "bytes": len(content), "created_at": NOW, "purpose": purpose}
        theirs = {"FileType": "jsonl", "LineCount": 0, "Processed": True} if self.profile.presigned else {}
        self.files[file_id] = {"shown": shown | {"filename": "in.jsonl"} | theirs, "content": content}
        return self.files[file_id]

    def file(self, method: str, rest: list[str], found: dict[str, Any]) -> Answer:
        if method == "DELETE":
            del self.files[rest[0]]
            return answer({"id": rest[0], "object": "file", "deleted": True})
        if rest[1:] == ["content"]:
            return Answer(200, found["content"], {"content-type": "application/octet-stream"})
        return answer(found["shown"])

    # -- batches

    def create(self, request: Received) -> Answer:
        asked = json.loads(request.body)
        if strange := set(asked) - self.shapes.takes:
            return self.refusal(400, f"unknown {sorted(strange)}")
        if asked["input_file_id"] not in self.files or not asked["endpoint"].startswith(self.profile.url_prefix):
            return self.refusal(400, "no such input, or a wrong endpoint")
        key = request.headers.get("idempotency-key") if self.profile.idempotent else None
        if key in self.by_key:
            return answer(self.shown(self.batches[self.by_key[key]]))
        batch_id = f"batch-{uuid.uuid4().hex[:12]}"
        self.batches[batch_id] = {**asked, "id": batch_id, "object": "batch", "status": self.shapes.words[0]} | {
            "created_at": self.now + len(self.batches),
            "output_file_id": None,
            "error_file_id": "" if self.shapes.job else None,
            "request_counts": None,
        }
        if key:
            self.by_key[key] = batch_id
        if self.lost:
            self.lost -= 1
            return Answer(status=0)
        shown = self.shown(self.batches[batch_id])
        return answer({"job": shown} if self.shapes.job else shown, 201 if self.shapes.job else 200)

    def complete(self, batch: dict[str, Any]) -> None:
        rows = [json.loads(line) for line in self.files[batch["input_file_id"]]["content"].splitlines()]
        output = b"".join(json.dumps(self.answered(row)).encode() + b"\n" for row in rows)
        batch["output_file_id"] = self.keep(output, "batch_output")["shown"]["id"]
        batch["completed_at"] = NOW + 400
        if self.shapes.counts:
            batch["request_counts"] = {"total": len(rows), "completed": len(rows), "failed": 0}
        if self.shapes.batch_usage:
            total = {"input_tokens": 1000 * len(rows), "output_tokens": 500 * len(rows)}
            batch["usage"] = total | {"total_tokens": 1500 * len(rows)}

    def answered(self, row: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "ok"}
        chat = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        body = {"id": "c-1", "model": row["body"]["model"], **chat, "usage": self.shapes.usage, **self.shapes.body}
        return {"id": "r-1", "custom_id": row["custom_id"], "response": {"status_code": 200, "body": body}}

    # -- what both have

    def listed(self, kind: str, request: Received) -> Answer:
        held = [self.shown(batch) for batch in self.batches.values()]
        rows = held if kind == "batches" else [file["shown"] for file in self.files.values()]
        if self.shapes.bare_list:
            return answer(rows)
        rows.reverse()
        if not self.shapes.has_more:
            return answer({"object": "list", "data": rows})
        after = request.query.get("after")
        start = next((index + 1 for index, row in enumerate(rows) if row["id"] == after), 0)
        end = start + int(request.query.get("limit", 20))
        return answer({"object": "list", "data": rows[start:end], "has_more": end < len(rows)})

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        if not self.shapes.iso_times:
            return dict(batch)
        times = {name: value for name, value in batch.items() if name.endswith("_at") and value}
        return batch | {name: datetime.fromtimestamp(value, UTC).isoformat() for name, value in times.items()}

    def refusal(self, status: int, message: str) -> Answer:
        if self.shapes.error is None:
            return answer({"error": {"message": message, "type": "invalid_request_error"}}, status)
        return answer(json.loads(json.dumps(self.shapes.error).replace("{message}", message)), status)


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())
