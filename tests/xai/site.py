"""A test server that is xAI's files and batches: counters for a status, dates for times, pages with tokens."""

import email
import itertools
import json
from dataclasses import dataclass, field
from email.policy import HTTP
from typing import Any

from batchmeter.testing.wire import Answer, Received

KEY = "xai-test-key-0123456789"
CHAT: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 150,
    "completion_tokens_details": {"reasoning_tokens": 30},
    "cost_in_usd_ticks": 1_760_000,
}


@dataclass
class FakeXAI:
    """One team. A batch takes a step at each look."""

    page: int = 100
    """Rows of the largest page."""
    refuses: int = 0
    """Creates that still get 429."""
    lost: int = 0
    """Creates whose answer still gets lost."""
    fast: bool = False
    """Batches have ended at the first look."""
    invalid: str = ""
    """Why xAI itself cancels new batches."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    content: dict[str, bytes] = field(default_factory=dict[str, bytes])
    batches: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    received: list[Received] = field(default_factory=list[Received])
    url: str = ""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def __call__(self, request: Received) -> Answer:
        self.received.append(request)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refusal(400, "Incorrect API key provided: xa***89. You can obtain an API key from console.x.ai.")
        where = request.path.removeprefix("/v1/")
        batch_id = where.removeprefix("batches/").partition(":")[0].partition("/")[0]
        if where.startswith("batches/"):
            batch = self.batches.get(batch_id)
            return refusal(404, f"Batch {batch_id} not found") if batch is None else self.batch(request, where, batch)
        if where.startswith("files/"):
            return self.file(request, *where.split("/")[1:])
        if where not in ("files", "batches"):
            return refusal(404, "Not found")
        if request.method == "POST":
            return self.upload(request) if where == "files" else self.create(request)
        key = "data" if where == "files" else "batches"
        return self.paged(request, key, list((self.files if where == "files" else self.batches).values())[::-1])

    def upload(self, request: Received) -> Answer:
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + request.body, policy=HTTP)
        parts = [(part.get_param("name", header="content-disposition"), part) for part in form.iter_parts()]
        names = [name for name, _ in parts]
        if any(str(name).startswith("expires_after[") for name in names) or names[-1] != "file":
            return refusal(400, "expires_after has to be seconds, before the file")
        fields = dict(parts)
        body = fields["file"].get_payload(decode=True)
        assert isinstance(body, bytes)
        shown: dict[str, Any] = {
            "id": f"file_{next(self._numbers)}",
            "filename": "in.jsonl",
            "bytes": len(body),
            "created_at": 1_790_000_000,
        }
        if "expires_after" in fields:
            shown["expires_at"] = 1_790_000_000 + int(fields["expires_after"].get_content())
        self.files[shown["id"]], self.content[shown["id"]] = shown | {"purpose": ""}, body
        return answer(self.files[shown["id"]])

    def file(self, request: Received, file_id: str, *rest: str) -> Answer:
        if file_id not in self.files:
            return refusal(404, f"File {file_id} not found")
        if rest == ("content",):
            return Answer(200, self.content[file_id])
        if request.method == "DELETE":
            del self.files[file_id]
            return answer({"id": file_id, "deleted": True})
        return answer(self.files[file_id])

    def create(self, request: Received) -> Answer:
        if self.refuses:
            self.refuses -= 1
            return Answer(
                429, json.dumps({"code": "resource-exhausted", "error": "Too many"}).encode(), {"retry-after": "1"}
            )
        asked = json.loads(request.body)
        if set(asked) != {"name", "input_file_id"} or asked["input_file_id"] not in self.files:
            return refusal(400, "the request is not valid")
        batch_id = f"batch_{next(self._numbers):04d}"
        state = dict.fromkeys(("num_requests", "num_pending", "num_success", "num_error", "num_cancelled"), 0)
        times = {"create_time": "2026-11-29", "expire_time": "2099-12-29", "cancel_time": None}
        self.batches[batch_id] = {"batch_id": batch_id, **asked, **times, "cancel_by_xai_message": None, "state": state}
        for _ in range(2 * self.fast):
            self.step(self.batches[batch_id])
        if self.lost:
            self.lost -= 1
            return Answer(status=0)
        return answer(self.batches[batch_id])

    def batch(self, request: Received, where: str, batch: dict[str, Any]) -> Answer:
        if where.endswith("/results"):
            return self.paged(request, "results", self.results.get(batch["batch_id"], []))
        if where.endswith(":cancel"):
            batch["cancel_time"] = "2026-11-30"
            batch["state"] |= {"num_cancelled": batch["state"]["num_pending"], "num_pending": 0}
            return answer(batch)
        shown = json.loads(json.dumps(batch))
        if batch["cancel_time"] is None:
            self.step(batch)
        return answer(shown)

    def step(self, batch: dict[str, Any]) -> None:
        rows = [json.loads(line) for line in self.content[batch["input_file_id"]].splitlines()]
        state = batch["state"]
        if self.invalid:
            batch |= {"cancel_time": "2026-11-30", "cancel_by_xai_message": self.invalid}
        elif not state["num_requests"]:
            state |= {"num_requests": len(rows), "num_pending": len(rows)}
        elif state["num_pending"]:
            self.results[batch["batch_id"]] = made = [result_of(row) for row in rows]
            good = sum("response" in row["batch_result"] for row in made)
            state |= {"num_pending": 0, "num_success": good, "num_error": len(made) - good}
            batch["cost_breakdown"] = {"total_cost_usd_ticks": good * CHAT["cost_in_usd_ticks"]}

    def paged(self, request: Received, key: str, rows: list[Any]) -> Answer:
        start = int(request.query.get("pagination_token") or 0)
        end = start + min(int(request.query.get("limit") or 100), self.page)
        return answer({key: rows[start:end], "pagination_token": str(end) if end < len(rows) else None})


def result_of(row: dict[str, Any]) -> dict[str, Any]:
    """Images have no tokens, only an amount; a request for the model `broken` fails."""
    model = row["body"]["model"]
    if model == "broken":
        result: dict[str, Any] = {"error": {"code": 3, "message": "the model is not there"}}
    elif row["url"] == "/v1/images/generations":
        made = {"data": [{"url": "https://imgen.x.ai/1"}], "usage": {"cost_in_usd_ticks": 200_000_000}, "model": model}
        result = {"response": {"image_generation": made}}
    else:
        choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        chat = {"id": "c-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": CHAT}
        result = {"response": {"chat_get_completion": chat}}
    return {"batch_request_id": row["custom_id"], "batch_result": result}


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def refusal(status: int, message: str) -> Answer:
    return answer({"code": "Client specified an invalid argument", "error": message}, status)
