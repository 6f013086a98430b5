"""A Bedrock and an S3 of our own: jobs that read and write the bucket, and signatures that botocore computes again."""

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batchmeter.testing.wire import HANG_UP, Answer

ACCESS, SECRET = "AKIDEXAMPLE0000001", "planted-aws-secret-0123456789"
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/batch"
ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
BEARER = "bedrock-api-key-0123456789"
JOB_NAME = re.compile(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9+\-.]){0,63}")
TOKEN = re.compile(r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}")
URI = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-z0-9A-Z]+)*/?")
RECORD = re.compile(r"[A-Za-z0-9]{1,64}")


class WrongError(Exception):
    """A refusal: status, name, message."""


def verify(request, service, tokens):
    """Raises WrongError unless the signature is the one that botocore makes of what came."""
    match = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=(\w+)",
        request.headers.get("authorization", ""),
    )
    if match is None:
        raise WrongError(403, "MissingAuthenticationToken", "no signature")
    access, region, named, signed, signature = match.groups()
    if access != ACCESS:
        raise WrongError(403, "InvalidAccessKeyId" if service == "s3" else "UnrecognizedClientException", "no such key")
    token = request.headers.get("x-amz-security-token")
    if token is not None and token not in tokens:
        raise WrongError(400 if service == "s3" else 403, "ExpiredToken", "The provided token has expired.")
    headers = {name: request.headers[name] for name in signed.split(";")}
    again = AWSRequest(method=request.method, url=f"http://{request.headers['host']}{request.target}", headers=headers)
    again.data = request.body
    again.context["timestamp"] = request.headers["x-amz-date"]
    digest = request.headers.get("x-amz-content-sha256", hashlib.sha256(request.body).hexdigest())
    if digest != "UNSIGNED-PAYLOAD" and digest != hashlib.sha256(request.body).hexdigest():
        raise WrongError(400, "XAmzContentSHA256Mismatch", "the body is another")
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(ACCESS, SECRET, token), named, region)
    expected = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    if (expected, named, region) != (signature, service, REGION):
        raise WrongError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")


