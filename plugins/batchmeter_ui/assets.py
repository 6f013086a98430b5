"""Files that pages load, each at an address made of its content, so that browsers may keep it for good."""

import hashlib
from functools import cache
from importlib.resources import files

TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
"""Every asset, and its media type."""


@cache
def content(name: str) -> bytes:
    return (files(__package__ or "") / "static" / name).read_bytes()


@cache
def place(name: str) -> str:
    """`<first digits of its SHA-256>/<name>`."""
    return f"{hashlib.sha256(content(name)).hexdigest()[:10]}/{name}"
