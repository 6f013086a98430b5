"""Log redaction: httpx logs every URL at INFO; URLs of batchmeter's requests lose passwords and signatures there."""

import logging
from collections.abc import Collection, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from .failure import redact_url, without_secrets

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
