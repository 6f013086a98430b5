"""`client.files`: upload, look up, list, download and delete files, in OpenAI's call shapes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .content import FileContent
from .models import FileDeleted, FileObject, Page
from .providers import CallOptions, ContentStream
from .uploads import FileTypes, upload_of

if TYPE_CHECKING:
    from .client import AsyncClient


class AsyncFiles:
    """Files at any account.

    Every method takes `custom_llm_provider` (an account's name), `api_key`, `api_base` and other account settings for
    this call, `extra_headers`, `extra_query`, `extra_body` and `timeout` (seconds), and raises ProviderErrors.
    """

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(
        self,
        file: FileTypes,
        purpose: str = "batch",
        *,
        custom_llm_provider: str | None = None,
        expires_after: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> FileObject:
        """Upload, streamed. UsageError when `file` cannot be read as bytes."""
        upload = upload_of(file, purpose=purpose, expires_after=expires_after)
        parts = await self._client.ready()
        provider = await self._client.provider(custom_llm_provider, account_settings)
        created = await provider.create_file(upload, options(extra_headers, extra_query, extra_body, timeout))
        await parts.ledger.record_file(provider.account, created)
        return created

    async def retrieve(
        self,
        file_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> FileObject:
        provider = await self._client.provider(custom_llm_provider, account_settings, about=file_id)
        return await provider.retrieve_file(file_id, options(extra_headers, extra_query, extra_body, timeout))

    async def list(
        self,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        order: str | None = None,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> Page[FileObject]:
        """One page; `after=page.last_id` gives the next while `page.has_more`."""
        provider = await self._client.provider(custom_llm_provider, account_settings)
        return await provider.list_files(
            purpose=purpose,
            after=after,
            limit=limit,
            order=order,
            options=options(extra_headers, extra_query, extra_body, timeout),
        )

    async def iterate(self, **arguments: Any) -> AsyncIterator[FileObject]:
        """All files, page by page; arguments as `list`."""
        while True:
            page = await self.list(**arguments)
            for file in page:
                yield file
            if not page.has_more or not page.data:
                return
            arguments["after"] = page.last_id or page.data[-1].id

    async def delete(
        self,
        file_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> FileDeleted:
        parts = await self._client.ready()
        provider = await self._client.provider(custom_llm_provider, account_settings, about=file_id)
        deleted = await provider.delete_file(file_id, options(extra_headers, extra_query, extra_body, timeout))
        await parts.ledger.forget_file(provider.account, file_id)
        return deleted

    async def content(
        self,
        file_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> FileContent:
        """The whole file in memory; `stream` for large ones."""
        provider = await self._client.provider(custom_llm_provider, account_settings, about=file_id)
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        async with provider.file_content(file_id, chosen) as stream:
            data = b"".join([chunk async for chunk in stream.chunks])
            return FileContent(data, content_type=stream.content_type)

    @asynccontextmanager
    async def stream(
        self,
        file_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **account_settings: Any,
    ) -> AsyncGenerator[ContentStream]:
        """`async with client.files.stream(id) as content: async for chunk in content.chunks: …`, in flat memory."""
        provider = await self._client.provider(custom_llm_provider, account_settings, about=file_id)
        async with provider.file_content(file_id, options(extra_headers, None, None, timeout)) as stream:
            yield stream


def options(
    extra_headers: Mapping[str, str] | None,
    extra_query: Mapping[str, Any] | None,
    extra_body: Mapping[str, Any] | None,
    timeout: float | None,
) -> CallOptions:
    """The per-call overrides, with nothing for None."""
    return CallOptions(extra_headers or {}, extra_query or {}, extra_body or {}, timeout)
