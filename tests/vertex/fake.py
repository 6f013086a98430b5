"""A Vertex AI of our own: batch prediction jobs over a fake clock, their rows in a real Cloud Storage emulator."""

import json
import random
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.vendor_kit import BlockingHandler

TOKEN = "test-token"
QUEUED, RUNNING = 60, 120
"""Seconds after its creation until a job runs, and until it ends."""


def answer(row: dict[str, Any]) -> dict[str, Any]:
    """The fake model's answer; a prompt with FAIL in it fails, as Vertex AI words it."""
    request = row["request"]
    if "FAIL" in json.dumps(request):
        error = {"error": {"code": 400, "message": "Please use a valid role.", "status": "INVALID_ARGUMENT"}}
        return {"status": f"Bad Request: {json.dumps(error)}"}
    if "content" in request:
        text = request["content"]["parts"][0]["text"]
        response: dict[str, Any] = {
            "embedding": {"values": [float(len(text)), 0.5]},
            "usageMetadata": {"promptTokenCount": len(text)},
        }
    elif "anthropic_version" in request:
        usage = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 5}
        content = [{"type": "text", "text": "hello"}]
        response = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "usage": usage}
        response |= {"content": content, "stop_reason": "end_turn"}
    else:
        text = request["contents"][-1]["parts"][-1].get("text", "?")
        candidate = {"content": {"role": "model", "parts": [{"text": f"echo {text}"}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 30, "totalTokenCount": 36}
        response = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "usageMetadata": usage}
        response |= {"responseId": "r", "createTime": "2026-11-22T09:00:00.25Z"}
    return {"status": "", "response": response}


def inferred(value: Any) -> Any:
    """The importer's type guessing: digits come back as a number."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"\d+", value) else value


class Bucket:
    """The emulator, seen from the service's side."""

    def __init__(self, base: str, name: str) -> None:
        self.base, self.name = base, name
        self._call("POST", "/storage/v1/b", json.dumps({"name": name}).encode())

    def put(self, name: str, data: bytes) -> None:
        self._call("POST", f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={self._quoted(name)}", data)

    def get(self, name: str) -> bytes:
        return self._call("GET", f"/storage/v1/b/{self.name}/o/{self._quoted(name)}?alt=media")

    def names(self, prefix: str = "") -> list[str]:
        listed = json.loads(self._call("GET", f"/storage/v1/b/{self.name}/o?prefix={self._quoted(prefix)}"))
        return [item["name"] for item in listed.get("items", [])]

    def _quoted(self, name: str) -> str:
        return urllib.parse.quote(name, safe="")

    def _call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request) as response:
            return response.read()


class FakeVertex:
    """Jobs, and the knobs that tests turn."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.jobs: dict[str, dict[str, Any]] = {}
        self.now = datetime(2026, 11, 22, 8, tzinfo=UTC)
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.respond: Callable[[dict[str, Any]], dict[str, Any]] = answer
        self.echo = "both"
        """The correlation that comes back: `custom_id`, `labels` or `both`."""
        self.shards = 1
        self.write = True
        self.end = "JOB_STATE_SUCCEEDED"
        self.base = ""
        self.lose = 0
        """How many creates get no answer, though the job is made."""
        self.tick = 0.0
        """Seconds that pass with each look at a job."""

    def advance(self, seconds: float) -> None:
        """Time passes, job by job."""
        self.now += timedelta(seconds=seconds)
        for job in self.jobs.values():
            self._move(job)

    def create(self, body: dict[str, Any], parent: str) -> tuple[int, dict[str, Any]]:
        if "missing" in body["model"]:
            return 404, problem(404, "NOT_FOUND", f"Model {body['model']} is not found.")
        number = str(3814889423749775360 + len(self.jobs))
        job = {**body, "name": f"{parent.replace('/proj/', '/123/')}/{number}", "state": "JOB_STATE_PENDING"}
        job |= {"createTime": self._time(), "updateTime": self._time()}
        self.jobs[number] = job
        return 200, job

    def cancel(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "endTime" in job:
            return 400, problem(400, "FAILED_PRECONDITION", "The job has already ended.")
        job["state"] = "JOB_STATE_CANCELLING"
        return 200, {}

    def delete(self, number: str) -> tuple[int, dict[str, Any]]:
        if "endTime" not in self.jobs[number]:
            return 400, problem(400, "FAILED_PRECONDITION", "The job has not ended.")
        del self.jobs[number]
        return 200, {"name": "projects/123/locations/x/operations/1", "done": True}

    def look(self, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.tick:
            self.advance(self.tick)
        return 200, job

    def page(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if query.get("pageToken") == "stale":
            return 400, problem(400, "INVALID_ARGUMENT", "Invalid page token.")
        newest = list(reversed(self.jobs.values()))
        start, size = int(query.get("pageToken") or 0), int(query.get("pageSize") or 10)
        page: dict[str, Any] = {"batchPredictionJobs": newest[start : start + size]} if newest else {}
        return 200, page | ({"nextPageToken": str(start + size)} if start + size < len(newest) else {})

    def _time(self) -> str:
        return self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _move(self, job: dict[str, Any]) -> None:
        age = (self.now - datetime.fromisoformat(job["createTime"])).total_seconds()
        if "endTime" in job:
            return
        if job["state"] == "JOB_STATE_CANCELLING":
            self._finish(job, "JOB_STATE_CANCELLED", keep=1)
        elif age >= RUNNING:
            self._finish(job, self.end)
        elif age >= QUEUED:
            job.update(state="JOB_STATE_RUNNING", startTime=self._time())

    def _finish(self, job: dict[str, Any], state: str, keep: int | None = None) -> None:
        job.update(state=state, endTime=self._time(), updateTime=self._time())
        if state == "JOB_STATE_FAILED":
            job["error"] = {"code": 3, "message": "Failed to import data. Invalid field name."}
            return
        uri = job["inputConfig"]["gcsSource"]["uris"][0]
        lines = self.bucket.get(uri.removeprefix(f"gs://{self.bucket.name}/")).split(b"\n")
        rows = [self._row(json.loads(line)) for line in lines if line][:keep]
        bad = sum(1 for row in rows if row["status"])
        job["completionStats"] = {
            "successfulCount": str(len(rows) - bad),
            "failedCount": str(bad),
            "incompleteCount": "-1",
        }
        prefix = job["outputConfig"]["gcsDestination"]["outputUriPrefix"]
        folder = f"{prefix}/prediction-model-{job['createTime']}"
        job["outputInfo"] = {"gcsOutputDirectory": folder}
        if self.write:
            self._export(folder.removeprefix(f"gs://{self.bucket.name}/"), rows)

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        made = {"processed_time": self._time(), "request": row["request"], **self.respond(row)}
        if self.echo != "labels":
            made |= {name: inferred(row[name]) for name in ("custom_id", "key") if name in row}
        if self.echo == "custom_id":
            made["request"] = {key: value for key, value in row["request"].items() if key != "labels"}
        return made

    def _export(self, folder: str, rows: list[dict[str, Any]]) -> None:
        random.Random(7).shuffle(rows)
        for shard in range(self.shards):
            name = "predictions.jsonl" if self.shards == 1 else f"predictions_{shard:04d}.jsonl"
            self.bucket.put(f"{folder}/{name}", jsonl(rows[shard :: self.shards]))


def jsonl(rows: Iterable[object]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def problem(code: int, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status}}


def handler(fake: FakeVertex) -> type[BlockingHandler]:
    class Handler(BlockingHandler):
        def answer(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            fake.requests.append((self.command, self.path, body))
            status, reply = self.route(url.path, dict(urllib.parse.parse_qsl(url.query)), body)
            if self.command == "POST" and url.path.endswith("batchPredictionJobs") and fake.lose:
                fake.lose -= 1
                self.close_connection = True
                return
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = answer  # noqa: N815 - http.server names them
        do_POST = answer  # noqa: N815
        do_DELETE = answer  # noqa: N815

        def route(self, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                return 401, problem(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
            match = re.fullmatch(
                r"/v1(?:beta1)?/(projects/proj/locations/[\w-]+/batchPredictionJobs)(?:/(\d+))?(:cancel)?", path
            )
            if match is None:
                return 404, problem(404, "NOT_FOUND", path)
            parent, number, cancel = match.groups()
            if number is None:
                return fake.create(body, parent) if self.command == "POST" else fake.page(query)
            if number not in fake.jobs:
                return 404, problem(404, "NOT_FOUND", f"The BatchPredictionJob {number} does not exist.")
            if self.command == "DELETE":
                return fake.delete(number)
            return fake.cancel(fake.jobs[number]) if cancel else fake.look(fake.jobs[number])

    return Handler
