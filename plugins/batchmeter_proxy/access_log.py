"""The access log of `batchmeter serve --access-log`: one line a request, on standard error."""

import logging
import re

from starlette.requests import Request

access = logging.getLogger("batchmeter.access")
"""INFO, one record a request; silent unless a program asks for that level."""
access.setLevel(logging.WARNING)
_UNPRINTABLE = re.compile(r"[^!-~]")
_LONGEST = 300
"""Characters of a path."""


def access_line(request: Request, status: int, seconds: float) -> str:
    """`127.0.0.1 key_3f… POST /v1/batches 200 12.3ms`: no query and no header, which may hold secrets."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    path = _UNPRINTABLE.sub("?", bytes(raw).partition(b"?")[0].decode("latin-1"))[:_LONGEST]
    host = request.client.host if request.client else "-"
    key = getattr(request.state, "key", None) or "-"
    return f"{host} {key} {_UNPRINTABLE.sub('?', request.method)[:16]} {path} {status} {seconds * 1000:.1f}ms"


def write_access_log() -> None:
    """From now on, into the log of this process, in its format."""
    access.setLevel(logging.INFO)
