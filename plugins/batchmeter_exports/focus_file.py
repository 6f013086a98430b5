"""A FOCUS bill on disk: data, unknown costs and manifest, each whole or not there; and corrections of earlier ones."""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from batchmeter.access import Access
from batchmeter.errors import UsageError

from .charges import EXACT
from .flat import plain
from .focus import UNKNOWN_COLUMNS, FocusBill, FocusOptions
from .focus_columns import AMOUNTS, Row, billing_period, header
from .parquet import convert

Manifest = dict[str, Any]
_CHANGING = frozenset({*AMOUNTS, "ChargeClass", "BillingPeriodStart", "BillingPeriodEnd"})
_SAME = ("version", "grain", "day_of", "period", "accounts")
"""Of a manifest: what a bill and its corrections have in common."""


class Sheet:
    """A CSV or Parquet file, by its name, that has this name once it is whole."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._columns = path, columns
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        self._file = self._unfinished.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(columns)
        self._rows = 0

    def add(self, row: Row) -> None:
        self._writer.writerow([row[name] for name in self._columns])
        self._rows += 1

    def finish(self) -> dict[str, str]:
        """Name and SHA-256 of the file."""
        self._file.close()
        if self.path.suffix == ".parquet":
            rows = self._unfinished.with_name(f"{self._unfinished.name}.csv")
            self._unfinished.replace(rows)
            try:
                convert(rows, self._columns, self._unfinished, self._rows)
            finally:
                rows.unlink()
        digest = sha256_of(self._unfinished)
        self._unfinished.replace(self.path)
        return {"name": self.path.name, "sha256": digest}

    def drop(self) -> None:
        self._file.close()
        with suppress(OSError):
            self._unfinished.unlink()


async def write_bill(access: Access, options: FocusOptions, folder: Path) -> Manifest:
    """The whole time again: a restatement of what was written for it before. Returns the manifest."""
    bill, period = FocusBill(options), options.span.name
    sheet = Sheet(folder / f"costandusage_{period}.{options.form}", header(options.version))
    try:
        async for row in bill.rows(access):
            sheet.add(row)
    except BaseException:
        sheet.drop()
        raise
    manifest = folder / f"manifest_{period}.json"
    earlier: Manifest = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
    written = _unknown_file(bill, folder / f"unknown_{period}.csv")
    document = _manifest("restatement", bill, access.now(), [sheet.finish(), *written], bill.count, bill.known)
    document["previous_sha256"] = earlier["files"][0]["sha256"] if earlier else None
    _save(manifest, document)
    return document


async def write_corrections(access: Access, options: FocusOptions, folder: Path, since: Sequence[Path]) -> Manifest:
    """Only how the time differs now from the bill and the corrections of these manifests; UsageError for others'."""
    before = _Sums()
    for manifest in since:
        before.take(_rows_of(manifest, options))
    bill, period, number = FocusBill(options), options.span.name, len(since)
    now = _Sums()
    async for row in bill.rows(access):
        now.add(row)
    name = f"{period}_correction_{number}"
    sheet, count, total = Sheet(folder / f"costandusage_{name}.{options.form}", header(options.version)), 0, Decimal(0)
    for row in now.less(before, datetime.fromtimestamp(access.now() / 1000, UTC).date()):
        sheet.add(row)
        count += 1
        with localcontext(EXACT):
            total += Decimal(row["BilledCost"])
    written = _unknown_file(bill, folder / f"unknown_{name}.csv")
    document = _manifest("corrections", bill, access.now(), [sheet.finish(), *written], count, total)
    document["since"] = [sha256_of(path) for path in since]
    _save(folder / f"manifest_{name}.json", document)
    return document


class _Sums:
    """Rows by all that tells them apart, their amounts added up."""

    def __init__(self) -> None:
        self.rows: dict[tuple[tuple[str, str], ...], dict[str, Decimal]] = {}

    def take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        key = tuple((name, text) for name, text in row.items() if name not in _CHANGING)
        sums = self.rows.setdefault(key, {})
        with localcontext(EXACT):
            for name in AMOUNTS:
                if row.get(name):
                    sums[name] = sums.get(name, Decimal(0)) + Decimal(row[name])

    def less(self, before: "_Sums", today: date) -> Iterable[Row]:
        """Rows of class Correction in today's billing period, for the charge period that they correct."""
        for key in sorted(self.rows.keys() | before.rows.keys()):
            ours, theirs = self.rows.get(key, {}), before.rows.get(key, {})
            with localcontext(EXACT):
                changed = {name: ours.get(name, Decimal(0)) - theirs.get(name, Decimal(0)) for name in ours | theirs}
            if any(changed.values()):
                blank = dict.fromkeys(AMOUNTS, "")
                amounts = {name: plain(amount) for name, amount in changed.items()}
                yield {**blank, **dict(key), **amounts, "ChargeClass": "Correction", **billing_period(today)}


def _rows_of(manifest: Path, options: FocusOptions) -> list[Row]:
    try:
        document: Manifest = json.loads(manifest.read_text("utf-8"))
        named = document["files"][0]
        data = manifest.with_name(named["name"])
        digest = sha256_of(data)
        known = named["sha256"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{manifest} is no manifest of an export with its file beside it: {error}") from None
    if digest != known:
        raise UsageError(f"{data} is not the file that {manifest.name} describes: it was changed since it was written")
    options_here = _about(options)
    if data.suffix != ".csv":
        raise UsageError(f"{data} is Parquet: corrections are made from CSV; write the bill with --format csv, too")
    other = [name for name in _SAME if document.get(name) != options_here[name]]
    if other:
        differences = ", ".join(f"{name} {document.get(name)!r} and not {options_here[name]!r}" for name in other)
        raise UsageError(f"{manifest} is about something else: {differences}")
    with data.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _about(options: FocusOptions) -> Manifest:
    return {
        "version": options.version,
        "grain": options.grain,
        "day_of": options.day_of,
        "period": options.span.name,
        "accounts": sorted(options.accounts),
    }


def _manifest(
    kind: str, bill: FocusBill, now: int, files: Sequence[Mapping[str, str]], rows: int, billed: Decimal
) -> Manifest:
    return {
        "object": "batchmeter.focus",
        "dataset": "Cost and Usage",
        "kind": kind,
        **_about(bill.options),
        "made_at": datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "files": list(files),
        "rows": rows,
        "billed_cost_usd": plain(billed),
        "known_cost_usd": plain(bill.known),
        "batches": bill.batches,
        "invented_batches_left_out": bill.invented,
        "price_books": sorted(bill.price_books),
        "unknown": {"rows": len(bill.lacking), "lines": bill.unknown_lines},
    }


def _unknown_file(bill: FocusBill, path: Path) -> list[dict[str, str]]:
    """None where all is known; one of an earlier export goes."""
    if not bill.lacking:
        with suppress(FileNotFoundError):
            path.unlink()
        return []
    sheet = Sheet(path, UNKNOWN_COLUMNS)
    for row in bill.unknown_rows():
        sheet.add(row)
    return [sheet.finish()]


def _save(path: Path, document: Manifest) -> None:
    """Last, so that a manifest's files are there."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    unfinished.replace(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
