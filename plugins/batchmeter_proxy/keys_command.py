"""`batchmeter keys`: who may use the proxy, and how much."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import click

from batchmeter import AsyncClient
from batchmeter.commands.output import table

if TYPE_CHECKING:
    from .keyring import Keyring, ProxyKey

as_json = click.option("--json", "json_output", is_flag=True, help="Print JSON for machines.")

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds."""


@click.group()
def keys() -> None:
    """Keys of the proxy: create, list, revoke."""


@keys.command()
@click.option("--name", help="What the key is for.")
@click.option("--owner", help="Whose it is: the `user` of everything it submits.")
@click.option("--team", help="The team its costs belong to.")
@click.option("--tag", "tags", multiple=True, help="A tag on everything it submits; repeat for more.")
@click.option("--accounts", metavar="A,B", help="The accounts it may use; default: all.")
@click.option("--models", metavar="M,N", help="The models it may use; default: all.")
@click.option("--expires", metavar="WHEN", help="After 30d, 12h, …, or at a UTC time such as 2027-01-31.")
@click.option("--admin", is_flag=True, help="Sees everybody's files and batches.")
@click.option("--allow-raw", is_flag=True, help="May send its provider what the proxy does not know, as an admin may.")
@click.option("--requests-per-minute", type=click.IntRange(1), metavar="N", help="More are answered 429.")
@click.option("--open-batches", type=click.IntRange(0), metavar="N", help="Unsettled batches at a time.")
@click.option("--lines-per-day", type=click.IntRange(0), metavar="N", help="Lines submitted, by UTC day.")
@click.option("--enqueued-tokens", type=click.IntRange(0), metavar="N", help="Of its open batches; budgets hold it.")
@as_json
def create(
    name: str | None,
    owner: str | None,
    team: str | None,
    tags: tuple[str, ...],
    accounts: str | None,
    models: str | None,
    expires: str | None,
    admin: bool,
    allow_raw: bool,
    requests_per_minute: int | None,
    open_batches: int | None,
    lines_per_day: int | None,
    enqueued_tokens: int | None,
    json_output: bool,
) -> None:
    """Create a key. Its secret is printed now and never again."""
    from .keyring import KeyLimits
    from .keys import create_key

    limits = KeyLimits(
        requests_per_minute=requests_per_minute,
        open_batches=open_batches,
        lines_per_day=lines_per_day,
        enqueued_tokens=enqueued_tokens,
    )

    async def work() -> "tuple[ProxyKey, str]":
        client, chosen = _client(), _names(accounts)
        for account in chosen or ():
            client.accounts.settings(account)
        async with _keyring(client) as keyring:
            return await create_key(
                keyring,
                name=name,
                owner=owner,
                team=team,
                tags=tags,
                accounts=chosen,
                models=_names(models),
                admin=admin,
                allow_raw=allow_raw,
                limits=limits,
                expires_at=_moment(expires, keyring.now()),
            )

    key, secret = asyncio.run(work())
    if json_output:
        _print_json({**key.model_dump(mode="json"), "secret": secret})
        return
    click.echo(secret)
    click.echo(f"{key.id}: keep the secret above, it is not shown again", err=True)


@keys.command("list")
@as_json
def list_keys(json_output: bool) -> None:
    """All keys, without their secrets."""

    async def work() -> "tuple[list[ProxyKey], int]":
        async with _keyring(_client()) as keyring:
            return await keyring.keys(), keyring.now()

    found, now = asyncio.run(work())
    if json_output:
        _print_json([{**key.model_dump(mode="json"), "state": key.state(now)} for key in found])
        return
    columns = ("key", "secret", "name", "owner", "team", "tags", "may use", "limits", "state", "expires")
    table(None, columns, (_row(key, now) for key in found))


@keys.command()
@click.argument("key_id")
@as_json
def revoke(key_id: str, json_output: bool) -> None:
    """Stop a key from working, at once and for good; what it submitted goes on and stays its own."""

    async def work() -> bool:
        nonlocal key_id
        async with _keyring(_client()) as keyring:
            known = {key.id for key in await keyring.keys()}
            found = [key_id] if key_id in known else sorted(one for one in known if one.startswith(key_id))
            if len(found) != 1:
                several = f"{key_id!r} begins {', '.join(found)}: write more of it"
                none = f"no key {key_id!r}: batchmeter keys list shows their ids"
                raise click.UsageError(several if found else none)
            key_id = found[0]
            return await keyring.revoke_key(key_id)

    news = asyncio.run(work())
    if json_output:
        _print_json({"id": key_id, "revoked": True})
        return
    click.echo(f"{key_id} {'is revoked' if news else 'was revoked before'}")


@asynccontextmanager
async def _keyring(client: AsyncClient) -> "AsyncGenerator[Keyring]":
    """Of a client that is not open: no plugin starts."""
    from batchmeter.access import open_access

    from .keyring import Keyring

    async with open_access(client) as access:
        yield await Keyring.open(access)


def _client() -> AsyncClient:
    """As the global options say; it is not opened."""
    options = cast("dict[str, Any]", click.get_current_context().find_root().obj or {})
    return AsyncClient(config=options.get("config"), ledger=options.get("ledger"), track=False)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value))


def _row(key: "ProxyKey", now: int) -> tuple[object, ...]:
    limits = {name.replace("_", " "): most for name, most in key.limits.model_dump().items() if most is not None}
    return (
        key.id,
        f"bm-…{key.hint}",
        key.name,
        key.owner,
        key.team,
        ", ".join(key.tags),
        _may_use(key),
        ", ".join(f"{most:,} {name}" for name, most in limits.items()),
        key.state(now),
        _instant(key.expires_at),
    )


def _may_use(key: "ProxyKey") -> str:
    if key.admin and key.accounts is None and key.models is None:
        return "everything (admin)"
    named = ", ".join([*(key.accounts or ["all accounts"]), *(key.models or ())])
    return f"{named} (admin)" if key.admin else named


def _instant(millis: int | None) -> str:
    """At most the last there are dates for."""
    if millis is None:
        return ""
    last = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()
    return datetime.fromtimestamp(min(millis / 1000, last), UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _moment(text: str | None, now: int) -> int | None:
    """Epoch milliseconds of `30d` from now, or of a time."""
    from batchmeter.access import moment

    match = re.fullmatch(r"(\d{1,9})([mhdw])", text or "")
    if match is None:
        return moment(text)
    return now + int(match[1]) * _UNITS[match[2]] * 1000
