"""The tests' PostgreSQL ledger is emptied for the next test, and made anew only where a test changed its tables."""

import asyncio
from collections.abc import Collection

import psycopg

from batchmeter.ledger import open_ledger
from batchmeter.runtime.plugin_store import open_store
from batchmeter_budgets.tables import MIGRATIONS as BUDGETS
from batchmeter_exports.views import MIGRATIONS as EXPORTS
from batchmeter_proxy.keyring import _sql as proxy

STORES = {"budgets": BUDGETS, "exports": EXPORTS, "proxy": proxy()[0]}
"""Plugins whose tables are made once and kept: to drop and make them takes longer than most tests."""
SHAPE = """
SELECT c.relname, concat_ws(' ', c.relkind, c.oid, c.relchecks, c.relhastriggers, c.relacl::text,
    (SELECT array_agg(a.xmin::text ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid))
FROM pg_class AS c WHERE c.relnamespace = to_regnamespace('batchmeter')
"""
"""Relations: their kind, and the transactions that made their columns, checks and triggers."""
RESTARTS = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'batchmeter'::regnamespace"
Shape = dict[str, str]


class Emptied:
    """`emptied("budgets")`: the server's ledger without rows, with the tables of these plugins and of no others.

    One connection does it for all tests: a new one takes longer than the work.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)
        self.core: Shape = {}
        self.stores: dict[str, Shape] = {}

    def __call__(self, *stores: str) -> str:
        try:
            self._empty(stores)
        except psycopg.OperationalError:  # a test has restarted the server
            self.connection = psycopg.connect(self.url, autocommit=True)
            self._empty(stores)
        return self.url

    def _empty(self, stores: Collection[str]) -> None:
        self.connection.execute("SET session_replication_role = replica; DROP SCHEMA IF EXISTS batchmeter_v1 CASCADE")
        found = self._shape()
        if not self.core or not self.core.items() <= found.items():
            self.connection.execute("DROP SCHEMA IF EXISTS batchmeter CASCADE")
            asyncio.run(_opened(self.url))
            self.core = found = self._shape()
        kept = [name for name in stores if name in self.stores and self.stores[name].items() <= found.items()]
        known = self.core | {name: kind for store in kept for name, kind in self.stores[store].items()}
        self._drop({name: kind for name, kind in found.items() if name not in known})
        self._delete(known, kept)
        for name in set(stores) - set(kept):
            before = self._shape()
            asyncio.run(_opened(self.url, name))
            self.stores[name] = {relation: kind for relation, kind in self._shape().items() if relation not in before}

    def _drop(self, relations: Shape) -> None:
        if tables := _tables(relations):
            self.connection.execute(f"DROP TABLE {', '.join(tables)} CASCADE")

    def _delete(self, relations: Shape, stores: list[str]) -> None:
        tables = set(_tables(relations)) - {"batchmeter.schema_version", "batchmeter.plugin_schema"}
        self.connection.execute("; ".join([*(f"DELETE FROM {table}" for table in tables), RESTARTS]))
        self.connection.execute("DELETE FROM batchmeter.plugin_schema WHERE plugin <> ALL(%s)", [stores])

    def _shape(self) -> Shape:
        found = dict(self.connection.execute(SHAPE).fetchall())
        if "schema_version" in found:
            versions = self.connection.execute("SELECT version FROM batchmeter.schema_version ORDER BY 1").fetchall()
            found["schema_version"] += str(versions)
        return found


def _tables(relations: Shape) -> list[str]:
    return [f"batchmeter.{name}" for name, kind in relations.items() if kind.startswith("r ")]


async def _opened(url: str, store: str | None = None) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    if store is not None:
        await open_store(ledger.database, store, STORES[store], "")
    await ledger.aclose()
