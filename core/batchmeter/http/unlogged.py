"""httpx logs the URL of every request at INFO: of ours without what may be secret in it, a password or a signature."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from .failure import redact_url

_ours = ContextVar("batchmeter_request", default=False)


@contextmanager
def unlogged() -> Generator[None]:
    """Requests inside are ours, whoever's client they go through."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if _ours.get() and isinstance(record.args, tuple):
            record.args = tuple(redact_url(str(one)) if type(one).__name__ == "URL" else one for one in record.args)
        return True


for _library in ("httpx", "httpx2"):
    logging.getLogger(_library).addFilter(_Redacting())
