"""`batchmeter costs`, `estimate` and `reprice`: money spent, money to be spent, and the same at other prices."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, cost, millis, money, print_json, table
from batchmeter.commands.session import client, run, whole_id, whole_key
from batchmeter.errors import SubmissionRefusedError, UsageError
from batchmeter.models import Attribution

if TYPE_CHECKING:
    from batchmeter.host import CostSum
    from batchmeter.inputs.estimate import Estimate
    from batchmeter.plugins import Plugins
    from batchmeter.providers import Provider
    from batchmeter.spend.report import CostReport

_BAR = 24
"""Characters of the longest bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_TIMES = ("day", "week", "month")


@click.command()
@click.option(
    "--by",
    "--group-by",
    "group_by",
    default="model",
    show_default=True,
    metavar="GROUP[,GROUP]",
    help="model, account, provider, key, team, user, tag, job, status, metadata.KEY, day, week or month.",
)
@click.option("--from", "since", metavar="TIME", help="Settled since this UTC time or date; default: all.")
@click.option("--to", "until", metavar="TIME", help="Settled before this UTC time, or by the end of this date.")
@click.option("--key", metavar="KEY", help="Only what this proxy key submitted (its id).")
@click.option("--where", "filters", multiple=True, metavar="GROUP=NAME", help="Only these; `team=` has no team.")
@click.option("--csv", "csv_output", is_flag=True, help="Print CSV.")
@as_json
def costs(
    group_by: str,
    since: str | None,
    until: str | None,
    key: str | None,
    filters: tuple[str, ...],
    csv_output: bool,
    json_output: bool,
) -> None:
    """Costs of settled batches: by model, account, key, team, tag, day and more, one or two of them."""
    from batchmeter.spend.report import as_csv

    where = dict(map(_filter, filters))

    async def work() -> "CostReport":
        async with client() as opened:
            whole = await whole_key(opened, key)
            chosen = where if whole is None else {**where, "key": whole}
            return await opened.costs(group_by=group_by, since=since, until=until, where=chosen)

    report = run(work())
    if json_output:
        print_json(report)
    elif csv_output:
        click.echo(as_csv(report), nl=False)
    elif group_by in _TIMES:
        _bars(report)
    else:
        _table(report)
    if report.invented and not json_output and not csv_output:
        left_out = report.total.batches != report.invented
        console().print(
            f"{report.invented:,} batches of a sandbox cost nobody anything" + (": left out" if left_out else "")
        )
    if report.total.saved is not None and not json_output and not csv_output:
        _saved(report.total)
    if report.total.total is None and not json_output and not csv_output:
        console().print(f"not priced: {report.total.unpriced_lines:,} lines; `batchmeter batches` shows whose")


def _filter(text: str) -> tuple[str, str | None]:
    name, found, value = text.partition("=")
    if not found:
        raise click.UsageError(f"--where {text!r}: write GROUP=NAME, such as team=search")
    return name, value or None


def _table(report: "CostReport") -> None:
    names = report.group_by.split(",")
    columns = (*names, "batches>~", "lines>~", "input>~", "output>~", "cost (USD)>")
    rows = [(*(row.groups[name] or "-" for name in names), *_row(row)) for row in report.data]
    table(None, columns, [*rows, ("total", *("" for _ in names[1:]), *_row(report.total))])


def _bars(report: "CostReport") -> None:
    """A bar a row; what is known of it where the rest is not."""
    most = max((row.known for row in report.data), default=Decimal(0))
    rows = [(row.group, bar(row.known, most), f"{row.batches:,}", f"{row.lines:,}", _short(row)) for row in report.data]
    total = report.total
    last = ("total", "", f"{total.batches:,}", f"{total.lines:,}", _short(total))
    table(None, (report.group_by, "", "batches>", "lines>", "cost (USD)>"), [*rows, last])


def bar(amount: Decimal, most: Decimal) -> str:
    """To an eighth of a character."""
    eighths = int(amount / most * _BAR * 8) if most > 0 and amount > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _saved(total: "CostSum") -> None:
    rest = f" ({total.lines - total.list_lines:,} more lines have none)" if total.lines > total.list_lines else ""
    console().print(f"saved by batch: {money(total.saved)} of a list price of {money(total.list_price)}{rest}")


def _short(value: "CostSum") -> str:
    if value.total is not None:
        return money(value.total)
    return f">= {money(value.known)}" if value.known else "unknown"


def _row(value: "CostSum") -> tuple[str, ...]:
    numbers = (value.batches, value.lines, value.usage.input_tokens, value.usage.output_tokens)
    return (*(f"{number:,}" for number in numbers), _short(value))


