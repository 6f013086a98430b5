"""The views of the exports: the same figures on both engines, for the tools that read them, whatever the documents hold."""

import asyncio
import json
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from batchmeter.cli.ledger_copy import copy_ledger
from batchmeter.events import BatchFailed, BatchSucceeded, Outcome, Settlement
from batchmeter.ledger import open_ledger
from batchmeter.models import Attribution, BatchError, BatchErrors, Cost, LineCounts, ModelUsage, Usage
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.spend.spend import Spend
from batchmeter_exports.columns import VIEWS
from batchmeter_exports.views import refresh_views

STORES = ("exports",)
SHARES = {
    "gpt-5-mini": ModelUsage(
        lines=2, usage=Usage(input_tokens=30, output_tokens=7), cost=Decimal("0.000000000000000003"),
        list_price=Decimal("0.000000000000000006"),
    ),
    'odd "name"': ModelUsage(lines=1, usage=Usage(input_tokens=5), known=Decimal("1.999999999999999999"), unknown={"missing_rate": 1}),
}  # fmt: skip
KNOWN = Decimal("2.000000000000000002")


def outcome(total: str | None = None, known: Decimal = KNOWN, models: Any = None) -> dict[str, Any]:
    return {
        "request_counts": LineCounts(total=4, succeeded=3, failed=1),
        "usage": Usage(input_tokens=35, output_tokens=7),
        "cost": Cost(total=total, known=known, unknown={} if total else {"missing_rate": 1}, price_book="abc"),
        "models": SHARES if models is None else models,
    }


async def settle(make: Any, ledger: Any, batch: Any, account: str = "openai", revision: int = 1, **given: Any) -> None:
    """One batch, or a later revision of it."""
    shown = batch.model_copy(update={"status": "completed"})
    about = {"account": account, "provider": "openai", "batch_id": batch.id, "batch": shown, "revision": revision}
    fields = {**outcome(), **given}
    now = datetime.fromtimestamp(make.clock.now / 1000, UTC)
    settlement = Settlement(status="completed", settled_at=now, **about, **fields)
    event = make.event(
        BatchSucceeded, account, shown, revision, **{name: getattr(settlement, name) for name in Outcome.model_fields}
    )
    if revision > 1:
        assert await ledger.revise(settlement, {}, event)
        return
    claim = await ledger.claim(account, batch.id, owner="w", lease_seconds=60)
    assert await ledger.settle(claim, settlement, {}, event)


@pytest.fixture
async def viewed(ledger: Any, make: Any, clock: Any, attribution: Attribution) -> Any:
    """A ledger with its views: one batch settled, one revised, one open; the sums are up to date."""
    clock.now = 1_796_000_000_000
    await refresh_views(ClientHost(Plugins(), ledger))
    first = make.batch("b1", created_at=1_795_999_000)
    await make.record(ledger, batch=first, attribution=attribution, metadata={"team": "search"})
    await settle(make, ledger, first)
    second = make.batch("b2")
    await make.record(ledger, account="other", batch=second)
    await settle(
        make,
        ledger,
        second,
        "other",
        models={"m": ModelUsage(lines=3, cost=Decimal(1))},
        cost=Cost(total=1, known=1),
    )
    half = Decimal("0.5")
    revised = {"models": {"m": ModelUsage(lines=3, cost=half)}, "cost": Cost(total=half, known=half)}
    await settle(make, ledger, second, "other", revision=2, **revised)
    await make.record(ledger, batch=make.batch("b3"))
    await Spend(ledger).roll()
    return ledger


def query(url: str, statement: str) -> list[dict[str, Any]]:
    """As a tool would: another connection, the public names."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
            connection.execute("SET search_path TO batchmeter_v1; SET timezone TO 'UTC'")
            return connection.execute(statement).fetchall()
    with closing(sqlite3.connect(f"file:{url}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement).fetchall()]


def plain(value: Any) -> Any:
    """One spelling for both engines."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return format(value, "f") if isinstance(value, Decimal) else json.loads(value) if value in ("{}", "[]") else value


async def test_a_batch_is_a_row_with_its_newest_revision(viewed: Any, url: str) -> None:
    rows = query(url, "SELECT * FROM v_batch ORDER BY batch_id")
    assert [row["batch_id"] for row in rows] == ["b1", "b2", "b3"]
    one, two, still_open = ({name: plain(value) for name, value in row.items()} for row in rows)
    assert (one["team"], one["user_name"], one["key_id"], one["status"]) == ("search", "ada", "key_1", "completed")
    assert (one["total_usd"], one["known_usd"], one["known_usd_float"]) == (None, str(KNOWN), 2.0)
    assert (one["lines"], one["failed_lines"], one["input_tokens"], one["output_tokens"]) == (4, 1, 35, 7)
    assert (one["settled_at"], one["settled_ms"]) == ("2026-11-30T00:53:20.000Z", 1_796_000_000_000)
    unknown = one["unknown"] if isinstance(one["unknown"], dict) else json.loads(one["unknown"])
    assert unknown == {"missing_rate": 1}
    assert (two["revision"], two["total_usd"], two["account"]) == (2, "0.5", "other")
    assert still_open["status"] == "in_progress"
    assert {name for name in ("settled_at", "lines", "known_usd", "revision") if still_open[name] is not None} == set()


