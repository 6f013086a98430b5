"""Standard Webhooks (standardwebhooks.com): whether a body was signed with one of our secrets, just now."""

import hmac
from collections.abc import Iterable, Mapping

from batchmeter.providers import sign_webhook, webhook_key

from .answers import whole_number

TOLERANCE_SECONDS = 300


class BadSignatureError(Exception):
    """Why a webhook is not to be believed; its text is for whoever set it up."""


def claimed(headers: Mapping[str, str], *, now: float) -> tuple[str, str, str]:
    """The webhook's id, time and signatures as its headers have them: what can be told before its body is read."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not webhook_id or not timestamp or not given:
        raise BadSignatureError("The headers webhook-id, webhook-timestamp and webhook-signature are needed.")
    moment = whole_number(timestamp)
    if moment is None or abs(now - moment) > TOLERANCE_SECONDS:
        raise BadSignatureError("The webhook's timestamp is not within five minutes of now.")
    return webhook_id, timestamp, given


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], *, now: float) -> str:
    """The webhook's id, by which a repeat is known. `headers` are found by lower-case name, `now` is epoch seconds."""
    webhook_id, timestamp, given = claimed(headers, now=now)
    candidates = [part.encode("utf-8", "surrogateescape") for part in given.split()]
    good = False
    for secret in secrets:
        right = sign_webhook(webhook_key(secret), webhook_id, timestamp, body).encode()
        for candidate in candidates:
            good |= hmac.compare_digest(right, candidate)
    if not good:
        raise BadSignatureError("The signature fits none of this account's webhook secrets.")
    return webhook_id
