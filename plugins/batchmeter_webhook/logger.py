"""The plugin: settings in, one signed post per event out."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic_core import PydanticSerializationError

from batchmeter.errors import APIStatusError, Rejected, RetryLater
from batchmeter.events import AlertEvent, BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl
from batchmeter.http import Body, HttpClient
from batchmeter.providers import sign_webhook, webhook_key

from .chat import Told, chat_body
from .public_address import public_client
from .settings import WebhookSettings

_GONE = 410
"""Standard Webhooks: the receiver wants no more."""
_LATER = frozenset({429, 502, 503, 504})


class WebhookLogger:
    """Posts events; any 2xx is acceptance. A redelivery has the same `webhook-id` and body, signed anew."""

    Settings = WebhookSettings

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._keys = [webhook_key(secret.get_secret_value()) for secret in settings.secret]
        parts = urlsplit(settings.url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # The address without its path, which may be a secret, is what errors quote.
        self._http = HttpClient(
            f"{parts.scheme}://{parts.netloc}", timeout=settings.timeout, max_retries=0, secrets=_secrets(parts)
        )
        self._opening = asyncio.Lock()

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        await self._post(event)

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        await self._post(event)

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        await self._post(event)

    @hookimpl(optionalhook=True)
    async def budget_alert(self, event: AlertEvent) -> None:
        await self._post(event)

    @hookimpl(optionalhook=True)
    async def alert(self, event: AlertEvent) -> None:
        await self._post(event)

    @hookimpl(optionalhook=True)
    async def reconcile_drift(self, event: AlertEvent) -> None:
        await self._post(event)

    @hookimpl
    async def shutdown(self) -> None:
        client, self._http.client = self._http.client, None
        if client is not None:
            await client.aclose()
        await self._http.aclose()

    async def _post(self, event: Told) -> None:
        chosen = self._settings
        if chosen.only and event.type not in chosen.only:
            return
        body = payload(event) if chosen.format == "standard" else chat_body(event, chosen.format, chosen.pages)
        moment = str(int(time.time()))
        headers = {"webhook-id": event.id, "webhook-timestamp": moment}
        if self._keys:
            headers["webhook-signature"] = self._sign(event.id, moment, body)
        await self._open()
        try:
            await self._http.request("POST", self._path, body=_whole(body), headers=headers, retry="never")
        except APIStatusError as error:
            raise _meaning(error) from error

    def _sign(self, event_id: str, moment: str, body: bytes) -> str:
        return " ".join(sign_webhook(key, event_id, moment, body) for key in self._keys)

    async def _open(self) -> None:
        """Unless private addresses are allowed, the client looks at each address it connects to."""
        if self._settings.allow_private or self._http.client is not None:
            return
        async with self._opening:
            if self._http.client is None:
                self._http.client = await asyncio.to_thread(public_client)


def _secrets(parts: SplitResult) -> set[str]:
    """Secrets in the address, as they are sent and as a receiver may repeat them."""
    segments = parts.path.split("/")
    values = [value for _, value in parse_qsl(parts.query)]
    sent = [pair.partition("=")[2] for pair in parts.query.split("&")]
    return {f"{parts.path}?{parts.query}", *segments, *map(unquote, segments), *values, *sent, parts.query}


def payload(event: Told) -> bytes:
    """`{"type", "timestamp", "data"}`, as Standard Webhooks recommends; the same bytes for the same event."""
    try:
        data = event.model_dump_json()
    except PydanticSerializationError:  # a lone surrogate in somebody's text goes out as its escape
        data = json.dumps(event.model_dump(mode="json"), separators=(",", ":"))
    moment = event.model_dump(mode="json", include={"time"})["time"]
    return f'{{"type":"{event.type}","timestamp":"{moment}","data":{data}}}'.encode()


def _whole(body: bytes) -> Body:
    async def once() -> AsyncIterator[bytes]:
        yield body

    return Body(once, "application/json", len(body))


def _meaning(error: APIStatusError) -> Exception:
    """Never after 410; later where the receiver names a time; else the error, which the deliverer tries again."""
    if error.status_code == _GONE:
        return Rejected(str(error))
    if error.status_code in _LATER and error.retry_after is not None:
        return RetryLater(str(error), after=error.retry_after)
    return error
