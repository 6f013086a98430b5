"""Newer prices: the numbers in which two catalogues differ, and a catalogue put in place of the one in use."""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from batchmeter.config import user_folder
from batchmeter.errors import ConfigError
from batchmeter.pricebook.catalogue import EMBEDDED, FORCED, NAME, Catalogue, Row, current


@dataclass(frozen=True, slots=True)
class Change:
    """One published number that two catalogues do not share."""

    provider: str
    model: str
    region: str | None
    valid_from: date | None
    processing: str
    prompt_over: int
    bucket: str
    before: Decimal | None
    after: Decimal | None


def diff(before: Catalogue, after: Catalogue) -> Iterator[Change]:
    """Published numbers that came, went or changed, in the order of their models."""
    for provider, model in sorted({*before.models(), *after.models()}):
        old, new = (_published(catalogue.rows(provider, model)) for catalogue in (before, after))
        for key in sorted({*old, *new}, key=repr):
            if old.get(key) != new.get(key):
                region, since, processing, over, bucket = key
                yield Change(provider, model, region, since, processing, over, bucket, old.get(key), new.get(key))


_Place = tuple[str | None, date | None, str, int, str]


def _published(rows: list[Row]) -> Mapping[_Place, Decimal]:
    return {
        (row.region, row.valid_from, processing, tier.over, bucket): rate
        for row in rows
        for tier in row.tiers
        for processing, rates in (("batch", tier.batch), ("standard", tier.standard))
        for bucket, rate in rates.items()
    }


def folder() -> Path:
    """The folder of an update. ConfigError for a user without a home."""
    found = user_folder("data")
    if found is None:
        raise ConfigError("there is no home folder to keep prices in: set HOME or XDG_DATA_HOME")
    return found / "prices"


def install(content: bytes, sha256: str, *, force: bool = False) -> Catalogue:
    """Keep a catalogue whose bytes have exactly this SHA-256, to be used from now on; on an error the old one stays.

    ConfigError for other bytes, and for prices older than those in use: `force` takes those too, until a newer catalogue
    comes with the package.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.strip().lower():
        raise ConfigError(f"the catalogue has SHA-256 {found}, not {sha256}: nothing was changed")
    catalogue = Catalogue.parse(_plain(content), "the new catalogue")
    used, embedded = current(), Catalogue.open(EMBEDDED)
    if catalogue.built < used.built and not force:
        raise ConfigError(
            f"the catalogue is of {catalogue.built}, the one in use of {used.built}: nothing was changed; --force goes back"
        )
    folder().mkdir(parents=True, exist_ok=True)
    _write(folder() / NAME, content)
    _write(folder() / FORCED, embedded.built.encode() if catalogue.built < embedded.built else b"")
    return catalogue


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(name).replace(path)


def _plain(content: bytes) -> bytes:
    try:
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise ConfigError(f"the new catalogue is not readable: {error}") from error
