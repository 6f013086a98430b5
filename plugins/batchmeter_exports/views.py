"""The views in the ledger's database: made at startup where they are missing or older, on SQLite and PostgreSQL.

On PostgreSQL they are in the schema `batchmeter_v1`. Columns of version 1 are only ever added, at the end.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import cache

from batchmeter.errors import LedgerError
from batchmeter.host import PluginHost, TableSession

from .columns import VIEWS, Column, View

log = logging.getLogger("batchmeter.exports")

SCHEMA = "batchmeter_v1"
MIGRATIONS = (
    """CREATE TABLE batchmeter.exports_views (
    version integer NOT NULL PRIMARY KEY,
    digest text NOT NULL
);""",
)
_VERSION = 1
_MARK = """
-- name: lock_mark
INSERT INTO batchmeter.exports_views AS known (version, digest) VALUES (%(version)s, '')
ON CONFLICT (version) DO UPDATE SET digest = known.digest RETURNING digest;

-- name: mark
SELECT digest FROM batchmeter.exports_views WHERE version = %(version)s;

-- name: set_mark
UPDATE batchmeter.exports_views SET digest = %(digest)s WHERE version = %(version)s;
"""
_NEWEST = "s.batch_pk = b.pk AND s.revision = (SELECT max(n.revision) FROM batchmeter.settlement AS n WHERE n.batch_pk = b.pk)"
_SUMS = "batchmeter.spend_sum AS t JOIN batchmeter.spend_group AS g ON g.id = t.group_id WHERE t.kind IN (1, 17)"
"""Days of models without labels: 1, and 17 of a sandbox's batches. The columns of `spend_sum` say more."""


async def refresh_views(host: PluginHost) -> None:
    """A ledger whose user may not make them goes on without; the log says so."""
    texts, statements, digest = _views(postgres=host.ledger_url.startswith("postgresql:"))
    try:
        store = await host.store("exports", MIGRATIONS, statements)
        if not await store.read(lambda session: _current(session, digest)):
            await store.write(lambda session: _make(session, digest, [name for name in texts if name != "present"]))
    except LedgerError as error:
        log.warning("exports: the views for SQL tools are not made: %s", error)


@cache
def _views(*, postgres: bool) -> tuple[Mapping[str, str], str, str]:
    """An engine's texts by name, the same as a plugin's statements, and their digest: one for all clients."""
    texts = postgres_views() if postgres else sqlite_views()
    statements = "".join(f"\n-- name: {name}\n{text};\n" for name, text in texts.items())
    return texts, _MARK + statements, hashlib.sha256("\n".join(texts.values()).encode()).hexdigest()


async def _current(session: TableSession, digest: str) -> bool:
    mark, present = await session.row("mark", version=_VERSION), await session.row("present")
    return mark is not None and mark["digest"] == digest and present is not None and present["found"] == len(VIEWS)


async def _make(session: TableSession, digest: str, statements: list[str]) -> None:
    """One process at a time: the others wait for the mark, and find all done."""
    await session.row("lock_mark", version=_VERSION)
    if await _current(session, digest):
        return
    for statement in statements:
        await session.run(statement)
    await session.run("set_mark", version=_VERSION, digest=digest)


# SQLite


@cache
def sqlite_views() -> dict[str, str]:
    """Name -> statement, in the order to run them; `present` counts the views that are there."""
    names = ", ".join(f"'{view.name}'" for view in VIEWS)
    made: dict[str, str] = {}
    for view in VIEWS:
        made[f"drop_{view.name}"] = f"DROP VIEW IF EXISTS {view.name}"
        made[f"make_{view.name}"] = f"CREATE VIEW {view.name} AS {_select(view, _sqlite_columns, _SQLITE[view.name])}"
    return {**made, "present": f"SELECT count(*) AS found FROM sqlite_master WHERE type = 'view' AND name IN ({names})"}


_DOCUMENTS = {
    "submission": "b.submission",
    "settlement": "s.settlement",
    "share": "m.value",
    "event": "CAST(e.payload AS TEXT)",
}
_BATCHES = f"batchmeter.batch AS b LEFT JOIN batchmeter.settlement AS s ON {_NEWEST}"
_SETTLED = f"batchmeter.batch AS b JOIN batchmeter.settlement AS s ON {_NEWEST}"
_DELIVERIES = "batchmeter.delivery AS d JOIN batchmeter.event AS e ON e.seq = d.event_seq"
_SQLITE = {
    "v_batch": _BATCHES,
    "v_batch_model": f"{_SETTLED} JOIN json_each(iif(json_valid(s.settlement), s.settlement, '{{}}'), '$.models') AS m",
    "v_spend_day": _SUMS,
    "v_event": "batchmeter.event AS e",
    "v_delivery": _DELIVERIES,
}
_TYPES = {"integer": "INTEGER", "boolean": "INTEGER"}
_WHOLE = "(t.usd + (t.nano + t.atto / 1000000000) / 1000000000)"
_FRACTION = "((t.nano + t.atto / 1000000000) % 1000000000 * 1000000000 + t.atto % 1000000000)"
_USD = (
    f"CASE WHEN {_WHOLE} < 0 AND {_FRACTION} > 0"
    f" THEN printf('-%d.%018d', -{_WHOLE} - 1, 1000000000000000000 - {_FRACTION})"
    f" ELSE printf('%d.%018d', {_WHOLE}, {_FRACTION}) END"
)
_PLAIN_USD = f"rtrim(rtrim({_USD}, '0'), '.')"
"""18 decimals in 64 bits: a whole number and a fraction, never a float."""
_SQLITE_OWN = {
    "day": "date(t.period * 86400, 'unixepoch')",
    "invented": "(t.kind = 17)",
    "known_usd": _PLAIN_USD,
    "total_usd": f"CASE WHEN t.incomplete = 0 THEN {_PLAIN_USD} END",
}


