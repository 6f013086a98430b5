"""`POST /webhooks/{account}`: a provider says that a batch has ended, and it is settled at once."""

import json
import logging
from contextlib import suppress
from typing import Any, cast

from starlette.responses import JSONResponse, Response

from batchmeter.access import access_of
from batchmeter.errors import UsageError

from .call import Call
from .errors import Refusal
from .ownership import can_be_id
from .routes import Route
from .signature import BadSignatureError, claimed, verify

log = logging.getLogger("batchmeter")

_PREFIX = "batch."
"""`batch.completed` (elsewhere `batch.succeeded`), `batch.failed`, `batch.expired`, `batch.cancelled`; the rest is none of our
business."""
_LEASE_SECONDS = 30.0
_BODY_SECONDS = 10.0
_LARGEST = 64 * 1024
"""Bytes of a body; OpenAI's are a few hundred, and Standard Webhooks asks for less than 20 KB."""


async def receive(call: Call) -> Response:
    """A webhook is a hint that wakes: what became of the batch is asked of its provider, never read from here."""
    account = call.ids["account"]
    webhook_id, body = await _verified(call, account)
    access = await access_of(call.client)
    scope = f"webhook {account}"
    known = await access.reserve_answer(scope, webhook_id, lease_seconds=_LEASE_SECONDS)
    if known.state != "mine":
        return JSONResponse({"received": True, "repeated": True})
    try:
        woken = await _wake(call, account, body)
    except BaseException:
        await access.drop_answer(scope, webhook_id)  # the provider sends it again
        raise
    await access.keep_answer(scope, webhook_id, "")
    return JSONResponse({"received": True, "woken": woken})


async def _verified(call: Call, account: str) -> tuple[str, bytes]:
    """The webhook's id, and its body as it was signed."""
    secrets = _secrets(call, account)
    access = await access_of(call.client)
    headers = call.request.headers
    try:
        claimed(headers, now=access.now() / 1000)  # strangers' bodies are not waited for
        with call.state.webhooks.place():
            body = await call.body(_LARGEST, seconds=_BODY_SECONDS)
        return verify(headers, body, secrets, now=access.now() / 1000), body
    except BadSignatureError as error:
        raise Refusal(401, str(error), code="invalid_webhook_signature") from None


def _secrets(call: Call, account: str) -> list[str]:
    """Strangers ask here: which accounts there are is not for them."""
    with suppress(UsageError):
        found = call.client.accounts.settings(account, keys_exist=True).webhook_secrets
        if found:
            return [secret.get_secret_value() for secret in found]
        log.warning("a webhook came for account %s: set webhook_secrets in [accounts.%s] to take it", account, account)
    raise Refusal(404, f"No webhooks are taken for {account!r}.", code="webhooks_not_configured")


async def _wake(call: Call, account: str, body: bytes) -> bool:
    """Whether it was about a batch of ours that is not settled yet."""
    access = await access_of(call.client)
    for batch_id in _batch_ids(body):
        if await access.wake(account, batch_id):
            call.state.reads.forget(account, batch_id)
            return True
    return False


def _batch_ids(body: bytes) -> list[str]:
    """The id in a `batch.*` event, and the end of one that is a resource's name (`batches/abc`).

    What is signed and yet no such event is accepted and ignored.
    """
    try:
        event: Any = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(event, dict):
        return []
    document = cast("dict[str, Any]", event)
    data: Any = document.get("data")
    if not str(document.get("type")).startswith(_PREFIX) or not isinstance(data, dict):
        return []
    named = cast("dict[str, Any]", data)
    found: Any = named.get("id") or named.get("name")
    if not isinstance(found, str) or not can_be_id(found):
        return []
    return list(dict.fromkeys(one for one in (found, found.rpartition("/")[2]) if one))


ROUTES = (
    Route(
        "POST",
        "/webhooks/{account}",
        receive,
        "Receive a provider's webhook",
        versioned=False,
        public=True,
    ),
)
