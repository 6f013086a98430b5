"""The API: `/v1/budgets…` for administrators, `/v1/budgets/mine` for every key."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from batchmeter.access import moment
from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal, Route

from .book import Budget, ManagedByConfigError
from .descriptions import operations
from .money import MOST, nano_down
from .settings import BudgetSettings, checked_name
from .status import budget_document, drifts, reservation_document, standings, visible

if TYPE_CHECKING:
    from batchmeter_proxy.call import Call

    from .opened import OpenBudgets

Handler = Callable[["Call"], Awaitable[Response]]
_PAGE = 100
_MOST_ROWS = 1000
_LARGEST_BODY = 64 * 1024


class Routes:
    """Handlers of one client's budgets."""

    def __init__(self, plugin: "OpenBudgets") -> None:
        self._plugin = plugin

    async def mine(self, call: "Call") -> Response:
        found = await visible(self._plugin.book, call.identity.attribution, call.identity.accounts)
        return JSONResponse({"object": "list", "data": [one.document() for one in found]})

    async def listed(self, call: "Call") -> Response:
        _only_admin(call)
        book = self._plugin.book
        await book.reload()
        data = [await self._document(one) for one in await book.shown()]
        return JSONResponse({"object": "list", "data": data})

    async def shown(self, call: "Call") -> Response:
        _only_admin(call)
        known = await self._find(call)
        changes = await self._plugin.book.changes(known)
        drift = await drifts(self._plugin.book, known)
        return JSONResponse({**await self._document(known), "changes": changes, "drift": drift})

    async def make(self, call: "Call") -> Response:
        _only_admin(call)
        body = await call.json(_LARGEST_BODY)
        try:
            name = checked_name(str(body.pop("name", "")))
        except ValueError as error:
            raise Refusal(400, str(error), code="invalid_value", param="name") from None
        made = await self._change(call, name, _settings(body), new=True)
        return JSONResponse(await self._document(made), 201)

    async def change(self, call: "Call") -> Response:
        _only_admin(call)
        known = await self._find(call)
        body = await call.json(_LARGEST_BODY)
        merged = {**known.settings.model_dump(mode="json", exclude_none=True), **body}
        return JSONResponse(await self._document(await self._change(call, known.name, _settings(merged))))

    async def delete(self, call: "Call") -> Response:
        _only_admin(call)
        known = await self._find(call)
        try:
            await self._plugin.book.delete(known.name, who=_who(call))
        except UsageError as error:
            raise _refusal(error) from None
        return JSONResponse({"object": "budget.deleted", "name": known.name, "deleted": True})

    async def override(self, call: "Call") -> Response:
        """`{"amount": "200", "until": "2026-12-01", "reason": "…"}`: a raise for a time; 0 takes it back."""
        _only_admin(call)
        known = await self._find(call)
        body = await call.json(_LARGEST_BODY)
        try:
            until = moment(str(body.get("until") or ""), end=True) or 0
        except UsageError as error:
            raise Refusal(400, f"Invalid 'until': {error}.", code="invalid_value", param="until") from None
        amount = raise_of(known, body.get("amount"))
        why = str(body["reason"])[:300] if body.get("reason") else None
        raised = await self._plugin.book.raise_limit(known.name, amount, until, why, who=_who(call))
        return JSONResponse(await self._document(raised))

    async def reservations(self, call: "Call") -> Response:
        """Newest first; `bucket` and `state` choose, `limit` up to 1,000."""
        _only_admin(call)
        known = await self._find(call)
        query = call.request.query_params
        limit = query.get("limit", str(_PAGE))
        if not limit.isdecimal() or not 0 < int(limit) <= _MOST_ROWS:
            raise Refusal(400, f"Invalid 'limit': 1 to {_MOST_ROWS:,}.", code="invalid_value", param="limit")
        chosen = {name: query.get(name) or None for name in ("bucket", "state")}
        rows = await self._plugin.book.tables.rows("reservations", budget_id=known.id, limit=int(limit), **chosen)
        return JSONResponse({"object": "list", "data": [reservation_document(known, row) for row in rows]})

    async def _find(self, call: "Call") -> Budget:
        try:
            return await self._plugin.book.find(call.ids["name"])
        except UsageError as error:
            raise Refusal(404, f"{error}.", code="budget_not_found", param="name") from None

    async def _change(self, call: "Call", name: str, settings: BudgetSettings, *, new: bool = False) -> Budget:
        try:
            return await self._plugin.book.change(name, settings, who=_who(call), new=new)
        except UsageError as error:
            raise _refusal(error) from None

    async def _document(self, budget: Budget) -> dict[str, Any]:
        book = self._plugin.book
        return budget_document(budget, book.host.now(), await standings(book, budget))


def raise_of(budget: Budget, given: object) -> int:
    """Nanodollars or tokens; Refusal for what is no amount."""
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MOST:
        raise Refusal(400, "Invalid 'amount': 0 or more.", code="invalid_value", param="amount")
    return int(amount) if budget.tokens else nano_down(amount)


def routes(plugin: "OpenBudgets") -> list[Route]:
    found = Routes(plugin)
    table: list[tuple[str, str, Handler, str]] = [
        ("GET", "/budgets", found.listed, "List budgets"),
        ("POST", "/budgets", found.make, "Make a budget"),
        ("GET", "/budgets/mine", found.mine, "What the budgets of this key have left"),
        ("GET", "/budgets/{name}", found.shown, "A budget"),
        ("PATCH", "/budgets/{name}", found.change, "Change a budget"),
        ("DELETE", "/budgets/{name}", found.delete, "Delete a budget"),
        ("GET", "/budgets/{name}/reservations", found.reservations, "What is reserved in a budget, and was"),
        ("POST", "/budgets/{name}/override", found.override, "Raise a budget for a time"),
    ]
    texts = operations()
    return [
        Route(method, path, handler, summary, operation=texts[method, path]) for method, path, handler, summary in table
    ]


def _settings(body: Mapping[str, Any]) -> BudgetSettings:
    try:
        return BudgetSettings.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"Invalid '{where}': {first['msg']}.", code="invalid_value", param=where or None) from None


def _refusal(error: UsageError) -> Refusal:
    if isinstance(error, ManagedByConfigError):
        return Refusal(409, f"{error}.", code="managed_by_config")
    return Refusal(409, f"{error}.", code="budget_exists")


def _who(call: "Call") -> str:
    """The key's id; the API's own name where no keys are asked for."""
    return call.identity.attribution.key or "api"


def _only_admin(call: "Call") -> None:
    """Budgets are about everybody."""
    if not call.identity.admin:
        raise Refusal(
            403, "Only an admin key sees everybody's budgets; yours are at /v1/budgets/mine.", code="admin_only"
        )
    if not call.identity.everywhere:
        message = "This admin key is limited to some accounts, and budgets are about all."
        raise Refusal(403, message, code="account_not_allowed")
