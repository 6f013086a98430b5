"""Tells a Slack channel what every finished batch came to."""

from html import escape

from pydantic import BaseModel, HttpUrl, Secret

import batchmeter
from batchmeter.errors import BadRequestError, RateLimitError
from batchmeter.http import HttpClient

Ending = batchmeter.BatchSucceeded | batchmeter.BatchFailed


class SlackSettings(BaseModel, extra="forbid"):
    """`[plugins.slack]` in batchmeter.toml."""

    webhook_url: Secret[HttpUrl]
    failures_only: bool = False


class SlackLogger:
    Settings = SlackSettings

    def __init__(self, settings: SlackSettings) -> None:
        url = settings.webhook_url.get_secret_value()
        self._http = HttpClient(f"{url.scheme}://{url.host}:{url.port}", timeout=10)
        self._path = url.path or "/"  # the secret: error messages name the address before it
        self._failures_only = settings.failures_only

    @batchmeter.hookimpl
    async def batch_success(self, event: batchmeter.BatchSucceeded) -> None:
        if not self._failures_only:
            await self._post(event)

    @batchmeter.hookimpl
    async def batch_failure(self, event: batchmeter.BatchFailed) -> None:
        await self._post(event)

    @batchmeter.hookimpl
    async def shutdown(self) -> None:
        await self._http.aclose()

    async def _post(self, event: Ending) -> None:
        text = {"type": "mrkdwn", "text": message(event)}
        body = {"text": message(event), "blocks": [{"type": "section", "block_id": event.id, "text": text}]}
        try:
            await self._http.request("POST", self._path, json_body=body, retry="never")
        except RateLimitError as error:
            raise batchmeter.RetryLater("Slack asks for patience", after=error.retry_after) from error
        except BadRequestError as error:
            raise batchmeter.Rejected(f"Slack will never take this message: {error}") from error


def message(event: Ending) -> str:
    """An unknown cost is None, never 0."""
    cost = f"${event.cost.total}" if event.cost.total is not None else f"at least ${event.cost.known}"
    lines = f"{event.request_counts.succeeded:,} of {event.request_counts.total:,} requests"
    return escape(f"{event.batch_id} {event.status}: {lines}, {cost} ({', '.join(event.models)})", quote=False)
