"""Build the price catalogue: `build.py newest DIR` takes the newest data packages, builds, and pins what it took.

`fetch DIR` downloads the packages as pinned; `build DIR` compiles them into core/batchmeter/pricebook/data/catalogue.json.gz
and fails where a source disagrees in a way that neither corrections.toml settles nor disputed.toml lists, or lists a
model that the catalogue lacks and disputed.toml does not excuse by name; `--check` writes nothing; `report` prints all.
"""

import argparse
import datetime as dt
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import compare
from borrow import complete, indexed, taken
from corrections import corrected, laid_under
from fill import fill
from litellm_rows import placed, rows
from quotes import SOURCES, Quote

import compiled
from batchmeter.pricebook.book import PriceBook
from batchmeter.pricebook.catalogue import Catalogue

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "core" / "batchmeter" / "pricebook" / "data"
CATALOGUE = DATA / "catalogue.json.gz"
PINS = HERE / "requirements.txt"
MAP = "litellm/model_prices_and_context_window_backup.json"
MAX_BYTES = 100_000
PIP = [sys.executable, "-m", "pip"]
PLATFORM = ["--only-binary=:all:", "--platform=manylinux_2_28_x86_64", "--platform=any", "--python-version=3.12"]
"""The same wheels on every machine, so that their hashes can be pinned: they are read, never installed."""


def fetch(wheels: Path) -> None:
    """The pinned wheels, without their dependencies; pip refuses other bytes than those pinned."""
    _download(wheels, "-r", str(PINS))


def newest(wheels: Path) -> None:
    """The newest wheels, and their versions and hashes as the new pins."""
    for old in wheels.glob("*.whl"):
        old.unlink()
    _download(wheels, *pinned())
    lines = [line for line in PINS.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    for name in pinned():
        content = _path(wheels, name.replace("-", "_")).read_bytes()
        version = _version(_path(wheels, name.replace("-", "_")))
        lines.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}")
    PINS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _download(wheels: Path, *what: str) -> None:
    subprocess.run([*PIP, "download", "-q", "--no-deps", *PLATFORM, "-d", str(wheels), *what], check=True)  # noqa: S603 - our own pins


def pinned() -> dict[str, str]:
    """Package -> version."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", PINS.read_text(encoding="utf-8"), re.MULTILINE))


def wheel(wheels: Path, package: str) -> zipfile.ZipFile:
    """One downloaded wheel, open."""
    return zipfile.ZipFile(_path(wheels, package))


def _path(wheels: Path, package: str) -> Path:
    return max(wheels.glob(f"{package}-*.whl"), key=lambda path: path.stat().st_mtime)


def _version(path: Path) -> str:
    return path.name.split("-")[1]


def litellm_map(wheels: Path) -> dict[str, dict[str, Any]]:
    """The price map out of LiteLLM's wheel, digits kept."""
    with wheel(wheels, "litellm") as package:
        price_map: dict[str, dict[str, Any]] = json.loads(package.read(MAP), parse_float=Decimal)
        return price_map


def build(wheels: Path, day: str) -> bytes:
    """The catalogue's bytes, as of a UTC day."""
    book = toml("corrections.toml")
    prices = indexed(all_quotes(wheels, day))
    listed = list(rows(litellm_map(wheels)))
    listed += [(row, {}) for row in taken(book["take"], [row for row, _ in listed], prices)]
    made = [row for row, _ in listed]
    complete(made, prices)
    for row, entry in listed:
        fill(row, entry)
    laid_under(made, book["term"])
    final = corrected(made, book["correction"])
    sources = {name: f"https://pypi.org/project/{name}/{version}/" for name, version in pinned().items()}
    content = compiled.packed(compiled.document(final, built=day, sources=sources, factors=book["factors"]))
    if len(content) > MAX_BYTES:
        raise SystemExit(f"the catalogue has grown to {len(content)} bytes; it has to stay under {MAX_BYTES}")
    return content


def toml(name: str) -> dict[str, Any]:
    """One of our own data files."""
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"), parse_float=Decimal)


def all_quotes(wheels: Path, day: str) -> list[Quote]:
    """Every other source's numbers; a zero is no price there either."""
    return [quote for name, read in SOURCES.items() for quote in read(wheel(wheels, name), day) if quote.rate]


def report(wheels: Path, catalogue: Path) -> compare.Report:
    """The catalogue compared with the other sources."""
    disputes = toml("disputed.toml")
    book = PriceBook(catalogue=catalogue)
    day = book.catalogue.built
    known = {(provider, model) for (provider, model, _, _), _ in placed(litellm_map(wheels))}
    return compare.compare(
        book,
        all_quotes(wheels, day),
        known,
        dt.date.fromisoformat(day),
        toml("corrections.toml")["correction"],
        disputes["dispute"],
        disputes.get("absent", []),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("newest", "fetch", "build", "report"))
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the catalogue would change")
    options = parser.parse_args()
    if options.command == "report":
        print("\n".join(compare.lines(report(options.wheels, CATALOGUE))))
        return
    if options.command == "fetch":
        fetch(options.wheels)
        return
    if options.command == "newest":
        newest(options.wheels)
    _build(options.wheels, check=options.check)


def _build(wheels: Path, *, check: bool) -> None:
    """The day stays that of the catalogue in place, unless there are other prices."""
    before = gzip.decompress(CATALOGUE.read_bytes())
    content = build(wheels, json.loads(before)["built"])
    changed = gzip.decompress(content) != before  # zlibs pack differently
    if check and changed:
        raise SystemExit("catalogue.json.gz is not what its sources say; run build.py build")
    if changed:
        CATALOGUE.write_bytes(build(wheels, dt.datetime.now(dt.UTC).date().isoformat()))
    found = report(wheels, CATALOGUE)
    print(", ".join(f"{name} {version}" for name, version in pinned().items()))
    print(f"{CATALOGUE.name}: {len(content)} bytes, digest {Catalogue.open(CATALOGUE).digest}")
    print(f"{found.agreeing} numbers agree, {len(found.settled)} settled, {len(found.disputed)} disputed")
    print(f"{len(found.excused)} models that a source lists are absent, each excused in disputed.toml")
    _fail(found)


def _fail(found: compare.Report) -> None:
    """SystemExit where something waits for somebody to look at it."""
    troubles = {
        "disputed.toml lists what nobody disputes or lacks": found.stale,
        "open disagreements; settle each in corrections.toml or list it in disputed.toml": [*map(str, found.open)],
        "models that a source lists and the catalogue lacks; price each, or excuse it in disputed.toml": found.lacking,
    }
    text = [f"{len(lines)} {title}:\n  " + "\n  ".join(lines) for title, lines in troubles.items() if lines]
    if text:
        raise SystemExit("\n".join(text))


if __name__ == "__main__":
    main()
