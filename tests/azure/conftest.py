"""A fake Azure OpenAI resource with Azure's quirks, kept honest by the official SDK as its client (test_fake.py)."""

import contextlib
import email
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.policy import HTTP
from typing import Any

import pytest

from batchmeter.testing.wire import Answer, Received, serving
from batchmeter_azure import AzureProvider, AzureSettings

KEY = "azure-key-0123456789"
TOKEN = "entra-token-0123456789"
NOW = 1_744_402_048
DATED = "2024-10-21"
STEPS = ("validating", "in_progress", "finalizing", "completed")


def json_answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"apim-request-id": str(uuid.uuid4())})


def refusal(status: int, code: str, message: str) -> Answer:
    return json_answer({"error": {"code": code, "message": message}}, status)


@dataclass
class FakeAzure:
    """One resource. What a test wants to go otherwise is set on it."""

    version: str = DATED
    """Of the classic API; `2024-07-01-preview` prints ISO 8601 times and capitalised statuses."""
    pending: int = 1
    """Looks at a new file before it is processed."""
    file_end: str = "processed"
    full: int = 0
    """Creates refused because the queue is full."""
    silent_deletes: bool = False
    """204 without a body, which the official SDK cannot read."""
    fails: str | None = None
    """The code with which new batches fail, …"""
    fails_left: int = 1_000_000
    """… and how many still do."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """Contents of the own storage, by URL."""
    url: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    async def __call__(self, request: Received) -> Answer:
        self.received.append(request)
        parts = request.path.strip("/").split("/")
        v1 = parts[:2] == ["openai", "v1"]
        known = v1 or (parts[:1] == ["openai"] and request.query.get("api-version") == self.version)
        if not known:
            return refusal(404, "404", "Resource not found")
        if not self.allowed(request, v1=v1):
            return refusal(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")
        kind, *rest = parts[2 if v1 else 1 :]
        if kind not in ("files", "batches"):
            return refusal(404, "404", "Resource not found")
        if not rest:
            return getattr(self, f"{request.method.lower()}_{kind}")(request)
        held = getattr(self, kind).get(rest[0])
        if held is None:
            return refusal(404, "NotFound", f"No {kind} found with id '{rest[0]}'.")
        what = "_".join([request.method.lower(), kind[:-1].removesuffix("e"), *rest[1:]])
        return getattr(self, what)(held, v1)

    def allowed(self, request: Received, *, v1: bool) -> bool:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return request.headers.get("api-key") == KEY or bearer == TOKEN or (v1 and bearer == KEY)

    # -- files

    def post_files(self, request: Received) -> Answer:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body, policy=HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        seconds = parts["expires_after[seconds]"].get_content().strip() if "expires_after[seconds]" in parts else None
        if seconds is not None and not 259_200 <= int(seconds) <= 2_592_000:
            return refusal(400, "invalidPayload", "Invalid value for seconds.")
        content = parts["file"].get_payload(decode=True)
        made = self.add_file(content, str(parts["file"].get_filename()), pending=self.pending)
        return json_answer(made["shown"], 201)

    def add_file(self, content: bytes, name: str, purpose: str = "batch", pending: int = 0) -> dict[str, Any]:
        file_id = f"file-{uuid.uuid4().hex}"
        shown = {"status": "pending" if pending else self.file_end, "bytes": len(content), "purpose": purpose}
        shown |= {"filename": name, "id": file_id, "created_at": NOW, "object": "file"}
        self.files[file_id] = {"shown": shown, "content": content, "pending": pending}
        return self.files[file_id]

    def get_files(self, request: Received) -> Answer:
        return self.page([file["shown"] for file in reversed(self.files.values())], request)

    def get_fil(self, held: dict[str, Any], v1: bool) -> Answer:
        if held["pending"]:
            held["pending"] -= 1
        else:
            held["shown"]["status"] = self.file_end
        return json_answer(held["shown"])

    def get_fil_content(self, held: dict[str, Any], v1: bool) -> Answer:
        return Answer(200, held["content"], {"content-type": "application/octet-stream"})

    def delete_fil(self, held: dict[str, Any], v1: bool) -> Answer:
        file_id = held["shown"]["id"]
        del self.files[file_id]
        return Answer(204) if self.silent_deletes else json_answer({"id": file_id, "object": "file", "deleted": True})

    # -- batches

    def post_batches(self, request: Received) -> Answer:
        asked = json.loads(request.body)
        if self.full:
            self.full -= 1
            return refusal(400, "token_limit_exceeded", "Enqueued token limit reached for this deployment.")
        if "input_blob" in asked:
            if asked.get("metadata") or "url" not in asked.get("output_folder", {}):
                return refusal(400, "invalidPayload", "metadata is not supported with input_blob.")
        elif self.files.get(asked["input_file_id"], {"shown": {"status": None}})["shown"]["status"] != "processed":
            return refusal(400, "invalidPayload", "The input file is not in a processed state.")
        batch_id = f"batch_{uuid.uuid4()}"
        nothing = None if "input_blob" in asked else ""
        shown = {"id": batch_id, "object": "batch", "status": "validating", "created_at": NOW + len(self.batches)}
        shown |= {"completion_window": "24h", "endpoint": asked["endpoint"], "expires_at": NOW + 86_400}
        shown |= {"input_file_id": asked.get("input_file_id"), "output_file_id": nothing, "error_file_id": nothing}
        shown |= {"errors": None, "metadata": asked.get("metadata")}
        shown |= {"request_counts": {"total": None, "completed": None, "failed": None}}
        if "input_blob" in asked:
            folder = f"{asked['output_folder']['url']}/{uuid.uuid4()}"
            shown |= {"input_blob": asked["input_blob"]}
            shown |= {"output_blob": f"{folder}/results.jsonl", "error_blob": f"{folder}/errors.jsonl"}
        self.batches[batch_id] = {"shown": shown, "end": "completed"}
        return json_answer(self.spelled(shown))

    def get_batches(self, request: Received) -> Answer:
        return self.page([self.spelled(batch["shown"]) for batch in reversed(self.batches.values())], request)

    def get_batch(self, held: dict[str, Any], v1: bool) -> Answer:
        answer = json_answer(self.spelled(held["shown"]))
        self.step(held)
        return answer

    def post_batch_cancel(self, held: dict[str, Any], v1: bool) -> Answer:
        if held["shown"]["status"] in ("completed", "failed", "cancelled"):
            return refusal(409, "Conflict", "The batch has ended.")
        held["shown"] |= {"status": "cancelling", "cancelling_at": NOW + 5}
        return json_answer(self.spelled(held["shown"]))

    def step(self, held: dict[str, Any]) -> None:
        shown = held["shown"]
        if shown["status"] == "cancelling":
            shown |= {"status": "cancelled", "cancelled_at": NOW + 9}
        elif self.fails and self.fails_left and shown["status"] == "validating":
            self.fails_left -= 1
            errors = {"object": "list", "data": [{"code": self.fails, "message": "Refused."}]}
            counts = {"total": 10, "completed": None, "failed": None}
            shown |= {"status": "failed", "failed_at": NOW + 9, "errors": errors, "request_counts": counts}
        elif shown["status"] in STEPS[:-1]:
            shown["status"] = STEPS[STEPS.index(shown["status"]) + 1]
            if shown["status"] == "completed":
                self.complete(shown)

    def complete(self, shown: dict[str, Any]) -> None:
        source = shown.get("input_blob")
        content = self.blobs[source] if source else self.files[shown["input_file_id"]]["content"]
        rows = [json.loads(line) for line in content.splitlines()]
        output = b"".join(json.dumps(answered(row)).encode() + b"\n" for row in rows)
        shown |= {
            "completed_at": NOW + 400,
            "request_counts": {"total": len(rows), "completed": len(rows), "failed": 0},
        }
        if source:
            self.blobs[shown["output_blob"]] = output  # no rows, no error blob; its URL is there all the same
        else:
            shown["output_file_id"] = self.add_file(output, "results.jsonl", "batch_output")["shown"]["id"]
            shown["error_file_id"] = self.add_file(b"", "errors.jsonl", "batch_output")["shown"]["id"]

    # -- what both have

    def page(self, rows: list[dict[str, Any]], request: Received) -> Answer:
        after = request.query.get("after")
        start = next((index + 1 for index, row in enumerate(rows) if row["id"] == after), 0)
        end = start + int(request.query.get("limit", 20))
        chosen = rows[start:end]
        ends = {"first_id": chosen[0]["id"], "last_id": chosen[-1]["id"]} if chosen else {}
        return json_answer({"object": "list", "data": chosen, **ends, "has_more": end < len(rows)})

    def spelled(self, shown: dict[str, Any]) -> dict[str, Any]:
        """As the older previews print it: `"InProgress"`, `"2025-04-11T20:07:28.0000000+00:00"`."""
        if "preview" not in self.version:
            return dict(shown)
        times = {name: iso(value) for name, value in shown.items() if name.endswith("_at") and value is not None}
        return {**shown, **times, "status": shown["status"].title().replace("_", "")}


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000+00:00")


def answered(row: dict[str, Any]) -> dict[str, Any]:
    """No line id; the model behind the deployment; content filter results."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-05-13",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
        "usage": {"prompt_tokens": 27, "completion_tokens": 24, "total_tokens": 51},
    }
    response = {"body": body, "request_id": str(uuid.uuid4()), "status_code": 200}
    return {"custom_id": row["custom_id"], "response": response, "error": None}


@pytest.fixture
async def azure():
    fake = FakeAzure()
    async with serving(fake) as url:
        fake.url = url
        yield fake


@pytest.fixture
def naps():
    return []


@pytest.fixture
async def account(azure, naps):
    """`account(**settings)`: a provider for the fake resource that does not really sleep, closed at the end."""

    async def nap(seconds):
        naps.append(seconds)

    async with contextlib.AsyncExitStack() as stack:

        def make(**settings):
            if not any(settings.get(name) for name in ("api_key", "ad_token", "ad_token_provider", "credential")):
                settings["api_key"] = KEY
            settings.setdefault("endpoint", azure.url)
            provider = AzureProvider("azure-eu", AzureSettings(**settings), http={"sleep": nap})
            stack.push_async_callback(provider.aclose)
            return provider

        yield make
