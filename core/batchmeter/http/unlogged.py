"""httpx logs the URL of every request at INFO: of ours without what may be secret in it, a password or a signature."""

import logging
from collections.abc import Collection, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from .failure import redact_url, without_secrets

_ours: "ContextVar[Collection[str] | None]" = ContextVar("batchmeter_request", default=None)
"""What else is secret in the URL of a request of ours."""


@contextmanager
def unlogged(secrets: Collection[str] = ()) -> Generator[None]:
    """Requests inside are ours, whoever's client they go through."""
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