async def test_shares_of_models_add_up_to_the_batch(viewed: Any, url: str) -> None:
    rows = query(url, "SELECT * FROM v_batch_model WHERE batch_id = 'b1' ORDER BY lines DESC")
    assert [(row["model"], row["lines"], row["input_tokens"]) for row in rows] == [
        ("gpt-5-mini", 2, 30),
        ('odd "name"', 1, 5),
    ]
    assert sum(Decimal(row["known_usd"]) for row in rows) == KNOWN
    assert [row["total_usd"] is None for row in rows] == [False, True]


async def test_days_add_up_to_the_cost_report(viewed: Any, url: str) -> None:
    rows = query(url, "SELECT * FROM v_spend_day ORDER BY account, model")
    report = await Spend(viewed).report()
    assert sum(Decimal(row["known_usd"]) for row in rows) == report.total.known == KNOWN + Decimal("0.5")
    assert {(row["day"], row["account"], row["model"]) for row in rows if row["lines"]} == {
        ("2026-11-30", "openai", "gpt-5-mini"),
        ("2026-11-30", "openai", 'odd "name"'),
        ("2026-11-30", "other", "m"),
    }
    assert {row["model"]: row["total_usd"] is None for row in rows}['odd "name"']


AMOUNTS = ("0", "7", "0.000000001", "999999999.999999999999999999", "-0.5", "-2", "-1.000000000000000001")


async def test_a_sum_is_exact_to_eighteen_decimals(ledger: Any, make: Any, url: str) -> None:
    await refresh_views(ClientHost(Plugins(), ledger))
    for amount in AMOUNTS:
        cost = Decimal(amount)
        for _ in range(3):  # the parts of three amounts carry over
            batch = make.batch()
            await make.record(ledger, batch=batch, loggers=())
            shares = {f"costs {amount}": ModelUsage(lines=3, cost=cost)}
            await settle(make, ledger, batch, models=shares, cost=Cost(total=cost, known=cost))
    await Spend(ledger).roll()
    rows = query(url, "SELECT model, known_usd FROM v_spend_day WHERE model LIKE 'costs %'")
    assert {row["model"]: Decimal(row["known_usd"]) for row in rows} == {
        f"costs {amount}": 3 * Decimal(amount) for amount in AMOUNTS
    }


async def test_events_and_deliveries_are_rows(viewed: Any, url: str) -> None:
    events = query(url, "SELECT * FROM v_event ORDER BY seq")
    assert [(row["type"], row["batch_id"], row["revision"]) for row in events] == [
        ("acreate_batch", "b1", 1),
        ("batch_success", "b1", 1),
        ("acreate_batch", "b2", 1),
        ("batch_success", "b2", 1),
        ("batch_success", "b2", 2),
        ("acreate_batch", "b3", 1),
    ]
    assert [plain(row["total_usd"]) for row in events if row["batch_id"] == "b2"] == [None, "1", "0.5"]
    deliveries = query(url, "SELECT * FROM v_delivery ORDER BY seq, logger")
    assert {(row["logger"], row["state"]) for row in deliveries} == {("file", "pending")}
    assert {row["event_id"] for row in deliveries} <= {row["event_id"] for row in events}


async def test_columns_are_those_of_the_table_of_columns(viewed: Any, url: str) -> None:
    for view in VIEWS:
        rows = query(url, f"SELECT * FROM {view.name}")
        twins = [(column.name, f"{column.name}_float") for column in view.columns if column.kind == "decimal"]
        expected = {column.name for column in view.columns} | {twin for _, twin in twins}
        assert rows
        assert set(rows[0]) == expected, view.name


async def test_views_come_back_after_a_migration_dropped_them(viewed: Any, url: str) -> None:
    """A migration that changes what a view reads drops it first."""

    async def drop(session: Any) -> None:
        for view in ("v_delivery", "v_event"):
            await session.run(session.statement(f"DROP VIEW {'batchmeter_v1.' if 'postgres' in url else ''}{view}"))
        await session.run(session.statement("ALTER TABLE batchmeter.event ADD COLUMN more integer"))

    await viewed.database.write(drop)
    await refresh_views(ClientHost(Plugins(), viewed))
    assert len(query(url, "SELECT * FROM v_event")) == 6
    assert query(url, "SELECT * FROM v_delivery")


async def test_views_of_an_older_release_are_made_anew(viewed: Any, url: str) -> None:
    async def older(session: Any) -> None:
        text = "UPDATE batchmeter.exports_views SET digest = 'older'"
        await session.run(session.statement(text))
        if "postgres" not in url:
            await session.run(session.statement("DROP VIEW v_batch"))
            await session.run(session.statement("CREATE VIEW v_batch AS SELECT 1 AS one"))

    await viewed.database.write(older)
    await refresh_views(ClientHost(Plugins(), viewed))
    assert query(url, "SELECT account FROM v_batch WHERE batch_id = 'b1'") == [{"account": "openai"}]


