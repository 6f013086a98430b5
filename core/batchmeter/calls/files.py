"""`client.files`: upload, look up, list, download and delete files, in OpenAI's call shapes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from batchmeter.models import FileDeleted, FileObject
from batchmeter.providers import ContentStream

from .arguments import Timeout, document_of, id_of, options, provider_for, required_text, text_of, whole_of
from .content import CHUNK_SIZE, FileContent, StreamedContent
from .pages import AsyncPage
from .uploads import FileTypes, Sent, upload_of, watched

if TYPE_CHECKING:
    from batchmeter.runtime.runtime import Runtime


log = logging.getLogger("batchmeter")


class AsyncFiles:
    """Files at any account.

    Every method takes `custom_llm_provider` (an account's name), `api_key`, `api_base` and other account settings for
    this call, `extra_headers`, `extra_query`, `extra_body` and `timeout` (seconds), and raises ProviderErrors.
    """

    def __init__(self, client: "Runtime") -> None:
        self._client = client

    async def create(
        self,
        file: FileTypes,
        purpose: str = "batch",
        expires_after: Mapping[str, Any] | None = None,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> FileObject:
        """Upload, streamed; a handle that can seek is sent from its start. UsageError when it cannot be read as bytes."""
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        purpose, expiry = required_text("purpose", purpose), document_of("expires_after", expires_after)
        parts = await self._client.ready()
        upload = await asyncio.to_thread(upload_of, file, purpose=purpose, expires_after=expiry)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, model=model)
        read = partial(parts.plugins.read_upload, provider, purpose, upload.filename, parts.prices)
        upload, sent = watched(upload, read)
        created = await provider.create_file(upload, chosen)
        _compare(created, sent)
        await parts.ledger.record_file(provider.account, created, sha256=sent.sha256.hexdigest(), estimate=sent.text)
        return created

    async def retrieve(
        self,
        file_id: str,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> FileObject:
        """The file as its provider has it now. NotFoundError for an id that it does not know."""
        known, chosen = id_of("file_id", file_id), options(extra_headers, extra_query, extra_body, timeout)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        return await provider.retrieve_file(known, chosen)

    async def list(
        self,
        custom_llm_provider: str | None = None,
        purpose: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        after: str | None = None,
        limit: int | None = None,
        order: str | None = None,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> AsyncPage[FileObject]:
        """One page. `async for` over it goes on with the pages that follow."""
        chosen = options(extra_headers, extra_query, extra_body, timeout)
        kind, way, most = text_of("purpose", purpose), text_of("order", order), whole_of("limit", limit)

        async def page(cursor: str | None) -> AsyncPage[FileObject]:
            provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, model=model)
            found = await provider.list_files(purpose=kind, after=cursor, limit=most, order=way, options=chosen)
            return AsyncPage[FileObject].of(found, page)

        return await page(text_of("after", after))

    async def iterate(self, **arguments: Any) -> AsyncIterator[FileObject]:
        """All files, page by page; arguments as `list`."""
        async for file in await self.list(**arguments):
            yield file

    async def delete(
        self,
        file_id: str,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> FileDeleted:
        """Delete it at its provider; the ledger forgets whose it was."""
        known, chosen = id_of("file_id", file_id), options(extra_headers, extra_query, extra_body, timeout)
        parts = await self._client.ready()
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        deleted = await provider.delete_file(known, chosen)
        await parts.ledger.forget_file(provider.account, known)
        return deleted

    async def content(
        self,
        file_id: str,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        chunk_size: int = CHUNK_SIZE,
        stream: bool = False,
        *,
        model: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> FileContent:
        """The whole file in memory; with `stream`, its bytes in pieces of `chunk_size` as one iterates over it."""
        known, chosen = id_of("file_id", file_id), options(extra_headers, extra_query, extra_body, timeout)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known, model=model)
        if stream:
            return await StreamedContent.open(provider.file_content(known, chosen), chunk_size)
        async with provider.file_content(known, chosen) as opened:
            data = b"".join([chunk async for chunk in opened.chunks])
            return FileContent(
                data, content_type=opened.content_type, headers=opened.headers, status_code=opened.status_code
            )

    @asynccontextmanager
    async def stream(
        self,
        file_id: str,
        *,
        custom_llm_provider: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | None = None,
        **account_settings: Any,
    ) -> AsyncGenerator[ContentStream]:
        """`async with client.files.stream(id) as content: async for chunk in content.chunks: …`, in flat memory."""
        known, chosen = id_of("file_id", file_id), options(extra_headers, timeout=timeout)
        provider, _ = await provider_for(self._client, custom_llm_provider, account_settings, about=known)
        async with provider.file_content(known, chosen) as opened:
            yield opened


def _compare(created: FileObject, sent: Sent) -> None:
    """A provider that kept another number of bytes than it was sent may run fewer requests than were asked for."""
    if created.bytes and created.bytes != sent.size:
        log.warning("file %s: %d bytes were sent, its provider speaks of %d", created.id, sent.size, created.bytes)
