"""Build the price catalogue: `build.py fetch DIR` downloads the pinned packages, `build.py build DIR` compiles them.

`build` writes core/batchmeter/pricing/data/catalogue.json.gz and fails when a source disagrees with it in a way that
neither corrections.toml settles nor disputed.toml lists; `--check` writes nothing; `report` prints every disagreement.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import compare
import compiled
from borrow import complete, indexed, taken
from corrections import corrected
from fill import fill
from litellm_rows import rows
from quotes import SOURCES, Quote

from batchmeter.pricing.book import PriceBook
from batchmeter.pricing.catalogue import Catalogue

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
        price_map: dict[str, dict[str, Any]] = json.loads(package.read(MAP), parse_float=Decimal)
        return price_map


def build(wheels: Path) -> bytes:
    """The catalogue's bytes."""
    book = toml("corrections.toml")
    prices = indexed(all_quotes(wheels))
    listed = list(rows(litellm_map(wheels)))
    made = [row for row, _ in listed]
    listed += [(row, {}) for row in taken(book["take"], made, prices)]
    made = [row for row, _ in listed]
    complete(made, prices)
    for row, entry in listed:
        fill(row, entry)
    final = corrected(made, book["correction"])
    content = compiled.packed(compiled.document(final, built=book["built"], sources=book["sources"]))
    if len(content) > MAX_BYTES:
        raise SystemExit(f"the catalogue has grown to {len(content)} bytes; it has to stay under {MAX_BYTES}")
    return content


def toml(name: str) -> dict[str, Any]:
    """One of our own data files."""
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"), parse_float=Decimal)


def all_quotes(wheels: Path) -> list[Quote]:
    """What every other source says."""
    return [quote for name, read in SOURCES.items() for quote in read(wheel(wheels, name))]


def report(wheels: Path, catalogue: Path) -> compare.Report:
    """How the other sources see the catalogue."""
    book, disputes = toml("corrections.toml"), toml("disputed.toml")["dispute"]
    built = date.fromisoformat(book["built"])
    return compare.compare(PriceBook(catalogue=catalogue), all_quotes(wheels), built, book["correction"], disputes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("fetch", "build", "report"))
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the catalogue would change")
    options = parser.parse_args()
    if options.command == "fetch":
        fetch(options.wheels)
    elif options.command == "report":
        print("\n".join(compare.lines(report(options.wheels, CATALOGUE))))
    else:
        _build(options.wheels, check=options.check)


def _build(wheels: Path, *, check: bool) -> None:
    content = build(wheels)
    if check and gzip.decompress(CATALOGUE.read_bytes()) != gzip.decompress(content):  # zlibs pack differently
        raise SystemExit("catalogue.json.gz is not what its sources say; run build.py build")
    if not check:
        CATALOGUE.write_bytes(content)
    found = report(wheels, CATALOGUE)
    print(f"{CATALOGUE.name}: {len(content)} bytes, digest {Catalogue.open(CATALOGUE).digest}")
    print(f"{found.agreeing} numbers agree, {len(found.settled)} settled, {len(found.disputed)} disputed")
    if found.stale:
        raise SystemExit("disputed.toml lists what nobody disputes:\n  " + "\n  ".join(found.stale))
    if found.open:
        listed = "\n  ".join(str(item) for item in found.open)
        raise SystemExit(f"{len(found.open)} open disagreements; settle or list each:\n  {listed}")


if __name__ == "__main__":
    main()