async def test_a_copy_of_a_ledger_has_its_views(viewed: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "copy.db")
    target = open_ledger(path)
    await target.open()
    await copy_ledger(viewed, target)
    await refresh_views(ClientHost(Plugins(), target))
    await target.aclose()
    assert len(query(path, "SELECT * FROM v_batch")) == 3


async def test_odd_documents_are_shown_and_damaged_ones_hide_no_other(viewed: Any, make: Any, url: str) -> None:
    odd = make.batch("odd", errors=BatchErrors(data=[BatchError(message="nul \0 and \ud800 and \U0001f600")]))
    await make.record(viewed, batch=odd, metadata={"name": "a\0b"})
    claim = await viewed.claim("openai", "odd", owner="w", lease_seconds=60)
    shown = odd.model_copy(update={"status": "failed"})
    settlement = make.settlement("openai", shown)
    fields = {name: getattr(settlement, name) for name in Outcome.model_fields}
    assert await viewed.settle(claim, settlement, {}, make.event(BatchFailed, "openai", shown, **fields))

    async def damage(session: Any) -> None:
        text = "UPDATE batchmeter.settlement SET settlement = substr(settlement, 1, 40) WHERE revision = 2"
        await session.run(session.statement(text))

    await viewed.database.write(damage)
    rows = {row["batch_id"]: row for row in query(url, "SELECT * FROM v_batch")}
    assert Decimal(rows["odd"]["total_usd"]) == Decimal("0.000738")
    assert (rows["b2"]["status"], rows["b2"]["known_usd"]) == ("completed", None)
    assert len(query(url, "SELECT * FROM v_batch_model")) == 2


async def test_a_user_who_may_make_no_schema_goes_on_without_views(postgres_server: str, caplog: Any) -> None:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS batchmeter, batchmeter_v1 CASCADE")
        connection.execute("DROP ROLE IF EXISTS narrow")
        connection.execute("CREATE ROLE narrow LOGIN")
        connection.execute("GRANT CREATE ON DATABASE postgres TO narrow")
    ledger = open_ledger(postgres_server.replace("ledger@", "narrow@"))
    await ledger.open()
    try:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("REVOKE CREATE ON DATABASE postgres FROM narrow")
        await refresh_views(ClientHost(Plugins(), ledger))
        assert "the views for SQL tools are not made" in caplog.text
        assert "GRANT CREATE ON DATABASE" in caplog.text
    finally:
        await ledger.aclose()
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("DROP SCHEMA batchmeter CASCADE; DROP ROLE narrow")


async def test_a_reader_sees_the_views_and_no_table(viewed: Any, url: str) -> None:
    if "postgres" not in url:
        pytest.skip("a file has no roles")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA batchmeter_v1 TO reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA batchmeter_v1 TO reader")
    command = ["psql", "-X", "-A", "-t", url.replace("ledger@", "reader@"), "-c"]
    shown = "SELECT batch_id, known_usd FROM batchmeter_v1.v_batch WHERE settled_ms > 0 ORDER BY batch_id"
    done = await asyncio.to_thread(subprocess.run, [*command, shown], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"b1|{KNOWN}", "b2|0.5"]
    refused = await asyncio.to_thread(
        subprocess.run, [*command, "SELECT * FROM batchmeter.batch"], capture_output=True, text=True, check=False
    )
    assert "permission denied for schema batchmeter" in refused.stderr
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY reader; DROP ROLE reader")


async def test_pandas_reads_the_views(viewed: Any, url: str) -> None:
    if "postgres" in url:
        pytest.skip("psycopg and psql read there")
    with closing(sqlite3.connect(url)) as connection:
        frame = pd.read_sql("SELECT * FROM v_batch_model", connection, parse_dates=["settled_at"])
    assert sum(map(Decimal, frame.known_usd)) == KNOWN + Decimal("0.5")
    assert frame.groupby("account").input_tokens.sum().to_dict() == {"openai": 35, "other": 0}
    assert str(frame.settled_at.dt.tz) == "UTC"


async def test_duckdb_reads_the_views(viewed: Any, url: str) -> None:
    if "postgres" in url:
        pytest.skip("psycopg and psql read there")
    duckdb, scanner = map(pytest.importorskip, ("duckdb", "duckdb_extension_sqlite_scanner"))
    place = Path(scanner.__file__).parent / "extensions"
    (extension,) = place.rglob("*.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'; ATTACH '{url}' AS ledger (TYPE sqlite, READ_ONLY)")
        found = connection.execute(
            "SELECT account, sum(known_usd::DECIMAL(38, 18)), sum(input_tokens::BIGINT), max(settled_at::TIMESTAMPTZ)::VARCHAR"
            " FROM sqlite_query('ledger', 'SELECT * FROM v_batch_model') GROUP BY account ORDER BY account"
        ).fetchall()
    assert [(account, usd, tokens) for account, usd, tokens, _ in found] == [
        ("openai", KNOWN, 35),
        ("other", Decimal("0.5"), 0),
    ]
