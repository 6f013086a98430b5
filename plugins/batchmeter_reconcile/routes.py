"""The API: `GET /v1/reconciliations` and one of them, for administrators of all accounts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal, Route

if TYPE_CHECKING:
    from batchmeter_proxy.call import Call

    from .reconciler import Reconciler

_PAGE, _MOST = 100, 1000


def routes(reconciler: "Callable[[], Reconciler]") -> list[Route]:
    async def listed(call: "Call") -> Response:
        """Newest first; `account` chooses, `limit` up to 1,000."""
        only_admin(call)
        query = call.request.query_params
        limit = query.get("limit", str(_PAGE))
        if not limit.isdecimal() or not 0 < int(limit[:9]) <= _MOST:
            raise Refusal(400, f"Invalid 'limit': 1 to {_MOST:,}.", code="invalid_value", param="limit")
        found = await reconciler().listed(query.get("account") or None, int(limit))
        return JSONResponse({"object": "list", "data": found})

    async def shown(call: "Call") -> Response:
        only_admin(call)
        try:
            return JSONResponse(await reconciler().shown(call.ids["id"]))
        except UsageError as error:
            raise Refusal(404, f"{error}.", code="reconciliation_not_found", param="id") from None

    return [
        Route("GET", "/reconciliations", listed, "List reconciliations", operation=_query()),
        Route("GET", "/reconciliations/{id}", shown, "A reconciliation with its rows", operation=_path()),
    ]


def _query() -> dict[str, Any]:
    named = {"account": ({"type": "string"}, "Only this bill's."), "limit": ({"type": "integer", "minimum": 1, "maximum": _MOST}, "")}  # fmt: skip
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": text} for name, (schema, text) in named.items()
    ]
    return {"parameters": parameters, "responses": {"200": {"description": "Newest first."}}}


def _path() -> dict[str, Any]:
    return {"responses": {"200": {"description": "As it was made."}, "404": {"description": "There is none."}}}


def only_admin(call: "Call") -> None:
    """Bills are about everybody."""
    if not call.identity.admin:
        raise Refusal(403, "Only an admin key sees reconciliations.", code="admin_only")
    if not call.identity.everywhere:
        message = "This admin key is limited to some accounts, and reconciliations are about all."
        raise Refusal(403, message, code="account_not_allowed")
