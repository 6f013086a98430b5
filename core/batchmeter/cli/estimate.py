"""`batchmeter estimate FILE`: what a batch may cost, before it is submitted."""

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .session import client, run
from .show import as_json, console, money, print_json, table

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")

if TYPE_CHECKING:
    from batchmeter.client import AsyncClient
    from batchmeter.pricing.estimate import Estimate, History


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--provider", "account", metavar="ACCOUNT", help="Whose prices and history (default: openai).")
@click.option("--region", help="Instead of the account's.")
@as_json
def estimate(file: Path, account: str | None, region: str | None, json_output: bool) -> None:
    """Requests, tokens, expected and highest cost of a batch input FILE; and what nobody can know yet."""
    if not file.is_file():
        raise click.UsageError(f"no such file: {file}")
    found = run(_estimate(file, account, region))
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


async def _estimate(file: Path, account: str | None, region: str | None) -> "Estimate":
    import asyncio

    from batchmeter.inputs.sizes import file_sizes
    from batchmeter.pricing.book import PriceBook
    from batchmeter.pricing.estimate import estimate as of
    from batchmeter.tracker.settle import terms_of

    async with client() as opened:
        provider = await opened.provider(account, {})
        prices, plugins = opened.prices, opened.plugins
        if isinstance(prices, PriceBook):
            prices.check_region(provider.name, region)
        sizes = await asyncio.to_thread(file_sizes, file, prices.boundaries)
        history = await _history(opened, provider.account)
        return await asyncio.to_thread(
            of, sizes, provider=provider.name, prices=prices, region=region or provider.region,
            price_model=provider.price_model, history=history, terms=terms_of(provider),
            ask=plugins.price_lines if plugins.prices_lines else None,
        )  # fmt: skip


async def _history(opened: "AsyncClient", account: str) -> "dict[str, History]":
    """By the model that answered, and by the alias that a dated snapshot is asked for by."""
    from batchmeter.pricing.estimate import History
    from batchmeter.tracker.durations import settled

    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    async for settlement in settled(opened.ledger):
        if settlement.account == account:
            for model, share in settlement.models.items():
                for name in {model, _DATE.sub("", model)}:
                    sums[name][0] += share.lines
                    sums[name][1] += share.usage.output_tokens
                    sums[name][2] += share.usage.input_tokens
    return {name: History(*three) for name, three in sums.items()}


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
