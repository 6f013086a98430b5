"""A developer API of Google's of our own: resumable uploads, batch operations as they really come, two versions of paths."""

import json
import re
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.vendor_kit import BlockingHandler

KEY = "AIza-test-key-0123456789"
FORMS = {"batchGenerateContent": "GenerateContentBatch", "asyncBatchEmbedContent": "EmbedContentBatch"}
NAME = re.compile(r"files/[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The fake model's answer. A prompt with FAIL in it fails."""
    if "FAIL" in json.dumps(request):
        return {"error": {"code": 3, "message": "Please use a valid role."}}
    if "content" in request:
        text = request["content"]["parts"][0]["text"]
        usage = {"promptTokenCount": len(text), "totalTokenCount": len(text)}
        return {"response": {"embedding": {"values": [float(len(text)), 0.5]}, "usageMetadata": usage}}
    text = request["contents"][-1]["parts"][-1].get("text", "?")
    candidate = {
        "content": {"role": "model", "parts": [{"text": f"écho 🎈 {text}"}]},
        "finishReason": "STOP",
        "index": 0,
    }
    usage = {"promptTokenCount": 8, "candidatesTokenCount": 11, "thoughtsTokenCount": 829, "totalTokenCount": 848}
    response = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "usageMetadata": usage}
    return {"response": response | {"responseId": "r"}}


