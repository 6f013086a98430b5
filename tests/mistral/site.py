"""A test server that is Mistral's files and batch jobs, kept honest by Mistral's own SDK (test_fake.py)."""

import email
import itertools
import json
import uuid
from dataclasses import dataclass, field
from email.policy import HTTP
from typing import Any

from batchmeter.testing.wire import Answer, Received

KEY = "mistral-key-0123456789"
NOW = 1_790_000_000
CHAT = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
AUDIO = {**CHAT, "prompt_audio_seconds": 60}
_CREATE = {"input_files", "requests", "endpoint", "model", "agent_id", "metadata", "timeout_hours"}
_LINE = {"custom_id", "body"}
_CHAT_ONLY = {"max_completion_tokens", "seed", "logprobs", "user", "metadata", "store", "service_tier"}


@dataclass
class FakeMistral:
    """One workspace. A job takes a step at each look."""

    lost: int = 0
    """Creates whose answer still gets lost."""
    pending: int = 0
    """Creates that still get 429."""
    fast: bool = False
    """Jobs have ended at the first look."""
    end: str = "SUCCESS"
    files: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    content: dict[str, bytes] = field(default_factory=dict[str, bytes])
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    rows: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    received: list[Received] = field(default_factory=list[Received])
    url: str = ""
    _times: Any = field(default_factory=lambda: itertools.count(NOW))

    async def __call__(self, request: Received) -> Answer:
        self.received.append(request)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refusal(401, "Invalid API Key")
        where = request.path.removeprefix("/v1/")
        if where in ("files", "batch/jobs"):
            if request.method == "GET":
                held = self.files if where == "files" else self.jobs
                return paged(request, list(held.values())[::-1])
            return self.upload(request) if where == "files" else self.create(request)
        kind, _, rest = (
            where.partition("/") if where.startswith("files/") else ("jobs", "", where[len("batch/jobs/") :])
        )
        name, _, action = rest.partition("/")
        found = {"files": self.files, "jobs": self.jobs}[kind].get(name)
        if found is None:
            return refusal(404, f"No such {kind[:-1]}: {name}")
        return self.file(request, found, action) if kind == "files" else self.job(request, found, action)

    def upload(self, request: Received) -> Answer:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body, policy=HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        body = parts["file"].get_payload(decode=True)
        assert isinstance(body, bytes)
        purpose = parts["purpose"].get_content().strip()
        for number, line in enumerate(body.splitlines() if purpose == "batch" else (), 1):
            if strange := problem_of(json.loads(line)):
                return refusal(422, f"line {number}: {strange}")
        return answer(self.keep(body, str(parts["file"].get_filename()), purpose, "upload"))

    def keep(self, content: bytes, name: str, purpose: str, source: str) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "object": "file",
            "bytes": len(content),
            "created_at": next(self._times),
        }
        shown |= {
            "filename": name,
            "purpose": purpose,
            "sample_type": f"batch_{'request' if source == 'upload' else 'result'}",
        }
        self.files[shown["id"]] = shown | {"source": source, "num_lines": content.count(b"\n")}
        self.content[shown["id"]] = content
        return self.files[shown["id"]]

    def file(self, request: Received, found: dict[str, Any], action: str) -> Answer:
        if action == "content":
            return Answer(200, self.content[found["id"]], {"content-type": "application/octet-stream"})
        if request.method == "DELETE":
            del self.files[found["id"]]
            return answer({"id": found["id"], "object": "file", "deleted": True})
        return answer(found | {"deleted": False})

    def create(self, request: Received) -> Answer:
        if self.pending:
            self.pending -= 1
            return refusal(429, "Too many pending requests")
        asked: dict[str, Any] = json.loads(request.body)
        inputs: list[str] = asked.get("input_files") or []
        if set(asked) - _CREATE or any(name not in self.files for name in inputs):
            return refusal(422, "the job is not valid")
        job: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "object": "batch",
            "input_files": inputs,
            "endpoint": asked["endpoint"],
        }
        job |= {"model": asked.get("model"), "metadata": asked.get("metadata"), "status": "QUEUED", "errors": []}
        job |= dict.fromkeys(("total_requests", "completed_requests", "succeeded_requests", "failed_requests"), 0)
        job |= {"created_at": next(self._times), "started_at": None, "completed_at": None}
        job |= {"output_file": None, "error_file": None, "outputs": None}
        self.jobs[job["id"]] = job
        self.rows[job["id"]] = asked.get("requests") or []
        for _ in range(2 * self.fast):
            self.step(job)
        if self.lost:
            self.lost -= 1
            return Answer(status=0)
        return answer(job)

    def job(self, request: Received, job: dict[str, Any], action: str) -> Answer:
        if request.method == "DELETE":
            del self.jobs[job["id"]]
            return answer({"id": job["id"], "object": "batch", "deleted": True})
        if action == "cancel":
            job["status"] = "CANCELLATION_REQUESTED"
            return answer(job)
        shown = dict(job)
        if request.query.get("inline") == "true":
            shown["outputs"] = self.rows[job["id"]]
        self.step(job)
        return answer(shown)

    def step(self, job: dict[str, Any]) -> None:
        if job["status"] == "QUEUED":
            job |= {"status": "RUNNING", "started_at": job["created_at"] + 1}
        elif job["status"] == "CANCELLATION_REQUESTED":
            job |= {"status": "CANCELLED", "completed_at": job["created_at"] + 2}
        elif job["status"] == "RUNNING":
            self.finish(job)

    def finish(self, job: dict[str, Any]) -> None:
        asked = self.rows[job["id"]]
        for name in job["input_files"]:
            asked = [json.loads(line) for line in self.content[name].splitlines()]
        rows = [answered(line, job) for line in asked]
        good = [row for row in rows if row["response"]["status_code"] == 200]
        bad = [row for row in rows if row["response"]["status_code"] != 200]
        job |= {"status": self.end, "completed_at": job["created_at"] + 60, "total_requests": len(rows)}
        job |= {"completed_requests": len(rows), "succeeded_requests": len(good), "failed_requests": len(bad)}
        if bad:
            job["errors"] = [{"message": "HTTP Error, status code: 400", "count": len(bad)}]
        if not job["input_files"]:
            self.rows[job["id"]] = rows
            return
        for kind, made in (("output", good), ("error", bad)):
            if made:
                text = b"".join(json.dumps(row).encode() + b"\n" for row in made)
                job[f"{kind}_file"] = self.keep(text, f"{job['id']}_{kind}.jsonl", "batch", "mistral")["id"]