def _sqlite_columns(column: Column) -> list[str]:
    document, colon, path = column.source.partition(":")
    value = column.source
    if document in _SQLITE_OWN and colon:
        value = _SQLITE_OWN[document]
    elif colon:
        text = _DOCUMENTS[document]
        members = "".join(f'."{name}"' for name in path.split("."))
        value = f"json_extract(iif(json_valid({text}), {text}, NULL), '${members}')"
    elif column.kind == "millis":
        value = f"strftime('%Y-%m-%dT%H:%M:%fZ', {value} / 1000.0, 'unixepoch')"
    shown = [f"CAST({value} AS {_TYPES.get(column.kind, 'TEXT')}) AS {column.name}"]
    return [*shown, f"CAST({value} AS REAL) AS {column.name}_float"] if column.kind == "decimal" else shown


# PostgreSQL

_DOCUMENT = f"""CREATE OR REPLACE FUNCTION {SCHEMA}.document(words text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
$$ BEGIN RETURN regexp_replace(words, '\\\\u(0000|[dD][89a-fA-F][0-9a-fA-F][0-9a-fA-F])', '\\\\ufffd', 'g')::jsonb; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$"""
"""jsonb refuses NUL and lone surrogates, which documents may hold: they are read as U+FFFD. A damaged one is NULL."""


@cache
def postgres_views() -> dict[str, str]:
    """Name -> statement, in the order to run them; `present` counts the views that are there."""
    made = {"make_schema": f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", "make_document": _DOCUMENT}
    for view in VIEWS:
        made[f"make_{view.name}"] = (
            f"CREATE OR REPLACE VIEW {SCHEMA}.{view.name} AS {_select(view, _postgres_columns, _POSTGRES[view.name])}"
        )
    return {**made, "present": f"SELECT count(*) AS found FROM pg_views WHERE schemaname = '{SCHEMA}'"}


def _documents(**texts: str) -> str:
    """Each parsed once a row: OFFSET keeps the planner from writing the call out for every column."""
    parsed = ", ".join(f"{SCHEMA}.document({text}) AS {name}" for name, text in texts.items())
    return f"CROSS JOIN LATERAL (SELECT {parsed} OFFSET 0) AS parsed"


_OF_BATCH = _documents(submission="b.submission", settlement="s.settlement")
_OF_EVENT = _documents(event="convert_from(e.payload, 'UTF8')")
_POSTGRES = {
    "v_batch": f"{_BATCHES} {_OF_BATCH}",
    "v_batch_model": f"{_SETTLED} {_OF_BATCH} CROSS JOIN LATERAL jsonb_each(parsed.settlement -> 'models') AS m",
    "v_spend_day": _SUMS,
    "v_event": f"batchmeter.event AS e {_OF_EVENT}",
    "v_delivery": _DELIVERIES,
}
_POSTGRES_DOCUMENTS = {"share": "m.value"}
_POSTGRES_USD = "(t.usd::numeric + t.nano * 0.000000001 + t.atto * 0.000000000000000001)"
_POSTGRES_OWN = {
    "day": "to_char(date '1970-01-01' + t.period::integer, 'YYYY-MM-DD')",
    "invented": "(t.kind = 17)",
    "known_usd": f"trim_scale({_POSTGRES_USD})",
    "total_usd": f"CASE WHEN t.incomplete = 0 THEN trim_scale({_POSTGRES_USD}) END",
}
_CASTS = {
    "text": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "time": "timestamptz",
    "millis": "timestamptz",
    "boolean": "boolean",
    "json": "jsonb",
}


def _postgres_columns(column: Column) -> list[str]:
    document, colon, path = column.source.partition(":")
    value = column.source
    if document in _POSTGRES_OWN and colon:
        value = _POSTGRES_OWN[document]
    elif colon:
        parsed = _POSTGRES_DOCUMENTS.get(document, f"parsed.{document}")
        value = f"({parsed} {'#>' if column.kind == 'json' else '#>>'} '{{{path.replace('.', ',')}}}')"
    elif column.kind == "millis":
        value = f"to_timestamp({value} / 1000.0)"
    shown = [f"{value}::{_CASTS[column.kind]} AS {column.name}"]
    return [*shown, f"{value}::double precision AS {column.name}_float"] if column.kind == "decimal" else shown


def _select(view: View, columns: Callable[[Column], list[str]], tables: str) -> str:
    return f"SELECT {', '.join(text for column in view.columns for text in columns(column))} FROM {tables}"
