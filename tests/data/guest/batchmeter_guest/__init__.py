"""A stranger's plugin: a command, a route, a ledger engine, a provider, and a logger with metrics."""

from typing import Any

import click
from starlette.responses import PlainTextResponse

from batchmeter.hookspecs import hookimpl
from batchmeter_proxy import Route
from batchmeter_sqlite import open_database

from .provider import GuestProvider

heard: list[str] = []
hosts: list[Any] = []


@hookimpl
def register_commands(cli: click.Group) -> None:
    @cli.command("guest")
    def guest() -> None:
        """Say hello."""
        click.echo("hello from the guest")


@hookimpl
def register_ledgers(register: Any) -> None:
    """The engine keeps its file under a name of its own."""

    def engine(url: str, clock: Any) -> Any:
        return open_database(url.removeprefix("guest://") + ".guest", clock)

    register("guest", engine)


@hookimpl
def register_providers(register: Any) -> None:
    register(GuestProvider)


@hookimpl
def register_routes(register: Any) -> None:
    register(Route("GET", "/guest/metrics", metrics, "The guest's metrics", versioned=False, public=True))


async def metrics(call: Any) -> PlainTextResponse:
    totals = await hosts[-1].totals()
    return PlainTextResponse("".join(f'guest_batches{{account="{one.account}"}} {one.batches}\n' for one in totals))


@hookimpl
def startup(host: Any) -> None:
    hosts.append(host)


@hookimpl
def acreate_batch(event: Any) -> None:
    heard.append(f"{event.type} {event.batch_id}")


@hookimpl
async def batch_success(event: Any) -> None:
    heard.append(f"{event.type} {event.batch_id} {event.cost.known}")


@hookimpl(optionalhook=True)
async def batch_lines(event: Any, lines: Any) -> None:
    heard.append(f"batch_lines {event.batch_id} {[line.custom_id async for line in lines]}")
