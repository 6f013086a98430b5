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
        self.stores: Collection[str] = ()
        self.shape: Shape = {}

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
        if stores != self.stores or not self.shape or not self.shape.items() <= found.items():
            self.connection.execute("DROP SCHEMA IF EXISTS batchmeter CASCADE")
            asyncio.run(_make(self.url, stores))
            self.stores, self.shape = stores, self._shape()
            return
        if added := _tables(found.keys() - self.shape.keys(), found):
            self.connection.execute(f"DROP TABLE {', '.join(added)} CASCADE")
        tables = _tables(self.shape.keys() - {"schema_version", "plugin_schema"}, self.shape)
        self.connection.execute("; ".join([*(f"DELETE FROM {table}" for table in tables), RESTARTS]))
        self.connection.execute("DELETE FROM batchmeter.plugin_schema WHERE plugin <> ALL(%s)", [list(stores)])

    def _shape(self) -> Shape:
        found = dict(self.connection.execute(SHAPE).fetchall())
        if "schema_version" in found:
            versions = self.connection.execute("SELECT version FROM batchmeter.schema_version ORDER BY 1").fetchall()
            found["schema_version"] += str(versions)
        return found


def _tables(names: Collection[str], shape: Shape) -> list[str]:
    return [f"batchmeter.{name}" for name in names if shape[name].startswith("r ")]


async def _make(url: str, stores: Collection[str]) -> None:
    ledger = open_ledger(url)
    await ledger.open()
    for store in stores:
        await open_store(ledger.database, store, STORES[store], "")
    await ledger.aclose()
