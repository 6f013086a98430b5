"""A newer catalogue than the embedded one: `prices update` checks it and puts it into the user's data folder."""

import gzip
import hashlib
import os
import tempfile
from pathlib import Path

from batchmeter.errors import ConfigError

from .catalogue import EMBEDDED, Catalogue

NAME = "catalogue.json.gz"


def folder() -> Path:
    """Where an update lies."""
    import platformdirs  # noqa: PLC0415 - only where prices are asked for

    return Path(platformdirs.user_data_dir("batchmeter")) / "prices"


def current() -> Catalogue:
    """The updated catalogue where it is the newer one, else the embedded one. Nothing is fetched."""
    embedded = Catalogue.open(EMBEDDED)
    path = folder() / NAME
    if not path.exists():
        return embedded
    updated = Catalogue.open(path)
    return updated if updated.built > embedded.built else embedded


def install(content: bytes, sha256: str) -> Catalogue:
    """Keep a catalogue whose bytes have exactly this SHA-256; anything else is refused, and the old one stays."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.strip().lower():
        raise ConfigError(f"the catalogue has SHA-256 {found}, not {sha256}: nothing was changed")
    catalogue = Catalogue.parse(_plain(content), "the new catalogue")
    folder().mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder())
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(folder() / NAME)
    return catalogue


def _plain(content: bytes) -> bytes:
    try:
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise ConfigError(f"the new catalogue is not readable: {error}") from error
