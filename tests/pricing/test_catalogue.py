"""The compiled file: small, quick, canonical; a newer one only by its hash."""

import gzip
import hashlib
import json
import subprocess
import sys
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from batchmeter.errors import ConfigError
from batchmeter.pricebook import catalogue
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricebook.catalogue import EMBEDDED, NAME, Catalogue
from batchmeter.pricing.groups import BUCKETS
from batchmeter.reports.price_update import diff, folder, install


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(EMBEDDED.read_bytes()))
    return loaded


def packed(content: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(content).encode(), compresslevel=1, mtime=0)


def test_it_is_small() -> None:
    assert len(EMBEDDED.read_bytes()) < 60_000


def test_its_rows_are_well_formed() -> None:
    content = document()
    seen: set[tuple[str, str, str | None, str | None]] = set()
    for row in content["rows"]:
        spans = {(row["provider"], model, row.get("region"), row.get("from")) for model in row["models"]}
        assert not spans & seen
        seen |= spans
        overs = [tier["over"] for tier in row["tiers"]]
        assert overs == sorted(set(overs))
        assert overs[0] == 0
        assert set(overs[1:]) <= set(content["boundaries"])
        for tier in row["tiers"]:
            rates = {**tier.get("batch", {}), **tier.get("standard", {})}
            assert rates.keys() <= set(BUCKETS)
            assert all(isinstance(rate, str) and "e" not in rate.lower() for rate in rates.values())
        assert row["origin"] in {*content["sources"], "correction"}
        assert row["origin"] != "correction" or (row["source"] and row["reason"])


def test_spans_of_one_model_do_not_overlap(book: PriceBook) -> None:
    for provider, model in book.catalogue.models():
        rows = book.catalogue.rows(provider, model)
        for region in {row.region for row in rows}:
            spans = sorted(
                (row.valid_from or date.min, row.valid_until or date.max) for row in rows if row.region == region
            )
            for (_, end), (start, _) in pairwise(spans):
                assert end <= start, (provider, model, region)


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    plain = gzip.decompress(EMBEDDED.read_bytes())
    path = tmp_path / "plain.json"
    path.write_bytes(plain)
    assert Catalogue.open(path).digest == Catalogue.open(EMBEDDED).digest == hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99}'])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other\.json"):
        Catalogue.open(path)


@cache
def newer() -> bytes:
    content = document()
    content["built"] = "2099-01-01"
    row = next(row for row in content["rows"] if "gpt-4o-mini" in row["models"] and row["provider"] == "openai")
    row["tiers"][0]["batch"]["input"] = "0.001"
    return packed(content)


def test_an_update_is_used_when_its_hash_fits_and_it_is_newer() -> None:
    content = newer()
    install(content, hashlib.sha256(content).hexdigest().upper())
    assert PriceBook().catalogue.built == "2099-01-01"
    changes = list(diff(Catalogue.open(EMBEDDED), PriceBook().catalogue))
    assert {change.bucket for change in changes} == {"input"}
    assert ("openai", "gpt-4o-mini") in {(change.provider, change.model) for change in changes}


@cache
def older() -> bytes:
    return packed({**document(), "built": "2020-01-01"})


def test_an_update_goes_back_in_time_only_by_force() -> None:
    for content in (newer(), packed({**document(), "built": "2098-01-01"})):
        install(newer(), hashlib.sha256(newer()).hexdigest())
        with pytest.raises(ConfigError, match="--force"):
            install(older(), hashlib.sha256(older()).hexdigest())
        assert PriceBook().catalogue.built == "2099-01-01"
        install(content, hashlib.sha256(content).hexdigest(), force=True)
        assert PriceBook().catalogue.built == json.loads(gzip.decompress(content))["built"]
    install(older(), hashlib.sha256(older()).hexdigest(), force=True)
    assert PriceBook().catalogue.built == "2020-01-01"


def test_forced_prices_end_with_the_next_newer_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(older(), hashlib.sha256(older()).hexdigest(), force=True)
    package = tmp_path / "embedded.json"
    package.write_bytes(packed({**document(), "built": "2097-01-01"}))
    monkeypatch.setattr(catalogue, "EMBEDDED", package)
    assert PriceBook().catalogue.built == "2097-01-01"


@pytest.mark.parametrize("content", [b"\x1f\x8bnonsense", b"<html>", b"{}"])
def test_nothing_is_installed_that_is_not_a_catalogue(content: bytes) -> None:
    with pytest.raises(ConfigError):
        install(content, hashlib.sha256(content).hexdigest())
    with pytest.raises(ConfigError, match="nothing was changed"):
        install(newer(), "0" * 64)
    assert not (folder() / NAME).exists()


def test_importing_reads_no_catalogue() -> None:
    code = (
        "import pathlib\n"
        "def no(self): raise SystemExit(f'read {self}')\n"
        "pathlib.Path.read_bytes = no\n"
        "import batchmeter, batchmeter.pricebook.book, batchmeter.pricing.price\n"
        "batchmeter.pricebook.book.PriceBook()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
