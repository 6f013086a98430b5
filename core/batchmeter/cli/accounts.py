"""`batchmeter accounts`: the accounts that can be named here, and whether each answers."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from batchmeter.commands.output import as_json, print_json, table
from batchmeter.commands.session import client, run
from batchmeter.web import redact_url

if TYPE_CHECKING:
    from batchmeter.accounts import Accounts
    from batchmeter.faces.client import AsyncClient


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as it is set up here."""

    account: str
    provider: str
    address: str
    key: bool
    """Whether there is a credential; some providers use the machine's own."""
    default: bool
    problem: str | None = None
    milliseconds: int | None = None
    """Time of one list of its batches, where it was asked."""


@click.command()
@click.option("--check", is_flag=True, help="Ask each for its newest batch: address, key and network work.")
@click.option("--all", "everything", is_flag=True, help="Also accounts that have no section and no key.")
@as_json
def accounts(check: bool, everything: bool, json_output: bool) -> None:
    """The accounts that can be named, with address and key; exit code 1 when --check finds one that cannot be used."""
    import dataclasses

    async def work() -> list[Account]:
        async with client() as opened:
            return await looked_at(opened, everything=everything, ask=check)

    found = run(work())
    if json_output:
        print_json([dataclasses.asdict(one) for one in found])
    else:
        rows = [
            (one.account, one.provider, one.address, "yes" if one.key else "-", _state(one, check)) for one in found
        ]
        table(None, ("account", "provider", "address", "key", "state"), rows)
    unusable = [one.account for one in found if check and one.problem]
    if unusable:
        click.echo(f"error: cannot be used: {', '.join(unusable)}", err=True)
    click.get_current_context().exit(1 if unusable else 0)


def _state(one: Account, checked: bool) -> str:
    state = one.problem or (f"answers in {one.milliseconds} ms" if checked else "")
    return f"{state} (default)".strip() if one.default else state


async def looked_at(opened: "AsyncClient", *, everything: bool = False, ask: bool = True) -> list[Account]:
    """Configured accounts, the default one, and those for which the environment has a key."""
    import asyncio

    accounts, configured = opened.accounts, {*opened.settings.accounts, opened.accounts.default}
    chosen = [name for name in accounts.names() if everything or name in configured or _has_key(accounts, name)]
    return list(await asyncio.gather(*(_account(opened, name, ask=ask and not everything) for name in chosen)))


async def _account(opened: "AsyncClient", name: str, *, ask: bool) -> Account:
    from batchmeter.errors import BatchmeterError
    from batchmeter.providers import CallOptions

    default, milliseconds = name == opened.accounts.default, None
    try:
        provider = opened.accounts.get(name)
        if ask:
            begun = time.monotonic()
            await provider.list_batches(after=None, limit=1, options=CallOptions(timeout=30))
            milliseconds = int((time.monotonic() - begun) * 1000)
    except BatchmeterError as error:
        kind = str(opened.settings.accounts.get(name, {}).get("provider", name))
        return Account(name, kind, "", _has_key(opened.accounts, name), default, str(error))
    key = _has_key(opened.accounts, name)
    return Account(name, provider.name, redact_url(provider.endpoint), key, default, None, milliseconds)


def _has_key(accounts: "Accounts", name: str) -> bool:
    from batchmeter.accounts import credentials_of
    from batchmeter.errors import BatchmeterError

    try:
        found = accounts.settings(name)
    except BatchmeterError:
        return False
    return any(credentials_of(found).values())