if TYPE_CHECKING:
    from batchmeter.inputs.estimate import Estimate


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", "account", metavar="ACCOUNT", help="Whose prices and history (default: openai).")
@click.option("--region", help="Instead of the account's.")
@click.option("--check-budgets", is_flag=True, help="Ask if it might be submitted; exit code 3 where not.")
@click.option("--team", help="With --check-budgets: the batch's attribution.")
@click.option("--user", help="Likewise.")
@click.option("--tag", "tags", multiple=True, help="Likewise; repeat.")
@as_json
def estimate(
    file: Path,
    account: str | None,
    region: str | None,
    check_budgets: bool,
    team: str | None,
    user: str | None,
    tags: tuple[str, ...],
    json_output: bool,
) -> None:
    """Requests, tokens, expected and highest cost of a batch input FILE; and what nobody can know yet."""
    if not file.is_file():
        raise click.UsageError(f"no such file: {file}")
    who = Attribution(team=team, user=user, tags=tags) if check_budgets else None
    found, refusal = run(_estimate(file, account, region, who))
    _show_estimate(found, json_output=json_output)
    if refusal is not None:
        raise refusal
    if check_budgets and not json_output:
        console().print("it might be submitted now: no budget refuses it")


def _show_estimate(found: "Estimate", *, json_output: bool) -> None:
    if json_output:
        print_json(found)
        return
    columns = ("model", "requests>", "input tokens>", "expected output>", "most output>", "expected>", "at most>")
    rows = [
        (
            name, f"{one.requests:,}", f"{one.input_tokens:,}", _number(one.expected_output_tokens),
            _number(one.max_output_tokens), money(one.expected), money(one.upper),
        )
        for name, one in found.models.items()
    ]  # fmt: skip
    table(
        None, columns, [*rows, ("total", f"{found.requests:,}", "", "", "", money(found.expected), money(found.upper))]
    )
    console().print(f"tokens: {found.method}")
    for line in (*found.unknown, *found.flags):
        console().print(f"not known: {line}" if line in found.unknown else line)


async def _estimate(
    file: Path, account: str | None, region: str | None, who: Attribution | None
) -> "tuple[Estimate, SubmissionRefusedError | None]":
    """`who`: also ask the plugins, as before a submission of theirs; and what they refuse it with."""
    import asyncio

    from batchmeter.host import CostQuery
    from batchmeter.inputs.estimate import estimate_at, histories
    from batchmeter.inputs.sizes import file_sizes
    from batchmeter.pricebook.book import PriceBook
    from batchmeter.reports.price_list import check_region
    from batchmeter.spend.spend import spend_of

    async with client() as opened:
        provider = await opened.provider(account, {})
        prices, plugins = opened.prices, opened.plugins
        if isinstance(prices, PriceBook):
            check_region(prices, provider.name, region)
        sizes = await asyncio.to_thread(file_sizes, file, prices.boundaries)
        query = CostQuery(("model",), where={"account": provider.account})
        (rows,) = await spend_of(await opened.ready()).rows(query)
        history = histories(rows, provider.name)
        ask = plugins.price_lines if plugins.prices_lines else None
        found = await asyncio.to_thread(estimate_at, provider, sizes, prices, history=history, ask=ask, region=region)
        if who is None:
            return found, None
        try:
            await _try_out(plugins, provider, who, found)
        except SubmissionRefusedError as refusal:
            return found, refusal
        return found, None


async def _try_out(plugins: "Plugins", provider: "Provider", attribution: Attribution, estimate: "Estimate") -> None:
    """Raises what would refuse such a batch now; UsageError where nobody is asked."""
    from batchmeter.ledger.records import Submission
    from batchmeter.tracker.guards import planned_batch

    if not plugins.guarded:
        raise UsageError(
            "no plugin is asked before a batch is submitted: set [plugins.budgets], or BATCHMETER_BUDGETS=on"
        )
    submission = Submission(provider.account, provider.name, attribution=attribution)
    await plugins.before_submit(replace(planned_batch(provider, submission, ""), dry_run=True), estimate)


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


@click.command()
@click.argument("batch_ids", nargs=-1)
@click.option("--since", metavar="TIME", help="Only those settled since this UTC time; default: all.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@as_json
def reprice(batch_ids: tuple[str, ...], since: str | None, dry_run: bool, json_output: bool) -> None:
    """Price settled batches again, after new prices or your own rows; a changed cost is a new revision and event."""
    from batchmeter.reports.reprice import Repriced, Repricer

    async def work() -> list[Repriced]:
        async with client() as opened:
            repricer = Repricer(opened.ledger, opened.accounts, opened.plugins, opened.prices)
            chosen = [await whole_id(opened, batch_id) for batch_id in batch_ids]
            changed = await repricer.reprice(chosen, since=millis(since), dry_run=dry_run)
            opened.deliverer.notify()
        return changed

    changed = run(work())
    if json_output:
        print_json([
            {
                "account": one.account,
                "batch_id": one.batch_id,
                "revision": one.revision,
                "before": one.before.model_dump(mode="json"),
                "after": one.after.model_dump(mode="json"),
            }
            for one in changed
        ])  # fmt: skip
        return
    rows = ((one.batch_id, cost(one.before), cost(one.after), one.account, one.revision) for one in changed)
    if changed:
        table(None, ("batch!", "before>", "after>", "account", "revision>"), rows)
    console().print(f"{len(changed)} batches {'would change' if dry_run else 'changed'}")