def problem_of(line: dict[str, Any]) -> str:
    """Mistral checks each line of an upload."""
    if set(line) - _LINE:
        return f"extra keys {sorted(set(line) - _LINE)}"
    return f"extra inputs {sorted(wrong)}" if (wrong := _CHAT_ONLY & line["body"].keys()) else ""


def answered(line: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    """A line whose model is `broken` fails; its body is then a JSON text."""
    model = line["body"].get("model") or job["model"]
    body: dict[str, Any] = {"id": "c-1", "model": model}
    if model == "broken":
        failed = {"status_code": 400, "body": json.dumps({"object": "error", "message": "Invalid model"})}
        return {"id": str(uuid.uuid4()), "custom_id": line.get("custom_id"), "response": failed, "error": None}
    if job["endpoint"] == "/v1/ocr":
        body |= {"pages": [], "usage_info": {"pages_processed": 3, "doc_size_bytes": 1000}}
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        body |= {"object": "chat.completion", "choices": [choice]}
        body |= {"usage": AUDIO if job["endpoint"] == "/v1/audio/transcriptions" else CHAT}
    response: dict[str, Any] = {"status_code": 200, "body": body}
    return {"id": str(uuid.uuid4()), "custom_id": line.get("custom_id"), "response": response, "error": None}


def paged(request: Received, rows: list[Any]) -> Answer:
    size = int(request.query.get("page_size", 100))
    start = int(request.query.get("page", 0)) * size
    return answer({"object": "list", "total": len(rows), "data": rows[start : start + size]})


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def refusal(status: int, message: str) -> Answer:
    return answer({"detail": message}, status)
