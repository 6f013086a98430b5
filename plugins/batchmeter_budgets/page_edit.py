"""Changing a budget on a page of its own: limit, period and mode; the rest stays as it is."""

from typing import TYPE_CHECKING
from urllib.parse import quote

import htpy as h
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from batchmeter.errors import UsageError
from batchmeter_proxy import Refusal
from batchmeter_ui.page import question
from batchmeter_ui.view import Content, Page

from .settings import BudgetSettings

if TYPE_CHECKING:
    from batchmeter_ui import View

    from .book import Budget
    from .opened import OpenBudgets

_PERIODS, _MODES = ("day", "week", "month", "total"), ("enforce", "watch")


def edit_page(plugin: "OpenBudgets") -> Page:
    """Refusal (409) for a budget of the configuration: it is changed there."""

    async def named(view: "View") -> "Budget":
        view.check_may_act()
        try:
            budget = await plugin.book.find(view.ids["name"])
        except UsageError as error:
            raise Refusal(404, f"{error}.") from None
        try:
            plugin.book.check_own(budget)
        except UsageError as error:
            raise Refusal(409, f"{error}.", code="managed_by_config") from None
        return budget

    async def ask(view: "View") -> Content:
        budget = await named(view)
        place = view.url(f"/budgets/{quote(budget.name)}")
        form = question(f"{place}/edit", "Change it", place, _fields(budget))
        return Content(f"Change {budget.name}", form)

    async def change(view: "View") -> RedirectResponse:
        """A second time nothing happens."""
        budget = await named(view)
        given = await view.form()
        limit = "limit_tokens" if budget.tokens else "limit"
        chosen = {name: given[name].strip() for name in (limit, "period", "mode") if given.get(name)}
        known = budget.settings.model_dump(mode="json", exclude_none=True)
        try:
            settings = BudgetSettings.model_validate({**known, **chosen})
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise Refusal(400, f"{where}: {first['msg']}.", code="invalid_value") from None
        if settings != budget.settings:
            await view.note("change budget", budget.name)
            await plugin.book.change(budget.name, settings, who=view.identity.attribution.key or "pages")
            await plugin.upkeep.count_past()
        return RedirectResponse(view.url(f"/budgets/{quote(budget.name)}"), 303)

    return Page("budgets/{name}/edit", "", ask, change, everywhere=True)


def _fields(budget: "Budget") -> h.Node:
    settings = budget.settings
    if budget.tokens:
        return h.label["Limit, tokens", h.input(name="limit_tokens", value=str(settings.limit_tokens), required=True)]
    return [
        h.label["Limit, US dollars", h.input(name="limit", value=f"{settings.limit:f}", required=True)],
        h.label["Period", _choice("period", _PERIODS, settings.period)],
        h.label["Mode", _choice("mode", _MODES, settings.mode)],
    ]


def _choice(name: str, choices: tuple[str, ...], chosen: str) -> h.Element:
    return h.select(name=name)[(h.option(value=one, selected=one == chosen)[one] for one in choices)]
