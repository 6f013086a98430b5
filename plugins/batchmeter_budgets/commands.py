"""`batchmeter budgets`: list, show, set, remove, raise, write off, check."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchmeter.commands import as_json, client, console, print_json, run, table
from batchmeter.errors import UsageError

if TYPE_CHECKING:
    from .opened import OpenBudgets
    from .settings import BudgetSettings
    from .status import Standing

Result = TypeVar("Result")
_NAME = click.argument("name")
_MOST_ROWS = 1000


@click.group()
def budgets() -> None:
    """Budgets: what may be spent, what is spent, reserved and uncertain; set, raise, write off, check."""


@budgets.command("list")
@as_json
def listed(json_output: bool) -> None:
    """Every budget, each bucket of its present period."""

    async def work(plugin: "OpenBudgets") -> tuple[list[tuple[dict[str, Any], "list[Standing]"]], list[str]]:
        from .status import budget_document, standings

        now = plugin.book.host.now()
        found = [(one, await standings(plugin.book, one)) for one in await plugin.book.shown()]
        return [(budget_document(one, now, rows), rows) for one, rows in found], plugin.book.unnamed

    found, unnamed = _run(work)
    if json_output:
        print_json([document for document, _ in found])
        return
    rows = [_row(one) for _, standing in found for one in standing]
    _table(rows)
    waiting = [document["name"] for document, standing in found if not standing]
    if waiting:
        console().print(f"No batch counts in these yet: {', '.join(waiting)}")
    if unnamed:
        console().print(f"Not in this configuration, and hold until they are removed: {', '.join(unnamed)}")


@budgets.command()
@_NAME
@click.option("--limit", type=click.IntRange(1, _MOST_ROWS), default=20, show_default=True, help="Reservations shown.")
@as_json
def show(name: str, limit: int, json_output: bool) -> None:
    """One budget, and its newest reservations."""

    async def work(plugin: "OpenBudgets") -> tuple[dict[str, Any], "list[Standing]", list[dict[str, Any]]]:
        from .status import budget_document, drifts, reservation_document, standings

        budget = await plugin.book.find(name)
        found = await standings(plugin.book, budget)
        rows = await plugin.book.tables.rows("reservations", budget_id=budget.id, limit=limit)
        document = budget_document(budget, plugin.book.host.now(), found)
        document |= {"changes": await plugin.book.changes(budget), "drift": await drifts(plugin.book, budget)}
        return document, found, [reservation_document(budget, row) for row in rows]

    document, found, reservations = _run(work)
    if json_output:
        print_json({**document, "reservations": reservations})
        return
    _table([_row(one) for one in found])
    columns = ("batch", "state", "reserved>", "cost>", "uncertain>", "by", "basis")
    names = ("batch_id", "state", "amount", "known", "uncertain", "who", "basis")
    if reservations:
        table(None, columns, [tuple(str(one[each] or "") for each in names) for one in reservations])
    for one in document["drift"]:
        models = ", ".join(one["models"])
        console().print(
            f"drift {one['drift']:g} of {models or 'unknown models'} ({one['basis']}): {one['batches']:,} batches"
        )
    for change in document["changes"]:
        console().print(f"{change['at'][:19].replace('T', ' ')}Z {change['action']} by {change['who']}")


@budgets.command("set")
@_NAME
@click.option("--limit", metavar="USD", help="US dollars for each period and bucket.")
@click.option("--limit-tokens", type=click.IntRange(0), metavar="N", help="In place of it: tokens of open batches.")
@click.option("--scope", "scopes", multiple=True, metavar="NAME=VALUE", help="Such as team=search or team=*; repeat.")
@click.option("--period", type=click.Choice(["day", "week", "month", "total"]), help="Default: month.")
@click.option("--timezone", metavar="ZONE", help="Where its days begin; default: UTC.")
@click.option("--mode", type=click.Choice(["enforce", "watch"]), help="Default: enforce.")
@click.option("--reserve", type=click.Choice(["upper", "expected", "upper_or_expected"]))
@click.option("--on-unknown", metavar="HOW", help="refuse, allow, or US dollars for each line.")
@click.option("--alerts", metavar="PERCENT,…", help="Default: 50,80,100.")
@click.option("--full", type=click.Choice(["refuse", "wait"]), help="With --limit-tokens.")
@click.option("--adopt-open/--no-adopt-open", default=None, help="Reserve for batches that are open now.")
def put(name: str, scopes: Sequence[str], on_unknown: str | None, alerts: str | None, **given: Any) -> None:
    """Make a budget, or change one: what is not said stays as it is."""
    changed = {option: value for option, value in given.items() if value is not None}
    if scopes:
        changed["scope"] = dict(_pair(text) for text in scopes)
    if alerts is not None:
        changed["alerts"] = [part.strip() for part in alerts.split(",") if part.strip()]
    if on_unknown is not None:
        changed["on_unknown"] = on_unknown if on_unknown in ("refuse", "allow") else {"usd_per_line": on_unknown}

    async def work(plugin: "OpenBudgets") -> None:
        live = {one.name: one for one in await plugin.book.live()}
        known = live[name].settings.model_dump(mode="json", exclude_none=True) if name in live else {}
        for one, other in (("limit", "limit_tokens"), ("limit_tokens", "limit")):
            if one in changed:
                known.pop(other, None)
        await plugin.book.change(name, _settings({**known, **changed}), who="command")
        await plugin.upkeep.count_past()

    _run(work)
    console().print(f"Budget {name} is set.")


@budgets.command()
@_NAME
def remove(name: str) -> None:
    """Delete a budget; its history is kept."""
    _run(lambda plugin: plugin.book.delete(name, who="command"))
    console().print(f"Budget {name} is removed.")


@budgets.command()
@_NAME
@click.argument("amount")
@click.option("--until", required=True, metavar="TIME", help="A UTC time, such as 2026-12-01.")
@click.option("--reason", metavar="TEXT")
def override(name: str, amount: str, until: str, reason: str | None) -> None:
    """Raise a budget by AMOUNT for a time; 0 takes it back."""
    from batchmeter.access import moment

    from .money import nano_down

    raised = _settings({"limit": amount}).limit
    assert raised is not None

    async def work(plugin: "OpenBudgets") -> None:
        budget = await plugin.book.find(name)
        more = int(raised) if budget.tokens else nano_down(raised)
        await plugin.book.raise_limit(name, more, moment(until, end=True) or 0, reason, who="command")

    _run(work)
    console().print(f"Budget {name} is raised by {amount} until {until}.")


@budgets.command()
@click.argument("batch")
@click.option("--reason", required=True, metavar="TEXT", help="Kept with the reservation.")
@click.option("--account", metavar="ACCOUNT", help="Where accounts share batch ids.")
def release(batch: str, reason: str, account: str | None) -> None:
    """Write off what is uncertain of a BATCH that has ended: its cost will never be known."""
    freed = _run(lambda plugin: plugin.settler.write_off(batch, reason, account))
    if not freed:
        raise UsageError(f"nothing is uncertain of batch {batch!r}: what is open is given back when it ends")
    console().print(f"Written off in {freed} buckets.")


@budgets.command()
@click.option("--repair", is_flag=True, help="Put wrong sums right.")
@as_json
def check(repair: bool, json_output: bool) -> None:
    """Give back what crashes left, count what was missed, compare every sum; exit code 1 when one is wrong."""

    async def work(plugin: "OpenBudgets") -> dict[str, Any]:
        released = await plugin.upkeep.sweep()
        live = [one.active_from for one in await plugin.book.live()]
        looked = await plugin.upkeep.count_endings(min(live)) if live else 0
        wrong = await plugin.upkeep.check(repair=repair)
        return {"released": released, "endings": looked, "wrong": [_wrong(one) for one in wrong]}

    found = _run(work)
    if json_output:
        print_json(found)
    else:
        console().print(f"{found['released']} reservations given back, {found['endings']} endings looked at")
        for one in found["wrong"]:
            console().print(f"wrong: {one['budget']} {one['bucket']}: {one['found']} should be {one['wanted']}")
    if found["wrong"] and not repair:
        raise SystemExit(1)


def _wrong(one: Any) -> dict[str, Any]:
    return {"budget": one.budget, "bucket": one.bucket, "found": dict(one.found), "wanted": dict(one.wanted)}


def _run(work: "Callable[[OpenBudgets], Coroutine[Any, Any, Result]]") -> Result:
    async def opened() -> Result:
        async with _plugin() as plugin:
            return await work(plugin)

    return run(opened())


@asynccontextmanager
async def _plugin() -> "AsyncGenerator[OpenBudgets]":
    """The budgets of an open client. UsageError where they are off."""
    async with client() as opened:
        found = opened.plugins.call_hook("open_budgets")
        if not found:
            raise UsageError("budgets are off: set [plugins.budgets], or BATCHMETER_BUDGETS=on")
        plugin: OpenBudgets = found[0][1]
        await plugin.book.reload()
        yield plugin


def _settings(given: dict[str, Any]) -> "BudgetSettings":
    from pydantic import ValidationError

    from .settings import BudgetSettings

    try:
        return BudgetSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise UsageError(f"{'.'.join(map(str, first['loc'])) or 'budget'}: {first['msg']}") from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--scope {text!r}: write NAME=VALUE, such as team=search")
    return name, value


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    columns = ("budget", "limit>", "spent>", "uncertain>", "reserved>", "left>", "until (UTC)")
    table(None, columns, rows)


def _row(one: "Standing") -> tuple[str, ...]:
    from .events import dollars

    amounts = (one.limit, one.spent, one.uncertain, one.reserved, one.left)
    shown = [f"{amount:,f}" if one.budget.tokens else dollars(amount) for amount in amounts]
    until = "" if one.until is None else f"{one.until:%Y-%m-%d %H:%M}"
    return (one.name, *shown, until)
