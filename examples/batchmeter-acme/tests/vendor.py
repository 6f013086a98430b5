"""Acme for tests: a server on the loopback with the vendor's own words. Let the vendor's SDK talk to it, too."""

import itertools
import json

from batchmeter.testing.wire import Answer, Received

KEY = "acme-test-key"
STATES = ("WAITING", "WORKING", "DONE")


class Vendor:
    """One account. A job takes a step at each look."""

    def __init__(self) -> None:
        self.uploads: dict[str, dict] = {}
        self.data: dict[str, bytes] = {}
        self.jobs: dict[str, dict] = {}
        self._numbers = itertools.count(1)

    async def __call__(self, request: Received) -> Answer:
        if request.headers.get("x-acme-key") != KEY:
            return problem(401, "this key is not known")
        kind, *rest = request.path.removeprefix("/v1/").split("/")
        if kind not in ("uploads", "jobs"):
            return problem(404, "there is no such path")
        if not rest:
            return getattr(self, f"{request.method.lower()}_{kind}")(request)
        held = getattr(self, kind).get(rest[0])
        if held is None:
            return problem(404, f"there is no {rest[0]} in {kind}")
        return getattr(self, "_".join([request.method.lower(), kind[:-1], *rest[1:]]))(held)

    def post_uploads(self, request: Received) -> Answer:
        return answer(self.keep(request.body, request.query["name"]))

    def get_uploads(self, request: Received) -> Answer:
        return self.page("uploads", request)

    def get_upload(self, upload: dict) -> Answer:
        return answer(upload)

    def get_upload_data(self, upload: dict) -> Answer:
        return Answer(200, self.data[upload["id"]])

    def delete_upload(self, upload: dict) -> Answer:
        del self.uploads[upload["id"]]
        return answer({})

    def post_jobs(self, request: Received) -> Answer:
        asked = json.loads(request.body)
        if asked["upload"] not in self.uploads:
            return problem(400, "the upload is not there")
        number = next(self._numbers)
        job = {"id": f"job-{number}", "made": 1_790_000_000 + number, "changed": None, "state": STATES[0], **asked}
        self.jobs[job["id"]] = job | {"lines": 0, "good": 0, "bad": 0, "result": None}
        return answer(self.jobs[job["id"]])

    def get_jobs(self, request: Received) -> Answer:
        return self.page("jobs", request)

    def get_job(self, job: dict) -> Answer:
        shown = dict(job)
        if job["state"] in STATES[:-1]:
            job["state"] = STATES[STATES.index(job["state"]) + 1]
            if job["state"] == "DONE":
                self.finish(job)
        return answer(shown)

    def post_job_stop(self, job: dict) -> Answer:
        if job["state"] == "DONE":
            return problem(409, "the job has ended")
        job |= {"state": "STOPPED", "changed": job["made"] + 5}
        return answer(job)

    def finish(self, job: dict) -> None:
        asked = [json.loads(line) for line in self.data[job["upload"]].splitlines()]
        result = self.keep(b"".join(json.dumps(row_for(line)).encode() + b"\n" for line in asked), "result.jsonl")
        job |= {"changed": job["made"] + 60, "lines": len(asked), "good": len(asked), "result": result["id"]}

    def keep(self, content: bytes, name: str) -> dict:
        number = next(self._numbers)
        upload = {"id": f"up-{number}", "name": name, "size": len(content), "made": 1_790_000_000 + number}
        self.uploads[upload["id"]], self.data[upload["id"]] = upload, content
        return upload

    def page(self, kind: str, request: Received) -> Answer:
        rows = list(getattr(self, kind).values())[::-1]
        ids = [row["id"] for row in rows]
        start = ids.index(request.query["older_than"]) + 1 if request.query.get("older_than") in ids else 0
        end = start + int(request.query.get("count") or 20)
        return answer({kind: rows[start:end], "more": end < len(rows)})


def row_for(line: dict) -> dict:
    """An answer that repeats the question: ten tokens read, four of them remembered, three written."""
    said = line["body"]["messages"][-1]["content"]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    counted = {"tokens_read": 10, "tokens_remembered": 4, "tokens_written": 3}
    body = {"id": "a-1", "model": line["body"]["model"], "choices": [choice], "usage": counted}
    return {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def problem(status: int, message: str) -> Answer:
    return answer({"error": {"message": message}}, status)
