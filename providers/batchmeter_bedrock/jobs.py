"""Model invocation jobs over REST: make, look, stop, list."""

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from batchmeter.errors import APIResponseError, NotSupportedError, UsageError
from batchmeter.http import HttpClient, Retry
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_translate.listing import TokenList
from batchmeter_translate.shape import Json, mapping, objects

from .failure import aws_errors
from .names import Blob, job_id
from .settings import BedrockSettings
from .states import job_name, token_of

_PATH = "model-invocation-job"
_LEAST_HOURS, _MOST_HOURS = 24, 168
PLAIN = CallOptions()
_NUMBER = re.compile("[0-9]{1,4}")


class Jobs:
    """The jobs of one AWS account and region."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._newest_first = TokenList(self._list, _id, name="Bedrock's list of jobs", most=1000)

    async def create(self, body: Json, options: CallOptions) -> str:
        """Once; the job's id. The same token again makes no second job."""
        made = await self._call("POST", _PATH, options, body, retry="create")
        arn = str(made.get("jobArn") or "")
        if not arn:
            raise APIResponseError("Bedrock made a job without an ARN")
        return job_id(arn)

    async def get(self, batch_id: str, options: CallOptions = PLAIN) -> Json:
        return await self._call("GET", f"{_PATH}/{job_id(batch_id)}", options)

    async def stop(self, batch_id: str, options: CallOptions) -> None:
        await self._call("POST", f"{_PATH}/{job_id(batch_id)}/stop", options)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def after(self, after: str | None, limit: int | None, options: CallOptions) -> tuple[list[Json], bool]:
        """Up to `limit` jobs that follow one, newest first, and whether there are more."""
        return await self._newest_first.after(after and job_id(after), limit, options)

    async def _list(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], str | None]:
        params = {"maxResults": size, "sortBy": "CreationTime", "sortOrder": "Descending"}
        page = await self._call("GET", f"{_PATH}s", options, params=params | ({"nextToken": token} if token else {}))
        jobs = [job for job in objects(page.get("invocationJobSummaries")) if job.get("jobArn")]
        return jobs, str(page.get("nextToken") or "") or None

    async def _call(
        self,
        method: str,
        path: str,
        options: CallOptions,
        body: Json | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        retry: Retry = "always",
    ) -> Json:
        """The query is escaped here, in the one way that is signed."""
        query = {**options.extra_query, **(params or {})}
        pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(str(text), safe='-_.~')}" for name, text in query.items())
        with aws_errors():
            response = await self._http.request(
                method,
                f"{path}{'?' if pairs else ''}{pairs}",
                json_body=body,
                headers=options.extra_headers,
                timeout=options.timeout,
                retry=retry,
            )
        if not response.content and path.endswith("/stop"):
            return {}  # 204, as servers that speak this API answer
        return mapping(response.json())


def job_body(
    request: BatchRequest, settings: BedrockSettings, model: str, source: Blob, target: Blob, invocation: str | None
) -> Json:
    """A job that reads one object and writes below a folder of its own."""
    if request.output_expires_after:
        raise NotSupportedError("bedrock: S3 expires answers by the bucket's lifecycle rules only")
    token = token_of(request.metadata or {}) or str(uuid.uuid4())
    owner = {"s3BucketOwner": settings.bucket_owner} if settings.bucket_owner else {}
    key = {"s3EncryptionKeyId": settings.encryption_key_id} if settings.encryption_key_id else {}
    return {
        "jobName": job_name(token),
        "clientRequestToken": token,
        "roleArn": settings.role,
        "modelId": model,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": source.uri, "s3InputFormat": "JSONL", **owner}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{target.uri.rstrip('/')}/", **owner, **key}},
        "timeoutDurationInHours": hours_of(request.completion_window),
        **({"modelInvocationType": invocation} if invocation else {}),
    }


def hours_of(window: str) -> int:
    """`24h` to `168h`, or days: after them Bedrock gives up what has not run."""
    number, unit = window[:-1], window[-1:]
    hours = int(number) * {"h": 1, "d": 24}[unit] if _NUMBER.fullmatch(number) and unit in "hd" else 0
    if not _LEAST_HOURS <= hours <= _MOST_HOURS:
        raise UsageError(f"bedrock: completion_window is {window!r}; it can be 24h to 168h, or 1d to 7d")
    return hours


def _id(job: Json) -> str:
    return str(job.get("jobArn")).rsplit("/", 1)[-1]
