"""`/batches`: create, retrieve, cancel, list."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from starlette.responses import Response

from batchmeter.access import access_of, untagged
from batchmeter.errors import BatchmeterError, ProviderError, made_nothing
from batchmeter.events import full_endpoint

from .answers import answer, number, page_answer, rendered
from .call import ACCOUNT_FIELDS, Call
from .errors import Refusal
from .idempotency import once
from .identity import Action
from .key_listings import LARGEST_BATCHES, own_batches
from .members import check_members, check_names
from .ownership import account_for, can_be_id, may_see, no_batch, no_file
from .routes import Route

_TEXTS = ("input_file_id", "endpoint", "completion_window")
_OBJECTS = ("metadata", "output_expires_after")
_NAMED = frozenset({*_TEXTS, *_OBJECTS, *ACCOUNT_FIELDS, "model"})
_PAGE = 20
_WINDOW = "24h"
_LARGEST_BODY = 64 * 1024
"""Bytes of a plain key's create, which the ledger keeps even where the provider refuses it; OpenAI's have 10 KB at most."""


async def create(call: Call) -> Response:
    """Members that the proxy does not know go on to the provider for those who may send them."""
    body = await call.json(None if call.identity.raw else _LARGEST_BODY)
    _check(body)
    input_file_id: str = body["input_file_id"]
    account = await _account(call, body, input_file_id)
    model = body.get("model")
    models = (model,) if isinstance(model, str) else ()
    extra = {name: value for name, value in body.items() if name not in _NAMED}
    call.allow(account)
    check_names(call, endpoint=body["endpoint"], models=models)
    counted = check_members(call, call.client.accounts.get(account), extra)

    async def submit() -> bytes:
        key = call.idempotency_key
        await call.admit(
            Action("batch", account, models=models, input_file_id=input_file_id, counted=counted, once=key)
        )
        try:
            made = await call.client.batches.create(
                input_file_id=input_file_id,
                endpoint=body["endpoint"],
                completion_window=body.get("completion_window") or _WINDOW,
                metadata=body.get("metadata"),
                output_expires_after=body.get("output_expires_after"),
                model=models[0] if models else None,
                attribution=call.attribution(),
                traceparent=call.traceparent,
                idempotency_key=key,
                wait_for_room=False,  # the caller's SDK would lose patience, and submit once more
                custom_llm_provider=account,
                extra_body=extra,
            )
        except BatchmeterError as error:
            call.in_vain = not isinstance(error, ProviderError) or made_nothing(error)
            raise
        return rendered(made)

    return await once(call, f"batches {account}", submit, lambda: _fingerprint(call, account, body))


async def _fingerprint(call: Call, account: str, body: Mapping[str, Any]) -> str:
    """Of all that makes two creates the same; an input file is its content where it was uploaded here."""
    access = await access_of(call.client)
    content = await access.file_sha256(account, body["input_file_id"])
    members = {name: value for name, value in body.items() if name not in ACCOUNT_FIELDS and value is not None}
    members["endpoint"] = full_endpoint(body["endpoint"])
    members["completion_window"] = body.get("completion_window") or _WINDOW
    members["metadata"] = untagged(body.get("metadata"))
    members["input_file_id"] = content or body["input_file_id"]
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()


async def retrieve(call: Call) -> Response:
    batch_id = call.ids["batch_id"]
    body = await call.state.reads.batch(call.account, batch_id, may_see(call, no_batch(batch_id)))
    return Response(body, media_type="application/json")


async def cancel(call: Call) -> Response:
    batch_id = call.ids["batch_id"]
    account = await account_for(call, batch_id, no_batch(batch_id)) or call.client.accounts.default
    try:
        return answer(await call.client.batches.cancel(batch_id, custom_llm_provider=account))
    finally:
        call.state.reads.forget(account, batch_id)


async def list_batches(call: Call) -> Response:
    query = call.request.query_params
    account = call.account or call.client.accounts.default
    call.allow(account)

    count = number(query.get("limit"), "limit", LARGEST_BATCHES, least=0 if call.identity.admin else 1)
    limit = _PAGE if count is None else count
    after = query.get("after") or None
    if not call.identity.admin:
        return await page_answer(await own_batches(call, account, after=after, limit=limit))
    return await page_answer(await call.client.batches.list(after=after, limit=limit, custom_llm_provider=account))


async def _account(call: Call, body: Mapping[str, Any], input_file_id: str) -> str:
    """Where the input file lies, unless the request says otherwise; then where its model is configured to run."""
    named = next((str(body[field]) for field in ACCOUNT_FIELDS if body.get(field)), None)
    access = await access_of(call.client)
    owner = await access.owner_of(input_file_id, call.account or named)
    if not call.identity.admin and (owner is None or not call.identity.owns(owner.attribution)):
        raise no_file(input_file_id)
    routed = call.client.settings.models.get(str(body.get("model")))
    return call.account or named or (owner.account if owner else routed) or call.client.accounts.default


def _check(body: Mapping[str, Any]) -> None:
    for name in ("input_file_id", "endpoint"):
        if body.get(name) is None:
            message = f"Missing required parameter: '{name}'."
            raise Refusal(400, message, code="missing_required_parameter", param=name)
    for name, kind, word in (
        *((text, str, "a string") for text in _TEXTS),
        *((one, dict, "an object") for one in _OBJECTS),
    ):
        value = body.get(name)
        if value is not None and not isinstance(value, cast("type", kind)):
            message = f"Invalid type for '{name}': expected {word}, but got {type(value).__name__} instead."
            raise Refusal(400, message, code="invalid_type", param=name)
    if not can_be_id(body["input_file_id"]):
        raise Refusal(400, "Invalid 'input_file_id'.", code="invalid_value", param="input_file_id")


ROUTES = (
    Route("POST", "/batches", create, "Create a batch"),
    Route("GET", "/batches", list_batches, "List batches"),
    Route("GET", "/batches/{batch_id}", retrieve, "Retrieve a batch"),
    Route("POST", "/batches/{batch_id}/cancel", cancel, "Cancel a batch"),
)
