"""`batchmeter ui`: finds the server on this machine, or starts one, and opens the pages in the browser, logged in."""

import asyncio
import json
import urllib.error
import urllib.request
import webbrowser
from typing import Any, cast

import click

from batchmeter import AsyncClient
from batchmeter.access import open_access
from batchmeter.errors import BatchmeterError, ConfigError, UsageError

_SECONDS = 10.0
_KEY_MILLIS = 12 * 3_600_000
"""As long as a session lasts."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the server.")
@click.option("--port", default=4000, show_default=True, help="Its port; 0 starts one on a free port.")
@click.option("--no-open", is_flag=True, help="Print the link, and open no browser.")
def ui(host: str, port: int, no_open: bool) -> None:
    """Open the web pages: of the server that runs here, else of one started for it. The link holds for a minute, once."""
    try:
        from batchmeter_proxy import server  # noqa: PLC0415 - with the server's libraries
    except ImportError as error:
        raise ConfigError(f"{error}: the pages need their extra: pip install 'batchmeter[proxy]'") from error
    given = cast("dict[str, Any]", click.get_current_context().find_root().obj or {})
    if not server.is_loopback(host):
        raise UsageError(f"--host {host} is not this machine: open its /ui in a browser, and log in with a key")

    def show(url: str) -> None:
        link = asyncio.run(_link(url, given))
        click.echo(f"{link}   (holds for a minute, once)" if "?" in link else link)
        if not no_open:
            webbrowser.open(link)

    if port and _is_batchmeter(server.url(host, port)):
        show(server.url(host, port))
        return
    client = _client(given)
    values = {**given, "track": None, "access_log": False}
    server.serve(host, port, 1, given=values, ready=lambda url: _try(show, url), options=server.check(client))


def _try(show: Any, url: str) -> None:
    """The server goes on where the link could not be made."""
    try:
        show(url)
    except BatchmeterError as error:
        click.echo(f"{url}/ui   ({error})", err=True)


def _client(given: dict[str, Any]) -> AsyncClient:
    return AsyncClient(config=given.get("config"), ledger=given.get("ledger"))


def _is_batchmeter(url: str) -> bool:
    """Whether our server answers there; UsageError where another one does."""
    try:
        with urllib.request.urlopen(f"{url}/ui/login", timeout=_SECONDS) as answer:  # noqa: S310 - http, on this machine
            known = "x-batchmeter" in answer.headers
    except urllib.error.HTTPError as error:
        known = "x-batchmeter" in error.headers
    except OSError:
        return False
    if not known:
        raise UsageError(f"{url} is another program's: choose another --port (0 takes a free one)")
    return True


async def _link(url: str, given: dict[str, Any]) -> str:
    """An address that lets its first reader in; without keys the pages themselves."""
    from batchmeter_proxy.keyring import Keyring  # noqa: PLC0415
    from batchmeter_proxy.keys import create_key  # noqa: PLC0415

    async with open_access(_client(given)) as access:
        keyring = await Keyring.open(access)
        if not await keyring.has_keys():
            return f"{url}/ui"
        until = access.now() + _KEY_MILLIS
        key, secret = await create_key(keyring, name="batchmeter ui", admin=True, expires_at=until)
        try:
            return url + await asyncio.to_thread(_ask_for_link, url, secret)
        except BatchmeterError:
            await keyring.revoke_key(key.id)
            raise


def _ask_for_link(url: str, secret: str) -> str:
    headers = {"authorization": f"Bearer {secret}"}
    request = urllib.request.Request(f"{url}/ui/links", b"", headers, method="POST")  # noqa: S310 - http, on this machine
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return str(json.load(answer)["path"])
    except urllib.error.HTTPError as error:
        why = "it has another ledger" if error.code == 401 else f"it answers {error.code}"  # noqa: PLR2004
        raise UsageError(f"the server at {url} takes no key of this ledger: {why}; choose another --port") from error
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"the server at {url} does not answer: {error}") from error