class FakeGemini:
    """One project, and the knobs that tests turn."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.about: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.now = datetime.now(UTC)
        self.base = ""
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.prefix = "BATCH_STATE_"
        self.looks = 3
        """How many looks at a batch until it ends."""
        self.end = "SUCCEEDED"
        self.respond: Callable[[dict[str, Any]], dict[str, Any]] = answer
        self.upload_host = ""
        """Where upload sessions say that they are."""
        self.refuse: list[tuple[str, int, dict[str, Any]]] = []
        """Part of a path, status and body of answers that come instead."""
        self.lose = 0
        """How many creates get no answer, though the batch is made."""
        self.broken = 0
        """How many pieces of uploads are taken in half and not answered."""
        self._looked: dict[str, int] = {}

    # -- files -------------------------------------------------------------------------------------------------------

    def start(self, about: dict[str, Any], size: int) -> tuple[int, dict[str, Any], dict[str, str]]:
        name = about.get("name") or f"files/up{len(self.sessions)}"
        if not NAME.fullmatch(name):
            return problem(400, "INVALID_ARGUMENT", f"bad name {name}")
        if name in self.about:
            return problem(409, "ALREADY_EXISTS", "Requested entity already exists")
        session = f"s{len(self.sessions)}"
        self.sessions[session] = {"about": {**about, "name": name}, "size": size, "data": b""}
        return 200, {}, {"x-goog-upload-url": f"{self.upload_host or self.base}/upload/session?upload_id={session}"}

    def piece(self, session: str, command: str, offset: str, data: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        upload = self.sessions[session]
        if command == "query":
            return 200, {}, {"x-goog-upload-status": "active", "x-goog-upload-size-received": str(len(upload["data"]))}
        if int(offset) != len(upload["data"]):
            return problem(400, "INVALID_ARGUMENT", "offset")
        if self.broken:
            self.broken -= 1
            upload["data"] += data[: len(data) // 2]
            return problem(503, "UNAVAILABLE", "try again")
        upload["data"] += data
        if "finalize" not in command:
            return 200, {}, {"x-goog-upload-status": "active"}
        if len(upload["data"]) != upload["size"]:
            return problem(400, "INVALID_ARGUMENT", "size")
        return 200, {"file": self.keep(upload["about"], upload["data"])}, {"x-goog-upload-status": "final"}

    def keep(self, about: dict[str, Any], data: bytes) -> dict[str, Any]:
        name = about["name"]
        self.files[name] = data
        self.about[name] = {
            "name": name,
            "displayName": about.get("displayName") or about.get("display_name"),
            "sizeBytes": str(len(data)),
            "createTime": self._time(),
            "expirationTime": self._time(timedelta(hours=48)),
            "state": "ACTIVE",
            "source": "GENERATED" if name.startswith("files/batch-") else "UPLOADED",
            "uri": f"{self.base}/v1beta/{name}",
        }
        return self.about[name]

    # -- batches -----------------------------------------------------------------------------------------------------

    def create(self, model: str, form: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        batch = body["batch"]
        source = batch["inputConfig"]
        if "fileName" in source and source["fileName"] not in self.files:
            return problem(
                403, "PERMISSION_DENIED", "You do not have permission to access the File or it may not exist."
            )
        if len(batch.get("displayName") or "") > 512:
            return problem(400, "INVALID_ARGUMENT", "displayName")
        name = f"batches/b{len(self.operations):04d}x"
        metadata = {
            "@type": f"type.googleapis.com/google.ai.generativelanguage.v1main.{FORMS[form]}",
            "name": name,
            "model": f"models/{model}",
            "displayName": batch.get("displayName"),
            "state": f"{self.prefix}PENDING",
            "createTime": self._time(),
            "updateTime": self._time(),
            "inputConfig": source,
            "batchStats": {
                "requestCount": str(len(self.rows(source))),
                "pendingRequestCount": str(len(self.rows(source))),
            },
        }
        if "requests" in source:
            metadata["inputConfig"] = {}
        self.operations[name] = {"name": name, "metadata": metadata}
        self._looked[name] = 0
        self.operations[name]["_source"] = source
        return 200, self.shown(name, inline=False), {}

    def rows(self, source: dict[str, Any]) -> list[dict[str, Any]]:
        """Key and request of each, from the file or the create itself."""
        if "fileName" in source:
            return [json.loads(line) for line in self.files[source["fileName"]].splitlines() if line.strip()]
        inline = source["requests"]["requests"]
        return [{"key": (one.get("metadata") or {}).get("key"), "request": one["request"]} for one in inline]

    def shown(self, name: str, *, inline: bool) -> dict[str, Any]:
        """A list never has inline answers."""
        operation = json.loads(
            json.dumps({key: value for key, value in self.operations[name].items() if key != "_source"})
        )
        if not inline:
            for holder in (operation["metadata"].get("output", {}), operation.get("response", {})):
                holder.pop("inlinedResponses", None)
        return operation

    def look(self, name: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        self._looked[name] += 1
        operation = self.operations[name]
        if not operation.get("done"):
            state = operation["metadata"]["state"].removeprefix(self.prefix)
            if state == "CANCELLING":
                self.finish(name, "CANCELLED")
            elif self._looked[name] >= self.looks:
                self.finish(name, self.end)
            else:
                operation["metadata"]["state"] = f"{self.prefix}RUNNING"
        return 200, self.shown(name, inline=True), {}

    def finish(self, name: str, state: str) -> None:
        operation = self.operations[name]
        metadata = operation["metadata"]
        metadata.update(state=f"{self.prefix}{state}", endTime=self._time(), updateTime=self._time())
        operation["done"] = True
        if state == "FAILED":
            operation["error"] = {"code": 13, "message": "internal"}
        if state != "SUCCEEDED":
            return
        source = operation["_source"]
        rows = [{"key": row["key"], **self.respond(row["request"])} for row in self.rows(source)]
        good = sum("response" in row for row in rows)
        counters = {"requestCount": len(rows), "successfulRequestCount": good, "failedRequestCount": len(rows) - good}
        metadata["batchStats"] = {key: str(count) for key, count in counters.items() if count}
        if "fileName" in source:
            file = f"files/batch-{name.removeprefix('batches/')}"
            data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            self.keep({"name": file}, data)
            output: dict[str, Any] = {"responsesFile": file}
        else:
            keys = [row.pop("key") for row in rows]
            inline = [({"metadata": {"key": key}} if key else {}) | row for key, row in zip(keys, rows, strict=True)]
            output = {"inlinedResponses": {"inlinedResponses": inline}}
        metadata["output"] = operation["response"] = output

    def cancel(self, name: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        if self.operations[name].get("done"):
            return problem(400, "FAILED_PRECONDITION", "The batch has already ended.")
        self.operations[name]["metadata"]["state"] = f"{self.prefix}CANCELLING"
        return 200, {}, {}

    def page(self, query: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        names = list(reversed(self.operations))
        start, size = int(query.get("pageToken") or 0), int(query.get("pageSize") or 10)
        shown = [self.shown(name, inline=False) for name in names[start : start + size]]
        more = {"nextPageToken": str(start + size)} if start + size < len(names) else {}
        return 200, ({"operations": shown} if shown else {}) | more, {}

    def _time(self, later: timedelta = timedelta()) -> str:
        self.now += timedelta(milliseconds=1)
        return (self.now + later).isoformat(timespec="microseconds").replace("+00:00", "Z")


def problem(code: int, status: str, message: str, **details: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    error = {"code": code, "message": message, "status": status}
    return code, {"error": error | ({"details": [details]} if details else {})}, {}


class Handler(BlockingHandler):
    """One request at a fake."""

    fake: FakeGemini

    def answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        data = self.body()
        self.fake.seen.append((self.command, self.path, {name.lower(): text for name, text in self.headers.items()}))
        # An upload's session is known by its address alone; the official client sends no key there.
        if url.path != "/upload/session" and self.headers.get("x-goog-api-key") != KEY:
            reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return self.reply(*problem(400, "INVALID_ARGUMENT", "API key not valid.", **reason))
        for refusal in self.fake.refuse:
            if refusal[0] in url.path:
                self.fake.refuse.remove(refusal)
                return self.reply(refusal[1], refusal[2], {})
        match = re.fullmatch(r"/(?:download/)?v1(?:beta)?/(files/[\w-]+):download", url.path)
        if match and match[1] in self.fake.files:
            return self.download(match[1])
        status, reply, headers = self.upload(url.path, query, data) or self.route(url.path, query, data)
        if ":batchGenerateContent" in url.path and self.fake.lose:
            self.fake.lose -= 1
            self.close_connection = True
            return None
        return self.reply(status, reply, headers)

    do_GET = answer  # noqa: N815 - http.server names them
    do_POST = answer  # noqa: N815
    do_DELETE = answer  # noqa: N815

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status: int, reply: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(reply).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **headers}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def download(self, name: str) -> None:
        """An upload is not given back."""
        if self.fake.about[name]["source"] != "GENERATED":
            return self.reply(*problem(400, "INVALID_ARGUMENT", "Only generated files can be downloaded."))
        data = self.fake.files[name]
        self.send_response(200)
        self.send_header("content-type", "application/jsonl")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        size = max(len(data) // 7, 1) if len(data) < 10_000 else 65_521
        for start in range(0, len(data), size):
            chunk = data[start : start + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")
        return None

    def upload(
        self, path: str, query: dict[str, str], data: bytes
    ) -> tuple[int, dict[str, Any], dict[str, str]] | None:
        if re.fullmatch(r"/upload/v1(?:beta)?/files", path):
            about = json.loads(data)["file"]
            return self.fake.start(about, int(self.headers["x-goog-upload-header-content-length"]))
        if path == "/upload/session":
            command = self.headers["x-goog-upload-command"]
            offset = self.headers.get("x-goog-upload-offset") or "0"
            return self.fake.piece(query["upload_id"], command, offset, data)
        return None

    def route(self, path: str, query: dict[str, str], data: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        match = re.fullmatch(r"/v1(?:beta)?/(.*)", path)
        rest = match[1] if match else ""
        if found := re.fullmatch(r"models/([^:]+):(batchGenerateContent|asyncBatchEmbedContent)", rest):
            return self.fake.create(found[1], found[2], json.loads(data))
        if rest == "batches":
            return self.fake.page(query)
        name, _, verb = rest.partition(":")
        if name.startswith("files/"):
            return self.file(name)
        if name not in self.fake.operations:
            return problem(404, "NOT_FOUND", f"Requested entity {name} was not found.")
        if self.command == "DELETE":
            del self.fake.operations[name]
            return 200, {}, {}
        return self.fake.cancel(name) if verb == "cancel" else self.fake.look(name)

    def file(self, name: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        if name not in self.fake.about:
            return problem(
                403, "PERMISSION_DENIED", f"You do not have permission to access {name} or it may not exist."
            )
        if self.command == "DELETE":
            del self.fake.about[name], self.fake.files[name]
            return 200, {}, {}
        return 200, self.fake.about[name], {}


def handler(fake: FakeGemini) -> type[Handler]:
    return type("HandlerOfOne", (Handler,), {"fake": fake})