class FakeS3:
    """Path-style S3 with one bucket."""

    def __init__(self):
        self.objects = {}
        """Key -> (bytes, headers, time)."""
        self.uploads = {}
        self.received = []
        self.tokens = set()
        self.refuse = []
        """(method, status, code) of the next such requests."""
        self.page = 1000
        self.lose_complete = False
        self.late_error = False
        self.now = datetime(2026, 11, 30, 12, tzinfo=UTC)

    async def __call__(self, request):
        self.received.append(request)
        try:
            verify(request, "s3", self.tokens)
            self.refused(request.method)
            return self.route(request)
        except WrongError as wrong:
            status, code, message = wrong.args
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
            return Answer(
                status, b"" if request.method == "HEAD" else body.encode(), {"content-type": "application/xml"}
            )

    def refused(self, method):
        for one in self.refuse:
            if one[0] == method:
                self.refuse.remove(one)
                raise WrongError(one[1], one[2], "refused & more")

    def route(self, request):  # noqa: PLR0911 - one line an operation
        url = urlsplit(request.target)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if bucket != "bucket":
            raise WrongError(404, "NoSuchBucket", "The specified bucket does not exist")
        if not key:
            return self.list(query)
        if request.method == "PUT":
            return self.put(key, query, request)
        if request.method == "POST":
            return self.post(key, query, request)
        if request.method == "DELETE":
            if "uploadId" in query:
                del self.uploads[query["uploadId"]]
            self.objects.pop(key, None)
            return Answer(204)
        if key not in self.objects:
            raise WrongError(404, "NoSuchKey", "The specified key does not exist.")
        data, headers, at = self.objects[key]
        headers = {**headers, "last-modified": format_datetime(at, usegmt=True), "etag": '"e"'}
        if request.method == "HEAD":
            return Answer(200, b"", headers, length=len(data))
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if match:
            part = data[int(match[1]) : int(match[2]) + 1 if match[2] else None]
            where = f"bytes {match[1]}-{int(match[1]) + len(part) - 1}/{len(data)}"
            return Answer(206, part, {**headers, "content-range": where})
        return Answer(200, data, headers)

    def put(self, key, query, request):
        if "partNumber" in query:
            self.uploads[query["uploadId"]][1][int(query["partNumber"])] = request.body
            return Answer(200, b"", {"etag": f'"part{query["partNumber"]}"'})
        self.store(key, request.body, request.headers)
        return Answer(200, b"", {"etag": '"e"'})

    def post(self, key, query, request):
        if "uploads" in query:
            upload = uuid.uuid4().hex
            self.uploads[upload] = (request.headers, {})
            body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return Answer(200, body.encode())
        if query["uploadId"] not in self.uploads:
            raise WrongError(404, "NoSuchUpload", "The specified upload does not exist.")
        if self.late_error:
            return Answer(200, b"<Error><Code>InternalError</Code><Message>We broke</Message></Error>")
        headers, parts = self.uploads.pop(query["uploadId"])
        named = re.findall(rb"<PartNumber>(\d+)</PartNumber>\s*<ETag>([^<]+)</ETag>", request.body)
        named = named or [
            (n, t) for t, n in re.findall(rb"<ETag>([^<]+)</ETag>\s*<PartNumber>(\d+)</PartNumber>", request.body)
        ]
        assert [int(number) for number, _ in named] == sorted(parts)
        assert all(len(part) >= 5 << 20 for number, part in parts.items() if number < len(parts)), "a part is too small"
        self.store(key, b"".join(parts[number] for number in sorted(parts)), headers)
        if self.lose_complete:
            self.lose_complete = False
            return HANG_UP
        return Answer(200, b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")

    def store(self, key, data, headers=None):
        self.now += timedelta(seconds=1)
        kept = {name: text for name, text in (headers or {}).items() if name.startswith("x-amz-meta-")}
        kept["content-type"] = (headers or {}).get("content-type", "application/octet-stream")
        self.objects[key] = (data, kept, self.now)

    def list(self, query):
        keys = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")))
        keys = [key for key in keys if key > query.get("continuation-token", "")]
        shown, coded = keys[: self.page], query.get("encoding-type") == "url"
        items = "".join(
            f"<Contents><Key>{quote(key, safe='/') if coded else escape(key)}</Key>"
            f"<LastModified>{self.objects[key][2].isoformat().replace('+00:00', '.000Z')}</LastModified>"
            f"<Size>{len(self.objects[key][0])}</Size></Contents>"
            for key in shown
        )
        more, coding = len(keys) > len(shown), "<EncodingType>url</EncodingType>" if coded else ""
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        body = (
            f"<ListBucketResult>{coding}<IsTruncated>{str(more).lower()}</IsTruncated>{items}{token}</ListBucketResult>"
        )
        return Answer(200, f"<?xml version='1.0'?>{body}".encode(), {"content-type": "application/xml"})


def respond(model, kind, asked):  # noqa: PLR0911 - one answer a family
    """One record's answer, or a refusal as Bedrock writes it."""
    text = json.dumps(asked)
    if "FAIL" in text or (kind == "Converse" and "toolConfig" in asked):
        return {"error": {"errorCode": 400, "errorMessage": "bad request"}}
    if "anthropic.claude" in model:
        if asked.get("anthropic_version") != "bedrock-2023-05-31" or "model" in asked or not asked.get("max_tokens"):
            return {"error": {"errorCode": 400, "errorMessage": "anthropic_version, max_tokens"}}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001"}
        message |= {"content": [{"type": "text", "text": "écho 🎈"}], "stop_reason": "end_turn"}
        return {"modelOutput": message | {"usage": {"input_tokens": 10, "output_tokens": 5}}}
    if kind == "Converse" or "amazon.nova" in model:
        assert kind == "Converse" or asked["schemaVersion"] == "messages-v1"
        said = {"message": {"role": "assistant", "content": [{"text": "echo"}]}}
        usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
        return {"modelOutput": {"output": said, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}}
    if "titan-embed" in model:
        assert isinstance(asked["inputText"], str)
        return {"modelOutput": {"embedding": [0.5, float(len(asked["inputText"]))], "inputTextTokenCount": 3}}
    if "cohere.embed" in model:
        vectors = [[0.25, float(len(one))] for one in asked["texts"]]
        return {"modelOutput": {"id": "c", "response_type": "embeddings_floats", "embeddings": vectors}}
    if "meta.llama" in model:
        usage = {"prompt_token_count": 10, "generation_token_count": 5}
        return {"modelOutput": {"generation": "echo", "stop_reason": "stop", **usage}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {"index": 0, "message": {"role": "assistant", "content": "echo"}, "finish_reason": "stop"}
    return {"modelOutput": {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage}}


class FakeBedrock:
    """Jobs of one AWS account, and the knobs that tests turn."""

    def __init__(self, storage):
        self.storage = storage
        self.jobs = {}
        self.received = []
        self.url = ""
        self.looks = 2
        """How many looks at a job until it ends."""
        self.lose = 0
        """How many creates get no answer, though the job is made."""
        self.refuse = []
        """(status, exception, message, headers) instead of the answers to the next creates."""
        self.end = ("Completed", None)
        """Last status, and how many records have answers by then."""
        self.counts = True
        self.least = 1
        self.empty_pages = 0
        self._looked = {}
        self._by_token = {}

    async def __call__(self, request):
        self.received.append(request)
        try:
            if request.headers.get("authorization") != f"Bearer {BEARER}":
                verify(request, "bedrock", self.storage.tokens)
            creates = (request.method, request.path) == ("POST", "/model-invocation-job")
            if creates and self.refuse:
                status, name, message, headers = self.refuse.pop(0)
                return problem(status, name, message, headers)
            body = self.route(request)
            if creates and self.lose:
                self.lose -= 1
                return HANG_UP
            return Answer(200, json.dumps(body).encode(), {"content-type": "application/json"})
        except WrongError as wrong:
            return problem(*wrong.args, {})

    def route(self, request):
        path = request.path
        if path == "/model-invocation-job":
            return {"jobArn": self.create(json.loads(request.body))}
        if path == "/model-invocation-jobs":
            return self.list(request.query)
        match = re.fullmatch(r"/model-invocation-job/(?:arn:[^/]+/)?([^/]+)(/stop)?", path)
        if match is None or ARN + match[1] not in self.jobs:
            raise WrongError(404, "ResourceNotFoundException", "The job was not found")
        job = self.jobs[ARN + match[1]]
        if not match[2]:
            return self.look(job)
        if job["status"] not in ("Submitted", "Validating", "Scheduled", "InProgress"):
            raise WrongError(400, "ConflictException", f"The job is {job['status']}")
        job["status"] = "Stopping"
        return {}

    def create(self, asked):
        token = asked.get("clientRequestToken") or uuid.uuid4().hex
        if token in self._by_token:
            return self._by_token[token]
        source = asked["inputDataConfig"]["s3InputDataConfig"]
        target = asked["outputDataConfig"]["s3OutputDataConfig"]
        faults = [
            not JOB_NAME.fullmatch(asked["jobName"]) or len(asked["jobName"]) > 63,
            not TOKEN.fullmatch(token),
            not URI.fullmatch(source["s3Uri"]) or not URI.fullmatch(target["s3Uri"]),
            len(target["s3Uri"]) > 1024,
            asked["roleArn"] != ROLE,
            not 24 <= asked.get("timeoutDurationInHours", 24) <= 168,
        ]
        if any(faults):
            raise WrongError(400, "ValidationException", f"fault {faults.index(True)}: {json.dumps(asked)}")
        number = f"{len(self.jobs):012d}"
        arn = ARN + number
        job = {name: asked[name] for name in ("jobName", "modelId", "roleArn", "inputDataConfig", "outputDataConfig")}
        job |= {"jobArn": arn, "clientRequestToken": token, "status": "Submitted", "submitTime": self.time()}
        job |= {"modelInvocationType": asked.get("modelInvocationType", "InvokeModel"), "timeoutDurationInHours": 24}
        self.jobs[arn], self._by_token[token] = job, arn
        return arn

    def look(self, job):
        looked = self._looked[job["jobArn"]] = self._looked.get(job["jobArn"], 0) + 1
        if job["status"] == "Stopping":
            self.run(job, "Stopped", 1)
        elif looked >= self.looks and "endTime" not in job:
            self.run(job, *self.end)
        return job

    def run(self, job, status, answered):
        """The answers of the first `answered` records, the last first; Expired has none."""
        key = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].removeprefix("s3://bucket/")
        content = b"".join(self.storage.objects[one][0] for one in sorted(self.storage.objects) if one.startswith(key))
        records = [json.loads(line) for line in content.splitlines()]
        job.update(status=status, endTime=self.time(), lastModifiedTime=self.time())
        if len(records) < self.least:
            job.update(status="Failed", message="the file has too few records")
        if job["status"] in ("Failed", "Expired"):
            return
        assert key.endswith((".jsonl", "/"))
        assert all(RECORD.fullmatch(record.get("recordId", "R1")) for record in records)
        rows = []
        for number, record in enumerate(records[:answered]):
            row = {"recordId": record.get("recordId", f"REC{number:08d}"), "modelInput": record["modelInput"]}
            rows.append(row | respond(job["modelId"], job["modelInvocationType"], record["modelInput"]))
        failed = sum("error" in row for row in rows)
        counts = {"totalRecordCount": len(records), "processedRecordCount": len(rows)}
        counts |= {"successRecordCount": len(rows) - failed, "errorRecordCount": failed}
        if self.counts:
            job.update(counts)
        number = job["jobArn"].rsplit("/", 1)[-1]
        folder = job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].removeprefix("s3://bucket/") + number
        name = key.rsplit("/", 1)[-1] or "in.jsonl"
        written = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[::-1]).encode()
        self.storage.store(f"{folder}/{name}.out", written)
        sums = counts | {
            "inputTokenCount": 10 * len(rows),
            "outputTokenCount": 0 if "embed" in job["modelId"] else 5 * len(rows),
        }
        self.storage.store(f"{folder}/manifest.json.out", json.dumps(sums).encode())

    def list(self, query):
        newest = list(self.jobs.values())[::-1]
        if (name := query.get("nameContains")) is not None:
            newest = [job for job in newest if name in job["jobName"]]
        start, size = int(query.get("nextToken") or 0), int(query.get("maxResults") or 100)
        if not 1 <= size <= 1000 or start > len(newest):
            raise WrongError(400, "ValidationException", "nextToken or maxResults")
        if self.empty_pages:
            self.empty_pages -= 1
            return {"invocationJobSummaries": [], "nextToken": f"0{start}" if start else "00"}
        shown = newest[start : start + size]
        more = {"nextToken": str(start + size)} if start + size < len(newest) else {}
        return {"invocationJobSummaries": shown, **more}

    def time(self):
        self.storage.now += timedelta(seconds=1)
        return self.storage.now.isoformat().replace("+00:00", "Z")


def problem(status, name, message, headers):
    kind = {"content-type": "application/json", "x-amzn-errortype": f"{name}:http://internal/", **headers}
    return Answer(status, json.dumps({"message": message}).encode(), kind)
