"""Files that pages load, each at an address made of its content, so that browsers may keep it for good."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files

SCRIPT = "follow.js"
_PARTS = ("htmx.js", "hx-sse.js", "live.js")
"""htmx 4.0.1 and its extension sse, as their makers minified them (LICENSE.htmx), and a few lines of our own. They are
sent as one: htmx goes over the page a moment after it was run, whether its extensions have come or not."""
TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml", SCRIPT: "text/javascript"}
"""Every asset, and its media type."""


@cache
def content(name: str) -> bytes:
    if name == SCRIPT:
        return b"\n;".join(content(part) for part in _PARTS)
    return (files(__package__ or "") / "static" / name).read_bytes()


@cache
def compressed(name: str) -> bytes:
    """By gzip, the same each time."""
    return gzip.compress(content(name), mtime=0)


@cache
def place(name: str) -> str:
    """`<first digits of its SHA-256>/<name>`."""
    return f"{hashlib.sha256(content(name)).hexdigest()[:10]}/{name}"
