"""The proxy: an OpenAI-compatible server for files and batches over every configured account.

As a plugin it brings the commands `serve` and `keys`, and a hook of its own, `register_routes` (`hookspecs.py`).
It imports what a stranger's plugin may: what it asks of the ledger goes through `batchmeter.access`, the public face of
the ledger for servers (answers, owners, costs, events); keys are in tables of its own (`keyring.py`); `client.section` reads its `[proxy]`.
`create_app(client)` is the same server as an ASGI app, to mount in an app of yours.

Names are imported when they are first used: every command line loads this module, and the server's libraries are an
extra (`pip install 'batchmeter[proxy]'`).
"""

from typing import TYPE_CHECKING

from batchmeter import hookimpl
from batchmeter.lazy import lazy_names

from . import hookspecs

if TYPE_CHECKING:
    import click

    from .app import Proxy, create_app
    from .errors import Refusal
    from .identity import Action, Identity
    from .keyring import Keyring, ProxyKey, keyring_of
    from .routes import Route

__all__ = [
    "Action",
    "Identity",
    "Keyring",
    "Proxy",
    "ProxyKey",
    "Refusal",
    "Route",
    "create_app",
    "hookspecs",
    "keyring_of",
]


sections = ("proxy=batchmeter_proxy.options:ProxyOptions",)
"""For `batchmeter config check`."""
SERVE = "Serve OpenAI's files and batches API over the configured accounts; trackers and loggers run inside."
KEYS = "Keys of the proxy: create, list, revoke."


@hookimpl
def register_commands(cli: "click.Group") -> None:
    from batchmeter.commands import LazyCommand  # noqa: PLC0415 - only where commands are wanted

    cli.add_command(LazyCommand("serve", "batchmeter_proxy.commands:serve", SERVE))
    cli.add_command(LazyCommand("keys", "batchmeter_proxy.keys_command:keys", KEYS))


__getattr__ = lazy_names(
    __name__,
    {
        "identity": "Action Identity",
        "keyring": "Keyring ProxyKey keyring_of",
        "app": "Proxy create_app",
        "errors": "Refusal",
        "routes": "Route",
    },
)
