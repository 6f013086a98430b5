"""Serves the proxy with granian: worker processes that share one port and one ledger."""

import asyncio
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from batchmeter import AsyncClient
from batchmeter.access import open_access
from batchmeter.commands import start_log
from batchmeter.errors import ConfigError, UnknownAccountError, UsageError

from .access_log import write_access_log
from .app import create_app
from .keyring import Keyring
from .options import ProxyOptions
from .traffic import FOLDER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("batchmeter")

START = "BATCHMETER_SERVE"
"""How workers are told what the command was: JSON with `config`, `ledger`, `track` and `access_log`."""
GRACE_SECONDS = 30
"""How long transfers under way may take once the server is told to stop."""
_BACKLOG = 1024
_STARTING_SECONDS = 120
_OTHER_FILES = 128
"""Descriptors of the interpreter, the ledger, one account's connections, and the files of all."""
_FILES_OF_ACCOUNT = 24
"""Connections of each further account: its short calls, and the outputs that a tracker reads."""
_FEWEST_FILES = 64
_FEWEST_CONNECTIONS = 16
_BUFFER = 1024 * 1024
"""Bytes read ahead of a connection, so also the most that headers may have; 400 KB costs uploads a third more time."""


def app() -> "ASGIApp":
    """The app that each worker serves."""
    for name in (signal.SIGINT, signal.SIGTERM):  # a forked worker would ignore them until granian sets its own
        signal.signal(name, signal.SIG_DFL)
    start_log()
    given = json.loads(os.environ.get(START, "{}"))
    client = AsyncClient(config=given.get("config"), ledger=given.get("ledger"), track=given.get("track"))
    proxy = create_app(client)
    if given.get("access_log"):
        write_access_log()

    async def alone(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def started(message: "Message") -> None:
            if message["type"] == "lifespan.startup.complete":
                gc.freeze()  # going over all modules again would stop the event loop for 20 ms
                _on_stop(proxy.state.stopping.set)
            await send(message)

        await proxy(scope, receive, started if scope["type"] == "lifespan" else send)

    return alone


def _on_stop(stop: Callable[[], None]) -> None:
    """Before the server's own handler, which its event loop runs: answers under way would use up its patience."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(name)

        def tell(number: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(stop)
            if callable(before):
                before(number, frame)

        signal.signal(name, tell)
        signal.siginterrupt(name, False)


def serve(
    host: str,
    port: int,
    workers: int,
    *,
    given: dict[str, Any],
    ready: Callable[[str], None],
    options: ProxyOptions,
    accounts: int = 1,
    grace: int = GRACE_SECONDS,
) -> None:
    """Until SIGINT or SIGTERM. `ready` is called with the address once connections are taken.

    UsageError when the address cannot be had or the process may open too few files, ConfigError without the extra.
    """
    server = _granian()
    address = _address(host, port)
    os.environ[START] = json.dumps(given)
    with _counting_together(workers):
        _run(server, host, address, workers, options, accounts, grace, ready)


@contextmanager
def _counting_together(workers: int) -> Generator[None]:
    """A folder in which several workers keep how many requests they answered."""
    os.environ.pop(FOLDER, None)
    try:
        folder = tempfile.TemporaryDirectory(prefix="batchmeter-serve-", ignore_cleanup_errors=True)
    except OSError as error:
        if workers > 1:
            log.warning("/metrics counts the requests of one worker only: no folder for temporary files: %s", error)
        yield
        return
    with folder as path:
        os.environ[FOLDER] = path
        yield


def _run(
    server: Any,
    host: str,
    address: int,
    workers: int,
    options: ProxyOptions,
    accounts: int,
    grace: int,
    ready: Callable[[str], None],
) -> None:
    running = server(
        f"{__name__}:app",
        address=host,
        port=address,
        interface="asgi",
        factory=True,
        workers=workers,
        loop="auto",
        http="1",
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_room(options.connections, accounts),
        http1_settings=_http1(options.idle_seconds),
        workers_kill_timeout=grace,
        respawn_failed_workers=True,
        log_level="warning",
        process_name=None,
    )
    announcing = threading.Thread(target=_announce, args=(host, address, ready), daemon=True)
    running.on_startup(announcing.start)
    running.serve()


def check(client: AsyncClient) -> ProxyOptions:
    """`[proxy]`; ConfigError for what every worker would stumble over, or every request that is sent to a name."""
    settings = client.settings
    options = create_app(client).state.options
    uses = {f"[accounts.{name}]": name for name in settings.accounts if _wanted(client, name)}
    uses |= {f"[models] {model!r}": account for model, account in settings.models.items()}
    if "default_account" in settings.model_fields_set:
        uses["default_account"] = settings.default_account
    for where, account in uses.items():
        try:
            client.accounts.settings(account)
        except UnknownAccountError as error:
            raise ConfigError(f"{settings.source or 'settings'}: {where}: {error}") from None
    return options


def url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def keys_configured(client: AsyncClient) -> bool:
    """Whether anybody needs a key. The ledger is asked once, before any worker starts."""

    async def ask() -> bool:
        async with open_access(client) as access:
            return await (await Keyring.open(access)).has_keys()

    return asyncio.run(ask())


def _wanted(client: AsyncClient, account: str) -> bool:
    """A provider may be turned off, and its accounts with it."""
    settings = client.settings
    return settings.accounts[account].get("provider", account) not in settings.disable


def _announce(host: str, port: int, ready: Callable[[str], None]) -> None:
    """Granian tells when it begins to start; its workers listen once their ledger is open."""
    until = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            ready(url(host, port))
            return
        time.sleep(0.05)


def _granian() -> Any:
    try:
        from granian import Granian  # noqa: PLC0415 - the extra may be missing
    except ImportError as error:
        raise ConfigError(f"{error}: the server needs its extra: pip install 'batchmeter[proxy]'") from error
    return Granian


def _room(connections: int, accounts: int) -> int:
    """As many as the process may open files for: it asks for all it may have, and says when they are too few."""
    import resource  # noqa: PLC0415 - not on Windows, where nothing limits them

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _OTHER_FILES + _FILES_OF_ACCOUNT * (accounts - 1)
    wanted = connections + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if soft < _FEWEST_FILES:
        raise UsageError(f"this process may open {soft} files, and a server needs {_FEWEST_FILES}: ulimit -n 4096")
    room = max(soft - others, _FEWEST_CONNECTIONS)
    log.warning("this process may open %d files: each worker serves %d connections, not %d", soft, room, connections)
    return room


def _http1(idle_seconds: float) -> Any:
    from granian.http import HTTP1Settings  # noqa: PLC0415 - as above

    return HTTP1Settings(header_read_timeout=int(idle_seconds * 1000), max_buffer_size=_BUFFER)


def _address(host: str, port: int) -> int:
    """The port, a free one for 0; UsageError when it is taken, before any worker starts."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (0 takes a free one)"
        ) from error
