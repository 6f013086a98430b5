"""Costs of batches: one batch's settlement, sums, and the events; each caller its own."""

import json
from itertools import accumulate

from starlette.responses import JSONResponse, Response

from batchmeter.access import GROUPINGS, Access, Millis, StoredEvent, access_of, as_csv, moment
from batchmeter.errors import RedactorMissingError, UsageError
from batchmeter.events import event_kinds

from .answers import number, rendered, whole_number
from .call import Call
from .errors import Refusal
from .identity import Identity
from .options import MB
from .ownership import account_for, no_batch
from .routes import Route

_FILTERS = frozenset(GROUPINGS) - {"day", "week", "month"}
"""Query parameters that name what is counted; empty: what has none."""
_PAGE = 100
_LARGEST_PAGE = 1000
_PAGE_BYTES = 4 * MB
"""Of a page of events: a thousand may carry metadata of 64 KB each."""
_AGAIN_SECONDS = 10


async def batch_cost(call: Call) -> Response:
    """200 with the settlement; 202 while there is none yet."""
    batch_id = call.ids["batch_id"]
    account = await account_for(call, batch_id, no_batch(batch_id))
    access = await access_of(call.client)
    tracked = await access.batch(batch_id, account)
    if tracked is None:
        raise no_batch(batch_id)
    found = await access.settlement(batch_id, tracked.account)
    if found is not None:
        body = json.loads(rendered(found))
        return JSONResponse({"object": "batch.cost", "settled": True, **body})
    body = {"account": tracked.account, "batch_id": batch_id, "status": tracked.batch.status, "cost": None}
    headers = {"retry-after": str(_AGAIN_SECONDS)}
    return JSONResponse({"object": "batch.cost", "settled": False, **body}, 202, headers)


async def costs(call: Call) -> Response:
    """Sums of settled batches, by the time they were settled."""
    query = call.request.query_params
    since, until = _moment(call, "from"), _moment(call, "to", end=True)
    where = {name: value or None for name, value in query.items() if name in _FILTERS or name.startswith("metadata.")}
    limit = number(query.get("limit"), "limit", _LARGEST_PAGE) or _LARGEST_PAGE
    scope = _scope(call.identity)
    if scope is not None and where.get("key", scope) != scope:
        raise Refusal(403, "A key sees only its own costs.", code="key_not_allowed", param="key")
    access = await access_of(call.client)
    try:
        report = await access.costs(
            group_by=query.get("group_by") or "model", since=since, until=until, key=scope, limit=limit, where=where
        )
    except UsageError as error:
        raise _invalid("group_by", str(error)) from None
    if query.get("format") == "csv":
        return Response(as_csv(report), media_type="text/csv")
    return Response(rendered(report), media_type="application/json")


async def events(call: Call) -> Response:
    """Recorded events in order; `after=last_id` gives those that came later, now or when there are more."""
    query = call.request.query_params
    limit = number(query.get("limit"), "limit", _LARGEST_PAGE) or _PAGE
    after = query.get("after") or "0"
    seq = whole_number(after)
    if seq is None:
        raise _invalid("after", f"expected the last_id of an earlier page, but got {after!r} instead")
    kind = query.get("type") or None
    if kind is not None and kind not in event_kinds():
        raise _invalid("type", f"expected one of {', '.join(event_kinds())}, but got {kind!r} instead")
    recorded = query.get("recorded") == "true"
    if recorded and not call.identity.admin:
        raise Refusal(403, "Only an admin key may see events as they were recorded.", code="admin_only")
    access = await access_of(call.client)
    found = await access.events(
        types=None if kind is None else [kind],
        after=seq,
        since=_moment(call, "from"),
        batch_id=query.get("batch_id") or None,
        key=_scope(call.identity),
        limit=limit + 1,
        most_bytes=_PAGE_BYTES,
    )
    fitting = _fitting(found[:limit])
    page = fitting if recorded else await _shown(access, fitting)
    ends = {"has_more": len(found) > len(fitting), "last_id": str(page[-1].seq) if page else after}
    tail = json.dumps({"object": "list", **ends}).encode()
    # The events as loggers get them: as they were recorded, byte for byte, where no plugin redacts them.
    body = b'{"data":[' + b",".join(stored.payload for stored in page) + b"]," + tail[1:]
    return Response(body, media_type="application/json")


def _fitting(found: list[StoredEvent]) -> list[StoredEvent]:
    """As many as have `_PAGE_BYTES` together, and one in any case."""
    sizes = accumulate(len(stored.payload) for stored in found)
    return found[: max(sum(size <= _PAGE_BYTES for size in sizes), 1)]


async def _shown(access: Access, page: list[StoredEvent]) -> list[StoredEvent]:
    try:
        return await access.shown(page)
    except RedactorMissingError as error:
        raise Refusal(503, str(error), code="redactor_missing") from error


def _scope(identity: Identity) -> str | None:
    """The key whose batches it may see: None is everybody's, and no key's id is empty."""
    if identity.admin and not identity.everywhere:
        message = "This admin key is limited to some accounts, and sums and events are of all."
        raise Refusal(403, message, code="account_not_allowed")
    return None if identity.admin else identity.attribution.key or ""


def _moment(call: Call, name: str, *, end: bool = False) -> Millis | None:
    try:
        return moment(call.request.query_params.get(name), end=end)
    except UsageError as error:
        raise _invalid(name, str(error)) from None


def _invalid(name: str, why: str) -> Refusal:
    return Refusal(400, f"Invalid '{name}': {why}.", code="invalid_value", param=name)


ROUTES = (
    Route("GET", "/batches/{batch_id}/cost", batch_cost, "What a batch used and cost"),
    Route("GET", "/costs", costs, "What batches cost, in groups"),
    Route("GET", "/events", events, "Recorded events, in order"),
)
