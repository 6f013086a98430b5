"""The HTTP library: httpx2 where it is installed, else httpx, which has the same API.

`BATCHMETER_HTTP=httpx` chooses the other.
"""

import importlib
import importlib.util
import logging
import os
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from batchmeter import errors
from batchmeter.web import redact_url

from .failure import without_secrets

if TYPE_CHECKING:
    import httpx

CALLS, TRANSFERS = 16, 96
"""Connections of a pool for short calls, and of one for files. httpx walks its whole pool at every request: more
connections are slower, not faster."""

_LATE = ("anyio._backends._asyncio", "anyio.streams.tls")
"""Modules that the first request would import, on the event loop, in 30 ms."""


_KEEPALIVE_SECONDS = 4.0
"""An idle connection is not used again after this: many servers close theirs at 5 s, and may just be doing so."""


def open_client(connections: int, *, fresh: bool = False) -> "httpx.AsyncClient":
    """A new client with a pool of its own; takes 100 ms the first time, so not on the event loop.

    `fresh`: each request over a new connection.
    """
    library = http_library()
    for late in _LATE:
        with suppress(ImportError):
            importlib.import_module(late)
    limits = library.Limits(
        max_connections=connections,
        max_keepalive_connections=0 if fresh else CALLS,
        keepalive_expiry=_KEEPALIVE_SECONDS,
    )
    try:
        return library.AsyncClient(limits=limits, verify=tls(library.__name__))  # type: ignore[no-any-return]
    except Exception as error:
        raise errors.ConfigError(_what_is_wrong(error)) from error


def _what_is_wrong(error: Exception) -> str:
    """A variable of the environment to mend. Values are not shown: a proxy's address may hold a password."""
    if isinstance(error, ImportError):
        return f"{_set(_PROXIES)}: a SOCKS proxy needs the package socksio: pip install socksio"
    if isinstance(error, OSError):
        return f"{_set(_CERTIFICATES)}: the certificates cannot be read: {error.strerror or type(error).__name__}"
    return f"{_set(_PROXIES)}: not an address that a proxy can have (http://host:port)"


_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def _set(names: Iterable[str]) -> str:
    """The variables that are set, in either case."""
    found = [spelled for name in names for spelled in (name, name.lower()) if os.environ.get(spelled)]
    return ", ".join(found) or "the system's settings"


def http_library() -> Any:
    """The module `httpx2` or `httpx`; ConfigError when the one asked for is not installed."""
    chosen = os.environ.get("BATCHMETER_HTTP") or ("httpx2" if importlib.util.find_spec("httpx2") else "httpx")
    if chosen not in ("httpx", "httpx2"):
        raise errors.ConfigError(f"BATCHMETER_HTTP is {chosen!r}; it can be 'httpx' or 'httpx2'")
    try:
        return importlib.import_module(chosen)
    except ImportError:
        raise errors.ConfigError(
            f"BATCHMETER_HTTP asks for {chosen}, which is not installed: pip install {chosen}"
        ) from None


@lru_cache
def tls(library: str) -> Any:
    """One for the process: each takes 50 ms and 1 MB."""
    return importlib.import_module(library).create_ssl_context()


_ours: "ContextVar[Collection[str] | None]" = ContextVar("batchmeter_request", default=None)
"""Secrets that a URL of the current request may hold; None outside batchmeter's requests."""


@contextmanager
def redacted_log(secrets: Collection[str] = ()) -> Generator[None]:
    """Mark the requests inside as batchmeter's, whichever client sends them."""
    token = _ours.set(secrets)
    try:
        yield
    finally:
        _ours.reset(token)


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secrets = _ours.get()
        if secrets is not None and isinstance(record.args, tuple):
            record.args = tuple(_shown(one, secrets) if type(one).__name__ == "URL" else one for one in record.args)
        return True


def _shown(url: object, secrets: Collection[str]) -> str:
    return without_secrets(redact_url(str(url)).encode(), {}, secrets).decode()


for _library in ("httpx", "httpx2"):
    logging.getLogger(_library).addFilter(_Redacting())
