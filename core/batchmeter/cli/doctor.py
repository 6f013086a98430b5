"""`batchmeter doctor`: checks all that may be wrong on this machine, and says how to mend it."""

import dataclasses
import datetime as dt
import email.utils
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from batchmeter.commands.output import as_json, print_json, table
from batchmeter.commands.session import client, ledger, run, settings

if TYPE_CHECKING:
    from batchmeter.config import Settings
    from batchmeter.faces.client import AsyncClient

_SKEW = 60
"""Seconds by which the clock may differ from a provider's."""
_OLD = 45
"""Days after which prices are old."""
_NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: Literal["ok", "warning", "wrong"]
    text: str
    mend: str = ""


@click.command()
@click.option("--offline", is_flag=True, help="Ask no provider: accounts and the clock are left out.")
@as_json
def doctor(offline: bool, json_output: bool) -> None:
    """Look for what is wrong here: settings, ledger, accounts, loggers, clock, prices, network; each with the mend.

    Exit code 1 when something is wrong. No secret is shown: its output can go into a bug report.
    """
    loaded = settings()

    async def work() -> list[Finding]:
        return [finding async for finding in _findings(loaded, offline=offline)]

    found = run(work())
    if json_output:
        print_json([dataclasses.asdict(one) for one in found])
    else:
        table(None, ("about", "state", "found", "mend"), [(one.about, one.state, one.text, one.mend) for one in found])
    if wrong := [one.about for one in found if one.state == "wrong"]:
        click.echo(f"error: wrong here: {', '.join(wrong)}", err=True)
    click.get_current_context().exit(1 if wrong else 0)


async def _findings(loaded: "Settings", *, offline: bool) -> AsyncIterator[Finding]:
    """In this order: a later one needs what an earlier one looked at."""
    from batchmeter.errors import BatchmeterError

    from .config import problems_of

    problems = problems_of(loaded)
    where = loaded.source or "no settings file: the environment and defaults"
    yield Finding("settings", "ok", where) if not problems else Finding("settings", "wrong", where, "; ".join(problems))
    yield _network()
    yield _prices()
    try:
        async with ledger() as opened:
            yield Finding("ledger", "ok", opened.url)
        async with client() as ready:
            async for finding in _work(ready):
                yield finding
            if not offline:
                async for finding in _accounts(ready):
                    yield finding
    except BatchmeterError as error:
        yield Finding("ledger", "wrong", "it cannot be used", str(error))


def _network() -> Finding:
    """Variables that send requests elsewhere or change what is trusted; their values may hold a password."""
    from batchmeter.errors import ConfigError
    from batchmeter.http.library import http_library, open_client

    named = ", ".join(name for one in _NETWORK for name in (one, one.lower()) if os.environ.get(name))
    try:
        open_client(1)
        library = http_library()
    except ConfigError as error:
        return Finding("network", "wrong", named or "the HTTP library", str(error))
    text = f"{library.__name__} {library.__version__}"
    return Finding("network", "ok", f"{text}, with {named}" if named else f"{text}, no proxy, the usual certificates")


def _prices() -> Finding:
    from batchmeter.pricebook.catalogue import current

    built = current().built
    days = (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(built[:10])).days
    if days > _OLD:
        return Finding("prices", "warning", f"of {built}, {days} days old", "batchmeter prices update")
    return Finding("prices", "ok", f"of {built}")


async def _work(opened: "AsyncClient") -> AsyncIterator[Finding]:
    """Batches that nobody follows, events that nobody delivers, plugins that do not work."""
    from batchmeter.access import Access
    from batchmeter.ledger.outbox import is_unseen, unattended_text

    accounts = await Access(opened.ledger).following()
    known = set(opened.accounts.names())
    strange = ", ".join(f"{one.account} ({one.open:,} open)" for one in accounts if one.account not in known)
    overdue = sum(one.overdue for one in accounts)
    count = sum(one.open for one in accounts)
    if strange:
        yield Finding("batches", "warning", f"not followed here: {strange}", "add their [accounts.NAME] sections")
    if overdue:
        yield Finding("batches", "warning", f"{overdue:,} of {count:,} open ones wait for a look", "batchmeter track")
    elif not strange:
        yield Finding("batches", "ok", f"{count:,} open")
    for info in opened.plugins.info():
        if info.state == "failed":
            yield Finding(f"plugin {info.name}", "wrong", "it is not used", info.reason)
    now = opened.ledger.now()
    for one in await opened.ledger.subscriptions():
        if one.ended_at is None or one.owed:
            text = f"{one.owed:,} events owed, {one.dead:,} dead"
            if one.owed and is_unseen(one, now):
                yield Finding(f"logger {one.name}", "warning", text, unattended_text(one))
            elif one.dead:
                mend = f"batchmeter deliveries --dead; batchmeter replay --logger {one.name} --dead"
                yield Finding(f"logger {one.name}", "warning", text, mend)
            else:
                yield Finding(f"logger {one.name}", "ok", text)


async def _accounts(opened: "AsyncClient") -> AsyncIterator[Finding]:
    from batchmeter.http import noted_answers

    from .accounts import looked_at

    with noted_answers() as heads:
        found = await looked_at(opened)
    for one in found:
        if one.problem is None:
            yield Finding(f"account {one.account}", "ok", f"{one.address} answers in {one.milliseconds} ms")
        else:
            yield Finding(f"account {one.account}", "wrong", one.address or "it cannot be asked", one.problem)
    dates = [text for head in heads if (text := head.headers.get("date"))]
    skews = [email.utils.parsedate_to_datetime(text).timestamp() - time.time() for text in dates]
    if skews:
        off = min(skews, key=abs)
        if abs(off) > _SKEW:
            text = f"{abs(off):,.0f} s {'behind' if off > 0 else 'ahead of'} the providers'"
            yield Finding("clock", "warning", text, "set this machine's clock (NTP): tokens and signatures need it")
        else:
            yield Finding("clock", "ok", "as the providers'")
