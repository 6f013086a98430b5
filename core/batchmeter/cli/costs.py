"""`batchmeter costs`: what settled batches cost, in groups."""

from typing import TYPE_CHECKING, cast

import click

from .session import client, run
from .show import as_json, console, money, print_json, table

if TYPE_CHECKING:
    from batchmeter.reports.costs import CostReport, CostSum, GroupBy

GROUPINGS = ("model", "account", "key", "team", "tag", "day")


@click.command()
@click.option("--group-by", type=click.Choice(GROUPINGS), default="model", show_default=True)
@click.option("--from", "since", metavar="TIME", help="Settled since this UTC time or date; default: all.")
@click.option("--to", "until", metavar="TIME", help="Settled before this UTC time, or by the end of this date.")
@click.option("--key", metavar="KEY", help="Only what this proxy key submitted (its id).")
@as_json
def costs(group_by: str, since: str | None, until: str | None, key: str | None, json_output: bool) -> None:
    """What settled batches cost: by model, account, key, team, tag or day."""
    from batchmeter.reports.costs import cost_report, moment

    async def work() -> "CostReport":
        async with client() as opened:
            return await cost_report(
                opened.ledger,
                group_by=cast("GroupBy", group_by),
                since=moment(since),
                until=moment(until, end=True),
                key=key,
            )

    report = run(work())
    if json_output:
        print_json(report)
        return
    columns = (group_by, "batches>", "lines>", "input>", "output>", "cost (USD)>")
    rows = [(row.group or "-", *_row(row)) for row in report.data]
    table(None, columns, [*rows, ("total", *_row(report.total))])
    if report.invented:
        left_out = report.total.batches != report.invented
        console().print(
            f"{report.invented:,} batches of a sandbox cost nobody anything" + (": left out" if left_out else "")
        )
    if report.total.total is None:
        console().print(f"not priced: {report.total.unpriced_lines:,} lines; `batchmeter batches` shows whose")


def _row(value: "CostSum") -> tuple[str, ...]:
    cost = money(value.total) if value.total is not None else f"unknown (at least {money(value.known)})"
    numbers = (value.batches, value.lines, value.usage.input_tokens, value.usage.output_tokens)
    return (*(f"{number:,}" for number in numbers), cost)
