"""The developer API over HTTP: files and batch operations. Addresses are built from the account's own."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from batchmeter.errors import APIStatusError, AuthenticationError, BadRequestError
from batchmeter.http import Body, HttpClient, Response, Retry
from batchmeter.providers import CallOptions, ContentStream
from batchmeter_spool.record import no_such
from batchmeter_translate.listing import TokenList
from batchmeter_translate.shape import Json, mapping, objects

from .states import batch_id

_WRONG_KEY = b"API_KEY_INVALID"


class Api:
    """One account's."""

    def __init__(self, http: HttpClient, version: str) -> None:
        self._http = http
        self._version = version
        self._batches = TokenList(self._list, _id, name="Gemini's list of batches", most=100)

    @property
    def base(self) -> str:
        return self._http.base_url

    async def sleep(self, seconds: float) -> None:
        await self._http.sleep(seconds)

    async def create(self, model: str, method: str, body: Json, options: CallOptions) -> Json:
        """Once."""
        return await self._json("POST", f"models/{quote(model, safe='')}:{method}", options, body, retry="create")

    async def get(self, name: str, options: CallOptions) -> Json:
        return await self._json("GET", _batch(name), options)

    async def cancel(self, name: str, options: CallOptions) -> None:
        await self._json("POST", f"{_batch(name)}:cancel", options, {})

    async def delete(self, name: str, options: CallOptions) -> None:
        await self._json("DELETE", _batch(name), options)

    async def file(self, name: str, options: CallOptions) -> Json:
        return await self._json("GET", f"files/{quote(name, safe='')}", options)

    async def delete_file(self, name: str, options: CallOptions) -> None:
        await self._json("DELETE", f"files/{quote(name, safe='')}", options)

    @asynccontextmanager
    async def download(self, name: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        """Of a generated file only: Gemini gives no upload back."""
        path = f"download/{self._version}/files/{quote(name, safe='')}:download"
        async with self._http.stream(
            "GET",
            path,
            params={**options.extra_query, "alt": "media"},
            headers={"accept": "*/*", **options.extra_headers},
            timeout=options.timeout,
        ) as response:
            yield ContentStream(response.chunks, "application/jsonl", response.size, response.headers)

    async def upload(
        self, url: str, headers: Mapping[str, str], *, body: Body | None = None, json_body: object = None
    ) -> Response:
        """One step of a resumable upload; `url` is a path below the account's address, or an address there."""
        return await self.send("POST", url, headers=headers, body=body, json_body=json_body, retry="never")

    async def start_upload(self, size: int, name: str, shown: str) -> Response:
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(size),
            "x-goog-upload-header-content-type": "application/jsonl",
        }
        body = {"file": {"name": f"files/{name}", "displayName": shown[:512]}}
        return await self.send("POST", f"upload/{self._version}/files", headers=headers, json_body=body)

    async def after(self, after: str | None, limit: int | None, options: CallOptions) -> tuple[list[Json], bool]:
        """Up to `limit` operations that follow one in Gemini's own order, and whether there are more."""
        known = after and batch_id(after)
        if after is not None and not known:
            raise no_such("batch", after)
        return await self._batches.after(known, limit, options)

    async def _list(self, size: int, token: str | None, options: CallOptions) -> tuple[list[Json], str | None]:
        page = await self._json("GET", "batches", options, params={"pageSize": size, "pageToken": token})
        return objects(page.get("operations")), str(page.get("nextPageToken") or "") or None

    async def _json(
        self,
        method: str,
        path: str,
        options: CallOptions,
        body: Json | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        retry: Retry = "always",
    ) -> Json:
        response = await self.send(
            method,
            f"{self._version}/{path}",
            params={**options.extra_query, **(params or {})},
            json_body=body,
            headers=options.extra_headers,
            timeout=options.timeout,
            retry=retry,
        )
        if not response.content and (method == "DELETE" or path.endswith(":cancel")):
            return {}  # 204, as servers that speak this API answer
        return mapping(response.json())

    async def send(self, method: str, path: str, **call: Any) -> Response:
        """A wrong key is Google's 400 and our AuthenticationError."""
        try:
            return await self._http.request(method, path, **call)
        except BadRequestError as error:
            if _WRONG_KEY not in error.content:
                raise
            raise _as(AuthenticationError, error) from error


def _as(kind: type[APIStatusError], error: APIStatusError) -> APIStatusError:
    return kind(
        str(error), status_code=error.status_code, body=error.body, content=error.content, headers=error.headers
    )


def _batch(name: str) -> str:
    found = batch_id(name)
    if found is None:
        raise no_such("batch", name)
    return f"batches/{found}"


def _id(operation: Json) -> str:
    return str(operation.get("name", "")).removeprefix("batches/")
