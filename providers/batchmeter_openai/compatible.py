"""Providers of compatible vendors: OpenAI's operations, and what a row of `profiles.py` says is different there."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from batchmeter.http import origin_of
from batchmeter.inputs import COMPATIBLE, InputLimits
from batchmeter.models import Batch, FileObject, Page, Secret
from batchmeter.providers import (
    AccountSettings,
    BatchRequest,
    CallOptions,
    Capabilities,
    ContentStream,
    FileUpload,
    ObservedRequest,
)

from .keyed import KeyedSettings, KeyedWire
from .presigned import upload_presigned
from .profiles import PROFILES, Profile
from .settings import secret_from_env
from .shapes import STATUSES, as_batch, as_file
from .wire import form_fields

TAG = "batchmeter_id"
"""The metadata key that core puts on a create."""
USERS_PREFIX = "/v1"


class CompatibleSettings(KeyedSettings):
    """The account at a vendor that a profile describes."""

    profile: ClassVar[Profile]

    @classmethod
    def of_request(cls, request: ObservedRequest) -> Mapping[str, Any] | None:
        """A request to the vendor's own host, by whichever OpenAI client."""
        return {"api_base": request.base, "api_key": request.bearer} if cls.is_usual(request.base) else None

    @classmethod
    def is_usual(cls, address: str) -> bool:
        """The key from the environment is for the vendor's own hosts, and for no other."""
        return origin_of(address) in {origin_of(host) for host in (cls.profile.base, *cls.profile.hosts)}


class CompatibleProvider(KeyedWire):
    """One account at such a vendor."""

    profile: ClassVar[Profile]
    name: ClassVar[str]
    Settings: ClassVar[type[AccountSettings]]
    also_known_as: ClassVar[frozenset[str]]
    input_limits: InputLimits

    def __init__(self, account: str, settings: CompatibleSettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        super().__init__(account, settings, base=self.profile.base, variable=self.profile.env[0], **(http or {}))

    # -- files

    async def create_file(self, upload: FileUpload, options: CallOptions) -> FileObject:
        profile = self.profile
        if profile.url_prefix != USERS_PREFIX:
            opened = partial(_with_urls, upload.open, USERS_PREFIX, profile.url_prefix)
            upload = replace(upload, open=opened, form=None)
        if profile.presigned:
            fields = form_fields({"purpose": profile.purpose, **options.extra_body})
            return as_file(await upload_presigned(self._http, upload, fields, options))
        return await super().create_file(upload, options)

    @asynccontextmanager
    async def file_content(self, file_id: str, options: CallOptions) -> AsyncGenerator[ContentStream]:
        """An input file with the urls that its writer gave it."""
        async with super().file_content(file_id, options) as content:
            if self.profile.url_prefix != USERS_PREFIX:
                chunks = content.chunks
                content.chunks = _with_urls(lambda: chunks, self.profile.url_prefix, USERS_PREFIX)
            yield content

    # -- batches

    async def create_batch(self, request: BatchRequest, options: CallOptions) -> Batch:
        profile = self.profile
        tag = (request.metadata or {}).get(TAG)
        if profile.idempotent and tag:
            options = replace(options, extra_headers={"idempotency-key": tag, **options.extra_headers})
        if not profile.metadata:
            request = replace(request, metadata=None)
        if profile.url_prefix != USERS_PREFIX:
            request = replace(request, endpoint=_swapped(request.endpoint, USERS_PREFIX, profile.url_prefix))
        options = replace(options, extra_body={**profile.create, **options.extra_body})
        return await super().create_batch(request, options)

    async def list_batches(self, *, after: str | None, limit: int | None, options: CallOptions) -> Page[Batch]:
        """Where the vendor lists everything at once, the page is cut here: newest first."""
        if self.profile.paged:
            return await super().list_batches(after=after, limit=limit, options=options)
        whole = await super().list_batches(after=None, limit=None, options=options)
        rows = sorted(whole.data, key=lambda batch: batch.created_at or 0, reverse=True)
        return _cut(rows, after, limit)

    def _as_batch(self, raw: object) -> Batch:
        batch = as_batch(raw, {**STATUSES, **self.profile.statuses})
        if batch.endpoint and self.profile.url_prefix != USERS_PREFIX:
            batch.endpoint = _swapped(batch.endpoint, self.profile.url_prefix, USERS_PREFIX)
        return batch


def _cut(rows: list[Batch], after: str | None, limit: int | None) -> Page[Batch]:
    """`limit` rows after this id; none after an id that is not listed."""
    ids = [row.id for row in rows]
    start = 0 if after is None else ids.index(after) + 1 if after in ids else len(ids)
    end = len(rows) if limit is None else start + limit
    page = rows[start:end]
    ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {}
    return Page[Batch](data=page, has_more=end < len(rows), **ends)


def _swapped(url: str, old: str, new: str) -> str:
    return new + url.removeprefix(old) if url.startswith(f"{old}/") else url


async def _with_urls(source: Callable[[], AsyncIterator[bytes]], old: str, new: str) -> AsyncIterator[bytes]:
    """A file whose lines' urls begin otherwise; its length stays, as both prefixes are equally long.

    A quotation mark inside a JSON text is escaped: what looks like the member `url` is one.
    """
    pattern = re.compile(rb'((?<!\\)"url"\s*:\s*")' + re.escape(old.encode()) + rb"(?=/)")
    put, held = rb"\g<1>" + new.encode(), list[bytes]()
    async for chunk in source():
        whole, line_feed, rest = chunk.rpartition(b"\n")
        if line_feed:
            yield pattern.sub(put, b"".join([*held, whole, line_feed]))
            held.clear()
        held.append(rest)
    if last := b"".join(held):
        yield pattern.sub(put, last)


def provider_of(row: Profile) -> type[CompatibleProvider]:
    """The provider class of a row."""

    class Account(CompatibleSettings):
        profile: ClassVar[Profile] = row

        api_key: Secret | None = Field(default_factory=secret_from_env(*row.env))
        """The key, as `Authorization: Bearer`."""
        api_base: str | None = row.base
        """The API's address; an address outside the vendor's own hosts gets no key from the environment."""

    class Made(CompatibleProvider):
        profile: ClassVar[Profile] = row
        name: ClassVar[str] = row.name
        Settings: ClassVar[type[AccountSettings]] = Account
        also_known_as: ClassVar[frozenset[str]] = row.also
        capabilities: ClassVar[Capabilities] = Capabilities(
            list_after_any_id=row.paged,
            metadata_tag=row.metadata,
            standard_factor=None if row.discount is None else Decimal(row.discount),
        )
        input_limits = limits_of(row)

    Made.__name__ = Made.__qualname__ = f"{row.name.title()}Provider"
    return Made


def limits_of(profile: Profile) -> InputLimits:
    """The members that the row names; those that hold everywhere for the rest."""
    given = {
        "bytes": profile.bytes,
        "lines": profile.lines,
        "line_bytes": profile.line_bytes,
        "embedding_inputs": profile.embedding_inputs,
    }
    named: dict[str, Any] = {name: most for name, most in given.items() if most is not None}
    endpoints = profile.endpoints
    return replace(
        COMPATIBLE,
        endpoints=endpoints,
        one_model=profile.one_model,
        shortest_custom_id=profile.shortest_custom_id,
        refused=profile.refused,
        **named,
    )


PROVIDERS = tuple(provider_of(profile) for profile in PROFILES)
