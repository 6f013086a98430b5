"""A request with an `Idempotency-Key` is done once: whoever repeats it gets the first answer, after a restart too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.responses import Response

from batchmeter.access import Access, Answer, access_of
from batchmeter.errors import IdempotencyMismatchError, LedgerError

from .call import Call
from .errors import Refusal
from .reservation import LEASE, held

log = logging.getLogger("batchmeter")

_BUSY_SECONDS = 1
_LOOKS, _LOOK_SECONDS = 50, 0.1
"""How long a repeat waits for the first one's answer before it is told to come again."""


async def once(
    call: Call, scope: str, work: Callable[[], Awaitable[bytes]], fingerprint: Callable[[], Awaitable[str]]
) -> Response:
    """`work` gives the JSON; what it raises is nobody's answer, and the next one may try.

    `scope` names the route and the account that was really meant, however the request spelled it. `fingerprint` is the
    request's SHA-256, asked for after `work` or in its place: another request with a key that was used is refused. A
    process that died over an answer leaves the key free soon.
    """
    key = call.idempotency_key
    if key is None:
        return Response(await work(), media_type="application/json")
    access = await access_of(call.client)
    known = await _reserved(access, scope, key)
    if known.document is not None:
        if known.request_sha256 not in (None, await fingerprint()):
            message = f"The Idempotency-Key {key!r} was used before, with another input or other options."
            raise IdempotencyMismatchError(message)
        return Response(known.document, media_type="application/json")
    try:
        async with held(lambda seconds: access.renew_answer(scope, key, lease_seconds=seconds)):
            document = await work()
    except BaseException:
        with suppress(LedgerError):  # the lease runs out by itself
            await access.drop_answer(scope, key)
        raise
    try:
        await access.keep_answer(scope, key, document.decode(), await fingerprint())
    except LedgerError:
        log.exception("the answer for an Idempotency-Key could not be kept; a repeat will do it again")
    return Response(document, media_type="application/json")


async def _reserved(access: Access, scope: str, key: str) -> Answer:
    """The first one's answer, or the right to give it; Refusal where it is still being made."""
    for look in range(_LOOKS):
        known = await access.reserve_answer(scope, key, lease_seconds=LEASE)
        if known.state != "busy":
            return known
        if look < _LOOKS - 1:
            await asyncio.sleep(_LOOK_SECONDS)
    headers = {"retry-after": str(_BUSY_SECONDS)}
    message = "Another request with this Idempotency-Key is still being answered."
    raise Refusal(409, message, code="idempotency_key_in_use", headers=headers)
