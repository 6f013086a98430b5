"""Questions to a vendor's report over HTTP: the key stays with its host, numbers keep their digits, pages have an end."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit

from batchmeter.errors import (
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BatchmeterError,
    ConfigError,
    PermissionDeniedError,
)
from batchmeter.http import Headers, HttpClient, origin_of
from batchmeter_reconcile.figures import Figures
from batchmeter_reconcile.settings import BillSettings

MOST_PAGES = 1000
TRIES = 4
"""A rate limit of these reports is a few calls a minute."""
TIMEOUT = 60.0
_LARGE = 64 * 1024
"""Bytes that are decoded beside the event loop."""
Page = Mapping[str, Any]


@dataclass(slots=True)
class Report:
    """One vendor's report."""

    client: HttpClient
    figures: Figures
    needs: str
    """The permission that the key needs, for the error of one without it."""

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Page:
        return await self._read("GET", path, params=params)

    async def post(self, path: str, body: object, params: Mapping[str, Any] | None = None) -> Page:
        return await self._read("POST", path, json_body=body, params=params)

    async def pages(self, path: str, params: Mapping[str, Any]) -> AsyncIterator[Page]:
        """Pages that name the next one in `next_page`; APIResponseError for a list that leads in a circle."""
        cursors: set[str] = set()
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self.get(path, {**params, "page": cursor})
            yield page
            cursor = text_of(page.get("next_page")) or None
            if not page.get("has_more") or cursor is None:
                return
            if cursor in cursors:
                break
            cursors.add(cursor)
        raise APIResponseError(f"{path}: the pages of this report have no end")

    async def _read(self, method: str, path: str, **call: Any) -> Page:
        try:
            answer = await self.client.request(method, path, **call)
        except (AuthenticationError, PermissionDeniedError) as error:
            raise type(error)(
                f"{error}; this report needs {self.needs}",
                status_code=error.status_code, body=error.body, content=error.content, headers=error.headers,
            ) from None  # fmt: skip
        self.figures.saw(answer.content)
        if len(answer.content) < _LARGE:
            return parsed(answer.content, path)
        return await asyncio.to_thread(parsed, answer.content, path)


def parsed(content: bytes, what: str) -> Page:
    """A JSON object whose numbers keep their digits; APIResponseError for anything else."""
    try:
        found: object = json.loads(content, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise APIResponseError(f"{what}: expected JSON, got {content[:120]!r}") from None
    if not isinstance(found, dict):
        raise APIResponseError(f"{what}: expected a JSON object, got {content[:120]!r}")
    return cast("Page", found)


def _no_constant(text: str) -> object:
    raise ValueError(text)


def items(page: Page, name: str) -> list[Page]:
    """The objects of a list; APIResponseError where there is none."""
    found = page.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in cast("list[object]", found)):
        raise APIResponseError(f"the report has no list {name!r} of objects: {str(dict(page))[:120]}")
    return cast("list[Page]", found)


def text_of(value: object) -> str:
    """Empty for null; a text as it is."""
    return "" if value is None else str(value)


def part(value: object) -> Page:
    return cast("Page", value) if isinstance(value, dict) else {}


@asynccontextmanager
async def report(
    figures: Figures,
    base_url: str,
    headers: Headers,
    *,
    needs: str,
    secret: str,
    auth: Callable[[], Awaitable[Headers]] | None = None,
) -> AsyncGenerator[Report]:
    client = HttpClient(
        base_url, headers, auth, timeout=TIMEOUT, max_retries=TRIES, secrets=(secret,) if secret else ()
    )
    try:
        yield Report(client, figures, needs)
    except APIStatusError:
        raise
    except BatchmeterError:
        raise
    except (ArithmeticError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise APIResponseError(f"{base_url}: a report that cannot be read: {error}") from None
    finally:
        await client.aclose()


def base_of(settings: BillSettings, usual: str) -> str:
    """ConfigError for an address that would carry the key in the clear."""
    found = settings.base_url or usual
    scheme, host, _ = origin_of(found)
    if scheme == "https" or (scheme == "http" and host in ("127.0.0.1", "localhost", "::1")):
        return found
    raise ConfigError(f"base_url {urlsplit(found)._replace(query='').geturl()!r}: an admin key is sent over https only")


async def key_of(settings: BillSettings, variable: str, where: str) -> str:
    """The admin key; ConfigError that says where to put it. A key of the environment goes to the vendor's own host only."""
    found = await asyncio.to_thread(_given, settings)
    if found:
        return found
    if settings.base_url is None and (named := os.environ.get(variable, "").strip()):
        return named
    if settings.base_url is not None:
        raise ConfigError(f"{where}: base_url needs a key of its own: set admin_key_env in the same table")
    raise ConfigError(f"{where}: no admin key: set {variable}, or admin_key_env in [plugins.reconcile.NAME]")


def _given(settings: BillSettings) -> str:
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    if settings.admin_key_env is not None:
        found = os.environ.get(settings.admin_key_env, "").strip()
        if not found:
            raise ConfigError(f"admin_key_env: the variable {settings.admin_key_env} is not set")
        return found
    if settings.admin_key_file is not None:
        try:
            return settings.admin_key_file.expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"admin_key_file: {settings.admin_key_file} cannot be read: {error}") from None
    return ""
