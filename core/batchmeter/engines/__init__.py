"""For plugins that open ledgers: an engine's statements and schema changes, read from its package's SQL files."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from batchmeter.errors import LedgerError, LedgerTooNewError
from batchmeter.ledger.session import Statement, split_statements


@cache
def load_statements(package: str, file: str, words: tuple[tuple[str, str], ...] = ()) -> Mapping[str, Statement]:
    """Every statement by name: those that engines share, in PostgreSQL's words, and the engine's own in `file`.

    `words` are pairs of a pattern and its replacement that turn PostgreSQL's words into the engine's.
    """
    shared = (files("batchmeter.ledger") / "sql" / "queries.sql").read_text("utf-8")
    found = split_statements(f"{translate(shared, words)}\n{(files(package) / file).read_text('utf-8')}")
    return {name: Statement(name, body) for name, body in found.items()}


def translate(text: str, words: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in words:
        text = re.sub(pattern, replacement, text)
    return text


_FILE = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return _checksum(self.sql)


@cache
def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def load_migrations(package: str) -> tuple[Migration, ...]:
    """Migrations in the package's folder `migrations`, in order.

    They are read as text, so that a checkout's line endings do not change a checksum.
    """
    found = [
        Migration(int(match[1]), entry.name, entry.read_text("utf-8"))
        for entry in (files(package) / "migrations").iterdir()
        if (match := _FILE.fullmatch(entry.name))
    ]
    return tuple(sorted(found, key=lambda migration: migration.version))


def no_ledger(url: str) -> LedgerError:
    return LedgerError(f"{url}: there is no ledger; check --ledger, BATCHMETER_LEDGER or the settings file")


def not_text(url: str, error: UnicodeEncodeError) -> LedgerError:
    return LedgerError(f"{url}: an id holds characters that are not text: {error.object[:80]!r}")


def pending(url: str, known: tuple[Migration, ...], applied: dict[int, str]) -> list[Migration]:
    """Migrations left to apply, given the applied versions' checksums; refuses ledgers this release cannot read."""
    newest = known[-1].version
    if (version := max(applied, default=0)) > newest:
        raise LedgerTooNewError(
            f"{url} has schema version {version}, this batchmeter knows up to {newest}: "
            "upgrade batchmeter (pip install -U batchmeter), or point BATCHMETER_LEDGER at another ledger"
        )
    for migration in known:
        checksum = applied.get(migration.version, migration.checksum)
        if checksum != migration.checksum:
            raise LedgerError(
                f"{url}: migration {migration.name} was applied in another form (checksum {checksum[:12]}, "
                f"this release has {migration.checksum[:12]}): the ledger comes from an unreleased batchmeter; "
                "export what you need with that version and start a new ledger"
            )
    return [migration for migration in known if migration.version not in applied]
