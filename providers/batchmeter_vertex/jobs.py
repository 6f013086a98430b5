"""Batch prediction jobs over REST: make, look, cancel, delete, list."""

from typing import Any
from urllib.parse import quote

from batchmeter.errors import NotSupportedError
from batchmeter.http import HttpClient
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_translate.listing import TokenList
from batchmeter_translate.shape import Json, mapping, objects

from .auth import Tokens
from .names import Blob, job_id, model_resource
from .settings import VertexSettings
from .states import labels_for


class Jobs:
    """The jobs of one project and location."""

    def __init__(self, settings: VertexSettings, tokens: Tokens, http: HttpClient) -> None:
        self._settings = settings
        self._tokens = tokens
        self._http = http
        self._newest_first = TokenList(self._list, _id, name="Vertex AI's list of jobs", most=100)

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
        """Up to `limit` jobs that follow one in Vertex AI's own order (newest first), and whether there are more."""
        return await self._newest_first.after(after and job_id(after), limit, options)

    async def _list(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], str | None]:
        page = await self._call("GET", "", options, params={"pageSize": size, "pageToken": token})
        return objects(page.get("batchPredictionJobs")), str(page.get("nextPageToken") or "") or None

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
        "displayName": (metadata.get("batchmeter_id") or target.key.rstrip("/").rsplit("/", 1)[-1])[:128],
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
