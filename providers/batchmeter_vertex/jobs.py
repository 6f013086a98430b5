"""Batch prediction jobs over REST: make, look, cancel, delete, list."""

from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from batchmeter.errors import BadRequestError, NotSupportedError
from batchmeter.http import HttpClient
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_translate.shape import Json, fresh_token, mapping, objects
from batchmeter_translate.untranslatable import log

from .auth import Tokens
from .names import Blob, job_id, model_resource, no_such
from .settings import VertexSettings
from .states import labels_for

_PAGE = 20
_MAX_PAGE = 100
_REMEMBERED = 64


class Jobs:
    """The jobs of one project and location."""

    def __init__(self, settings: VertexSettings, tokens: Tokens, http: HttpClient) -> None:
        self._settings = settings
        self._tokens = tokens
        self._http = http
        self._following: OrderedDict[str, str] = OrderedDict()
        """Last id of a page -> the token of the next page: it saves walking, and may be lost."""

    async def create(self, body: Json, options: CallOptions) -> Json:
        """Once. `extra_body` goes on top, except that the model is chosen already and our labels stay."""
        extra = {key: value for key, value in options.extra_body.items() if key != "model"}
        labels = {**mapping(extra.pop("labels", None)), **mapping(body.get("labels"))}
        return await self._call("POST", "", options, {**body, **extra, "labels": labels}, retry="create")

    async def get(self, batch_id: str, options: CallOptions | None = None) -> Json:
        return await self._call("GET", f"/{quote(job_id(batch_id), safe='')}", options or CallOptions())

    async def cancel(self, batch_id: str, options: CallOptions) -> None:
        await self._call("POST", f"/{quote(job_id(batch_id), safe='')}:cancel", options, {})

    async def delete(self, batch_id: str, options: CallOptions) -> None:
        await self._call("DELETE", f"/{quote(job_id(batch_id), safe='')}", options)

    async def after(self, after: str | None, limit: int | None, options: CallOptions) -> tuple[list[Json], bool]:
        """Up to `limit` jobs that follow one in Vertex AI's own order (newest first), and whether there are more.

        Vertex AI pages with tokens, OpenAI with the last id seen. A page we gave out is continued by its token; for
        any other id the list is walked from its start, and its page may be a short one.
        """
        size = max(1, min(limit or _PAGE, _MAX_PAGE))
        if after is None:
            return await self._page(size, None, options)
        token = self._following.get(job_id(after))
        if token is not None:
            try:
                return await self._page(size, token, options)
            except BadRequestError:  # tokens age
                log.debug("a page token of %s is no longer taken", self._settings.location)
                self._following.pop(job_id(after), None)
        return await self._walk(job_id(after), size, options)

    async def _walk(self, after: str, size: int, options: CallOptions) -> tuple[list[Json], bool]:
        token: str | None = None
        tokens: set[str] = set()
        while True:
            jobs, token = await self._list(size, token, options)
            if token is not None:
                fresh_token(token, tokens, "Vertex AI's list of jobs")
            found = next((i for i, job in enumerate(jobs) if _id(job) == after), None)
            if found is not None and (found + 1 < len(jobs) or token is None):
                return jobs[found + 1 :], token is not None
            if found is not None:
                return await self._page(size, token, options)
            if token is None:
                raise no_such("batch", after)

    async def _page(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], bool]:
        jobs, following = await self._list(size, token, options)
        return jobs, following is not None

    async def _list(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], str | None]:
        page = await self._call("GET", "", options, params={"pageSize": size, "pageToken": token})
        jobs = objects(page.get("batchPredictionJobs"))
        following = str(page.get("nextPageToken") or "") or None
        if jobs and following:
            self._following[_id(jobs[-1])] = following
            if len(self._following) > _REMEMBERED:
                self._following.popitem(last=False)
        return jobs, following

    async def _call(
        self,
        method: str,
        path: str,
        options: CallOptions,
        body: Json | None = None,
        *,
        params: dict[str, Any] | None = None,
        retry: Any = "always",
    ) -> Json:
        project = quote(await self._tokens.project(), safe="")
        response = await self._http.request(
            method,
            f"v1/projects/{project}/locations/{self._settings.location}/batchPredictionJobs{path}",
            params={**options.extra_query, **(params or {})},
            json_body=body,
            headers=options.extra_headers,
            timeout=options.timeout,
            retry=retry,
        )
        if not response.content and (method == "DELETE" or path.endswith(":cancel")):
            return {}  # 204, as servers that speak this API answer
        return mapping(response.json())


def job_body(request: BatchRequest, model: str, source: Blob, target: Blob, endpoint: str) -> Json:
    """A job that reads one object and writes below a folder of its own."""
    if request.output_expires_after:
        raise NotSupportedError("vertex_ai: Cloud Storage expires answers by the bucket's lifecycle rules only")
    metadata = dict(request.metadata or {})
    return {
        "displayName": (metadata.get("batchmeter_id") or target.name.rstrip("/").rsplit("/", 1)[-1])[:128],
        "model": model_resource(model),
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [source.uri]}},
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": target.uri.rstrip("/")},
        },
        "labels": labels_for(metadata, endpoint),
    }


def _id(job: Json) -> str:
    return str(job.get("name", "")).rsplit("/", 1)[-1]
