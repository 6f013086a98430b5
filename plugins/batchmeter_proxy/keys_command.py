"""`batchmeter keys`: who may use the proxy, and how much."""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import click

from batchmeter.cli.events import millis
from batchmeter.cli.session import client, run
from batchmeter.cli.show import as_json, console, instant, print_json, table

if TYPE_CHECKING:
    from batchmeter.ledger.records import ProxyKey

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
    json_output: bool,
) -> None:
    """Create a key. Its secret is printed now and never again."""
    from batchmeter.ledger.records import KeyLimits

    from .keys import create_key

    limits = KeyLimits(requests_per_minute=requests_per_minute, open_batches=open_batches, lines_per_day=lines_per_day)

    async def work() -> "tuple[ProxyKey, str]":
        async with client() as opened:
            chosen = _names(accounts)
            _check(chosen or (), opened.accounts.names())
            return await create_key(
                opened.ledger,
                name=name,
                owner=owner,
                team=team,
                tags=tags,
                accounts=chosen,
                models=_names(models),
                admin=admin,
                allow_raw=allow_raw,
                limits=limits,
                expires_at=_moment(expires, opened.ledger.now()),
            )

    key, secret = run(work())
    if json_output:
        print_json({**key.model_dump(mode="json"), "secret": secret})
        return
    console().print(secret, soft_wrap=True)
    click.echo(f"{key.id}: keep the secret above, it is not shown again", err=True)


@keys.command("list")
@as_json
def list_keys(json_output: bool) -> None:
    """All keys, without their secrets."""

    async def work() -> "tuple[list[ProxyKey], int]":
        async with client() as opened:
            return await opened.ledger.keys(), opened.ledger.now()

    found, now = run(work())
    if json_output:
        print_json([{**key.model_dump(mode="json"), "state": key.state(now)} for key in found])
        return
    columns = ("key", "secret", "name", "owner", "team", "tags", "may use", "limits", "state", "expires")
    table(None, columns, (_row(key, now) for key in found))


@keys.command()
@click.argument("key_id")
@as_json
def revoke(key_id: str, json_output: bool) -> None:
    """Stop a key from working, at once and for good; what it submitted goes on and stays its own."""

    async def work() -> bool:
        async with client() as opened:
            if await opened.ledger.revoke_key(key_id):
                return True
            if key_id in {key.id for key in await opened.ledger.keys()}:
                return False
            raise click.UsageError(f"no key {key_id!r}: batchmeter keys list shows their ids")

    news = run(work())
    if json_output:
        print_json({"id": key_id, "revoked": True})
        return
    console().print(f"{key_id} {'is revoked' if news else 'was revoked before'}")


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
        instant(None if key.expires_at is None else key.expires_at / 1000),
    )


def _may_use(key: "ProxyKey") -> str:
    if key.admin and key.accounts is None and key.models is None:
        return "everything (admin)"
    named = ", ".join([*(key.accounts or ["all accounts"]), *(key.models or ())])
    return f"{named} (admin)" if key.admin else named


def _check(chosen: Iterable[str], known: Collection[str]) -> None:
    from batchmeter.config import nearest

    for name in chosen:
        if name not in known:
            raise click.UsageError(f"no account {name!r} is configured{nearest(name, known)}")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _moment(text: str | None, now: int) -> int | None:
    """Epoch milliseconds of `30d` from now, or of a time."""
    match = re.fullmatch(r"(\d{1,9})([mhdw])", text or "")
    if match is None:
        return millis(text)
    return now + int(match[1]) * _UNITS[match[2]] * 1000
