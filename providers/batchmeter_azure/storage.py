"""Outputs in the caller's own storage: blobs read with a SAS or as an Entra identity."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from batchmeter.errors import APIResponseError, NotFoundError
from batchmeter.http import HttpClient, origin_of, redact_url
from batchmeter.providers import ContentStream

_VERSION = "2023-11-03"
"""Bearer tokens need a service version to be named."""


Origin = tuple[str, str, int | None]


class BlobStore:
    """Reads blobs by their URLs, at the storage accounts that the settings name and nowhere else."""

    def __init__(
        self,
        auth: Callable[[], Awaitable[Mapping[str, str]]],
        sas: SecretStr | None,
        origins: Collection[Origin],
        **http: Any,
    ) -> None:
        self._auth = auth
        self._sas = None if sas is None else sas.get_secret_value().strip().lstrip("?")
        self._origins = origins
        self._http = http
        self._clients: dict[str, HttpClient] = {}

    @asynccontextmanager
    async def open(self, url: str, *, may_be_missing: bool) -> AsyncGenerator[ContentStream]:
        """The blob's bytes. Azure names blobs that it never wrote, because there were no rows for them.

        APIResponseError for a blob at a storage account that the settings do not name: who answers for a batch does
        not decide who gets the signature or the token.
        """
        headers = {"x-ms-version": _VERSION, "accept": "*/*"}
        async with AsyncExitStack() as stack:
            try:
                stream = self._client(url).stream("GET", self._signed(url), headers=headers)
                got = await stack.enter_async_context(stream)
            except NotFoundError as error:
                if not may_be_missing or "ContainerNotFound" in _code(error):
                    raise
                content = ContentStream(_nothing(), size=0)
            else:
                kind = got.headers.get("content-type", "application/octet-stream")
                content = ContentStream(got.chunks, kind, got.size, got.headers, got.status_code)
            yield content

    async def aclose(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    def _client(self, url: str) -> HttpClient:
        if origin_of(url) not in self._origins:
            raise APIResponseError(
                f"the batch names {redact_url(url)}, which is at none of this account's storage accounts: name it in "
                "output_folder or storage_accounts if it is yours"
            )
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        if origin not in self._clients:
            auth = None if self._sas else self._auth
            self._clients[origin] = HttpClient(origin, auth=auth, secrets=self._secrets(), **self._http)
        return self._clients[origin]

    def _signed(self, url: str) -> str:
        return url if self._sas is None else f"{bare(url)}?{self._sas}"

    def _secrets(self) -> set[str]:
        """The signature as it is sent, and as a storage's error may spell it."""
        if self._sas is None:
            return set()
        escaped = [pair.partition("=")[2] for pair in self._sas.split("&") if pair.startswith("sig=")]
        return {self._sas, *escaped, *(text for name, text in parse_qsl(self._sas) if name == "sig")}


def bare(url: str) -> str:
    """A blob's URL as it may be shown and kept."""
    return url.partition("?")[0]


def _code(error: NotFoundError) -> str:
    return error.headers.get("x-ms-error-code") or error.content.decode("utf-8", "replace")


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
