"""`batchmeter prices`: what the price book says, where from, and how to get a newer one."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, console, print_json, table

if TYPE_CHECKING:
    from batchmeter.pricebook.book import PriceBook
    from batchmeter.pricing.groups import PriceQuery
    from batchmeter.reports.price_list import Listed

prices_file = click.option(
    "--prices", "prices_file", metavar="FILE", help="Your own rows, as [prices] in batchmeter.toml."
)


@click.group()
def prices() -> None:
    """Show, list, compare and update prices (USD per million tokens)."""


@prices.command()
@click.argument("model")
@click.option("--provider", help="A provider's name; default: everyone who sells this id.")
@click.option("--at", metavar="DATE", help="Prices of this UTC date (YYYY-MM-DD); default: today.")
@click.option("--region", help="global, us-central1, data-zone-eu, eu, …")
@prices_file
@as_json
def show(
    model: str, provider: str | None, at: str | None, region: str | None, prices_file: str | None, json_output: bool
) -> None:
    """Every rate of MODEL (`gpt-5`, or `openai/gpt-5` as `prices list` prints it), in a batch and outside."""
    from batchmeter.reports.price_list import plain, sellers, show

    book = _book(prices_file)
    day = _date(at)
    sold = [(provider, model)] if provider else sellers(book, model, day)
    found = [listed for query in _in_region(book, sold, day, region) for listed in show(book, query)]
    if json_output:
        print_json([plain(listed) for listed in found])
    elif found:
        _show(book, model, day, found)
    if not found:
        place = f"{provider}/{model}" if provider else model if "/" in model else f"provider/{model}"
        click.echo(f'{model}: no price. Add a row of your own: [prices."{place}"]', err=True)
        raise click.exceptions.Exit(1)


def _in_region(
    book: "PriceBook", sellers: Sequence[tuple[str, str]], day: dt.date, region: str | None
) -> "list[PriceQuery]":
    """The query for each seller that has this region; UsageError where none has."""
    from batchmeter.errors import UsageError
    from batchmeter.pricing.groups import PriceQuery
    from batchmeter.reports.price_list import check_region

    known: list[PriceQuery] = []
    errors: list[UsageError] = []
    for provider, model in sellers:
        try:
            check_region(book, provider, region)
        except UsageError as error:
            errors.append(error)
        else:
            known.append(PriceQuery(provider, model, day, region=region))
    if errors and not known:
        raise errors[0]
    return known


def _show(book: "PriceBook", model: str, day: dt.date, found: Sequence["Listed"]) -> None:
    from batchmeter.pricing.groups import BUCKETS
    from batchmeter.reports.price_list import digits

    buckets = [bucket for bucket in BUCKETS if any(bucket in listed.rates.usd_per_million for listed in found)]
    rows: list[list[str]] = []
    for listed in found:
        rates, guessed = listed.rates, listed.rates.estimated_buckets or ()
        numbers = [
            digits(rates.usd_per_million[b]) + ("*" if b in guessed else "") if b in rates.usd_per_million else "-"
            for b in buckets
        ]
        over = f"over {listed.prompt_over:,}" if listed.prompt_over else "any"
        rows.append(
            [listed.provider, listed.processing, over, *numbers, listed.rates.origin, ", ".join(listed.rates.flags)]
        )
    columns = ("provider", "processing", "prompt", *(f"{b}>" for b in buckets), "origin", "flags")
    table(f"{model} on {day}, USD per million", columns, rows)
    if any(listed.rates.estimated for listed in found):
        console().print("* estimated: the standard price at the provider's usual discount.")
    console().print(f"Price book {book.digest[:12]}, catalogue of {book.catalogue.built}.")


@prices.command(name="list")
@click.option("--provider", help="Only this provider's.")
@as_json
def list_models(provider: str | None, json_output: bool) -> None:
    """Every model of the catalogue."""
    book = _book(None)
    models = book.catalogue.models(provider)
    if json_output:
        print_json({"built": book.catalogue.built, "models": [f"{owner}/{model}" for owner, model in models]})
    else:
        for owner, model in models:
            click.echo(f"{owner}/{model}")


@prices.command()
@click.argument("other", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_json
def diff(other: Path, json_output: bool) -> None:
    """Changes from the catalogue in use to the one in the file OTHER."""
    from batchmeter.pricebook.catalogue import Catalogue
    from batchmeter.reports.price_update import diff as differences

    rows = [
        (
            c.provider,
            c.model,
            c.region,
            c.valid_from,
            c.processing,
            c.prompt_over,
            c.bucket,
            *_change(c.before, c.after),
        )
        for c in differences(_book(None).catalogue, Catalogue.open(other))
    ]
    columns = ("provider", "model", "region", "from", "processing", "over", "bucket", "before", "after")
    if json_output:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        table(None, columns, rows)
    else:
        click.echo("no difference")


@prices.command()
@click.option(
    "--from", "source", required=True, metavar="FILE_OR_URL", help="A compiled catalogue (catalogue.json.gz)."
)
@click.option("--sha256", required=True, help="The SHA-256 of its bytes, from whoever published it.")
@click.option("--force", is_flag=True, help="Go back to older prices, until the package brings newer ones.")
def update(source: str, sha256: str, force: bool) -> None:
    """Put a newer catalogue into your data folder, if its bytes are the ones you expect."""
    from batchmeter.pricebook.catalogue import NAME
    from batchmeter.reports.price_update import folder, install

    catalogue = install(_bytes(source), sha256, force=force)
    click.echo(f"{folder() / NAME}: prices of {catalogue.built}, digest {catalogue.digest[:12]}")


def _bytes(source: str) -> bytes:
    if not source.startswith(("http://", "https://")):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise click.UsageError(f"{source}: {error.strerror or error}") from error
    from batchmeter.commands.session import run

    return run(_download(source))


async def _download(url: str) -> bytes:
    from batchmeter.http import HttpClient

    client = HttpClient(url, timeout=60.0)
    try:
        return (await client.request("GET", url)).content
    finally:
        await client.aclose()


def _book(file: str | None) -> "PriceBook":
    from batchmeter.commands.session import settings
    from batchmeter.pricebook.book import PriceBook

    return PriceBook.load(file if file is not None else settings().prices or None)


def _change(before: object, after: object) -> tuple[str, str]:
    return ("-" if before is None else str(before), "-" if after is None else str(after))


def _date(text: str | None) -> dt.date:
    if text is None:
        return dt.datetime.now(dt.UTC).date()
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--at {text!r} is not a date: write YYYY-MM-DD") from None
