"""Build the price catalogue: `build.py fetch DIR` downloads the pinned packages, `build.py build DIR` compiles them.

`build` writes core/batchmeter/pricing/data/catalogue.json.gz; `--check` only says whether it is what it should be.
"""

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tomllib
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import compiled
from corrections import corrected
from fill import fill
from litellm_rows import Row, rows

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "core" / "batchmeter" / "pricing" / "data"
CATALOGUE = DATA / "catalogue.json.gz"
MAP = "litellm/model_prices_and_context_window_backup.json"
MAX_BYTES = 100_000


def fetch(wheels: Path) -> None:
    """The pinned wheels, without their dependencies."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
    subprocess.run([*command, "-r", str(HERE / "requirements.txt")], check=True)  # noqa: S603 - our own pins


def wheel(wheels: Path, package: str) -> zipfile.ZipFile:
    """One downloaded wheel, open."""
    return zipfile.ZipFile(next(wheels.glob(f"{package}-*.whl")))


def litellm_map(wheels: Path) -> dict[str, dict[str, Any]]:
    """The price map out of LiteLLM's wheel, digits kept."""
    with wheel(wheels, "litellm") as package:
        return json.loads(package.read(MAP), parse_float=Decimal)


def base_rows(price_map: dict[str, dict[str, Any]]) -> list[Row]:
    """LiteLLM's rows, completed by the vendors' rules."""
    return [_filled(row, entry) for row, entry in rows(price_map)]


def _filled(row: Row, entry: dict[str, Any]) -> Row:
    fill(row, entry)
    return row


def build(wheels: Path) -> bytes:
    """The catalogue's bytes."""
    book = tomllib.loads((DATA / "corrections.toml").read_text(encoding="utf-8"), parse_float=Decimal)
    made = corrected(base_rows(litellm_map(wheels)), book["correction"])
    content = compiled.packed(compiled.document(made, built=book["built"], sources=book["sources"]))
    if len(content) > MAX_BYTES:
        raise SystemExit(f"the catalogue has grown to {len(content)} bytes; it has to stay under {MAX_BYTES}")
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("fetch", "build"))
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the catalogue would change")
    options = parser.parse_args()
    if options.command == "fetch":
        fetch(options.wheels)
        return
    content = build(options.wheels)
    if options.check and CATALOGUE.read_bytes() != content:
        raise SystemExit("catalogue.json.gz is not what its sources say; run build.py build")
    CATALOGUE.write_bytes(content)
    digest = hashlib.sha256(gzip.decompress(content)).hexdigest()
    print(f"{CATALOGUE.name}: {len(content)} bytes, digest {digest}")


if __name__ == "__main__":
    main()
