"""PostgreSQL: migrations under a lock, plans that cost the due rows only, restarts survived, plain words for trouble."""

import asyncio
import json
from contextlib import asynccontextmanager

import psycopg
import pytest

from batchmeter.access import Access
from batchmeter.engines import load_migrations
from batchmeter.errors import LedgerError, LedgerTooNewError
from batchmeter.ledger import batches, open_ledger, outbox
from batchmeter.ledger.records import Reschedule
from batchmeter.spend.spend import Spend
from batchmeter_postgres import database, signals
from batchmeter_postgres.database import statements


@pytest.fixture
def url(emptied):
    return emptied()


@pytest.fixture
def bare_url(url):
    """The address of a server without a ledger."""
    run(url, "DROP SCHEMA batchmeter CASCADE")
    return url


async def opened(url):
    ledger = open_ledger(url)
    await ledger.open()
    return ledger


def run(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@asynccontextmanager
async def hearing(url):
    """The topics that another process hears of, from now on; half a minute for all."""
    ledger, heard = await opened(url), asyncio.Queue()
    listener = asyncio.create_task(ledger.listen(heard.put_nowait))
    async with asyncio.timeout(30):
        assert {await heard.get(), await heard.get()} == {"batches", "deliveries"}, "whatever came before"
        yield heard
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    await ledger.aclose()


async def test_of_several_openers_one_migrates(bare_url):
    ledgers = await asyncio.gather(*(opened(bare_url) for _ in range(4)))
    assert {(await Access(ledger).stats())["schema_version"] for ledger in ledgers} == {
        len(load_migrations("batchmeter_postgres"))
    }
    for ledger in ledgers:
        await ledger.aclose()


async def test_the_clock_is_the_server_s(url):
    ledger = await opened(url)
    with psycopg.connect(url) as connection:
        (server,) = connection.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone()
    assert abs(ledger.now() - server) < 1000
    await ledger.aclose()


async def test_opening_takes_one_connection(url):
    """The pool begins with the one that has looked at the schema, and grows for nobody yet."""
    ledger = await opened(f"{url}&application_name=opener")
    await ledger.list_batches()
    assert connections(url) == 1
    await ledger.aclose()


def connections(url):
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'opener'")
        return found.fetchone()[0]


async def test_hints_wait_for_a_connection_that_is_free(url, make, monkeypatch):
    monkeypatch.setattr(signals, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr(signals, "GATHERED_AT_MOST", 10**6)
    ledger = await opened(f"{url}&application_name=opener")
    for _ in range(30):
        await make.record(ledger)
    assert connections(url) == 1
    await ledger.aclose()


async def test_hints_are_told_while_every_connection_works(url, make, monkeypatch):
    monkeypatch.setattr(signals, "GATHER_SECONDS", 0.001)
    ledger = await opened(url)
    async with hearing(url) as heard:
        told = asyncio.Event()

        async def hold(session):
            ledger.database._announcer.announce(["batches"])
            await told.wait()

        holding = asyncio.create_task(ledger.database.write(hold))
        assert await heard.get() == "batches"
        told.set()
        await holding
    await ledger.aclose()


async def test_a_newer_ledger_is_refused(url):
    run(url, "INSERT INTO batchmeter.schema_version VALUES (999, '0999_future.sql', 'x', 0)")
    with pytest.raises(LedgerTooNewError, match="999"):
        await opened(url)
    run(url, "DELETE FROM batchmeter.schema_version WHERE version = 999")


async def test_no_password_shows(url):
    secret = "postgresql://me:s3cret@127.0.0.1:1/db?password=s3cret&connect_timeout=1"
    ledger = open_ledger(secret)
    with pytest.raises(LedgerError, match="cannot be reached") as caught:
        await ledger.open()
    for text in (str(caught.value), repr(ledger), ledger.url):
        assert "s3cret" not in text
    assert ledger.url == "postgresql://me@127.0.0.1:1/db"
    with pytest.raises(LedgerError) as caught:
        open_ledger("postgresql://me:s3cret@host:port:1/db?x=y")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("/postgres?", "/missing?"), "createdb"),
        (lambda url: url.replace("ledger@", "nobody@"), "does not know this user"),
    ],
)
async def test_wrong_addresses_are_explained(url, change, words):
    with pytest.raises(LedgerError, match=words):
        await opened(change(url))


async def test_a_user_without_rights_is_told_which(bare_url):
    url = bare_url
    run(url, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN", "REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    with pytest.raises(LedgerError, match="GRANT"):
        await opened(url.replace("ledger@", "guest@"))


async def test_a_nul_in_an_id_is_explained(url):
    ledger = await opened(url)
    with pytest.raises(LedgerError, match="NUL"):
        await ledger.get_batch("a\x00b")
    await ledger.aclose()


async def test_lost_connections_are_replaced_without_a_pause(url, make, monkeypatch):
    """A whole pool of them, as a restart leaves it, by each of several calls at once."""
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.0)
    ledger = await opened(url)
    await asyncio.gather(*(make.record(ledger) for _ in range(10)))
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'ledger'"
    run(url, kill)
    await asyncio.gather(*(make.record(ledger) for _ in range(10)))
    assert len(await ledger.list_batches()) == 20
    await ledger.aclose()


async def test_a_snapshot_meets_no_dead_connection(url, monkeypatch):
    """The pool is full of them after a restart: nobody has used them since."""
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.0)
    ledger = await opened(f"{url}&application_name=opener")

    async def read():
        async with ledger.database.snapshot() as reader:
            await full.wait()
            return await reader.read(lambda session: session.rows("spend_state"))

    try:
        full = asyncio.Barrier(4)
        await asyncio.gather(*(read() for _ in range(4)))
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'opener'"
        run(url, kill)
        assert all(await asyncio.gather(*(read() for _ in range(4))))
    finally:
        await ledger.aclose()


async def test_a_restart_of_the_server_loses_nothing_that_was_promised(url, postgres_cluster, make):
    ledger = await opened(url)
    promised, half_way = [], asyncio.Event()

    async def submit():
        for _ in range(20):
            promised.append((await make.record(ledger)).batch_id)
            if len(promised) == 60:
                half_way.set()

    writers = asyncio.gather(*(submit() for _ in range(6)))
    await half_way.wait()
    await asyncio.to_thread(postgres_cluster.restart)
    await writers
    assert {tracked.batch_id for tracked in await ledger.list_batches(limit=1000)} == set(promised)
    assert len(await ledger.events()) == len(set(promised)) == 120
    await ledger.aclose()


async def test_a_lost_connection_does_not_swallow_a_cancellation(url):
    ledger, waiting = await opened(url), asyncio.Event()

    async def attempt():
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise psycopg.OperationalError("the rollback found the connection gone") from None

    task = asyncio.create_task(ledger.database._patiently(attempt))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    await ledger.aclose()


async def test_events_wait_for_writers_and_writers_for_no_reader(url, make):
    ledger, other = await opened(url), await opened(url)
    begun, free = asyncio.Event(), asyncio.Event()
    first = make.batch("b1")

    async def slowly(session):
        await batches.record_created(session, make.submission(), first, make.created("openai", first), (), 0, None)
        begun.set()
        await free.wait()

    async def page(session):
        found = await outbox.events(session)
        await asyncio.wait_for(make.record(other, batch=make.batch("b3")), 30)
        return found

    writing = asyncio.create_task(other.database.write(slowly))
    await begun.wait()
    await make.record(ledger, batch=make.batch("b2"))
    reading = asyncio.create_task(ledger.database.read(page))
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
            assert not reading.done(), "an event is on its way"
            await asyncio.sleep(0.01)  # a lock wakes nobody
    free.set()
    assert [stored.event.batch_id for stored in await reading] == ["b1", "b2"]
    assert [stored.event.batch_id for stored in await ledger.events(after=2)] == ["b3"]
    await writing
    await ledger.aclose()
    await other.aclose()


async def test_other_processes_hear_of_new_work(url, make):
    ledger = await opened(url)
    async with hearing(url) as heard:
        tracked = await make.record(ledger)
        assert {await heard.get(), await heard.get()} == {"batches", "deliveries"}
        await ledger.wake("openai", tracked.batch_id)
        assert await heard.get() == "batches"
        await ledger.replay("file")
        assert await heard.get() == "deliveries"
    await ledger.aclose()


async def test_closing_tells_others_at_once(url, make, monkeypatch):
    monkeypatch.setattr(signals, "GATHER_SECONDS", 300.0)
    ledger = await opened(url)
    async with hearing(url) as heard:
        await make.record(ledger)
        await ledger.aclose()
        assert {await heard.get(), await heard.get()} == {"batches", "deliveries"}


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'ledger'"


@pytest.fixture
def as_when_large(url):
    """Plans as in a large ledger; a deadlock outlasts the test."""
    run(url, "ALTER ROLE ledger SET deadlock_timeout = '5min'")
    for plan in ("hashjoin", "mergejoin", "seqscan"):
        run(url, f"ALTER ROLE ledger SET enable_{plan} = off")
    yield url
    run(url, "ALTER ROLE ledger RESET ALL")


async def test_renewing_settling_and_releasing_the_same_batches_never_deadlock(as_when_large, make):
    url = as_when_large
    ledger = await opened(url)
    for number in range(30):
        await make.record(ledger, batch=make.batch(f"b{number:02}"))
    claims = await ledger.claim_due(owner="w", limit=30, lease_seconds=60)
    with psycopg.connect(url) as middle, psycopg.connect(url, autocommit=True) as watch:
        middle.execute("SELECT 1 FROM batchmeter.batch WHERE batch_id = 'b15' FOR UPDATE")
        async with asyncio.timeout(30):
            work = [
                asyncio.gather(*(make.settle_claim(ledger, claim) for claim in reversed(claims))),
                asyncio.create_task(ledger.renew(claims, lease_seconds=60)),
                asyncio.create_task(ledger.reschedule([Reschedule(claim, ledger.now()) for claim in reversed(claims)])),
                asyncio.create_task(ledger.put_off("openai", [(f"b{n:02}", 2**60) for n in (20, 2)], began=2**60)),
            ]
            while watch.execute(WAITING).fetchone()[0] < 3:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
            middle.rollback()
            settled, renewed, released, _ = await asyncio.gather(*work)
    assert len(settled) == 30
    assert sum(settled) + released == 30, "each batch's claim ended once"
    assert len(renewed) <= 30
    await ledger.aclose()


FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO batchmeter.batch
    (account, batch_id, submission, snapshot, status, ended, recorded_at, next_poll_at, settled_at)
SELECT 'account' || n % 20, 'b' || n, '{}', '{}', 'in_progress', 0, n,
    CASE WHEN n % 10 = 0 THEN 1000000 + n END, CASE WHEN n % 10 <> 0 THEN n END
FROM generate_series(1, 20000) AS n;
INSERT INTO batchmeter.event (id, type, account, batch_id, revision, recorded_at, payload)
SELECT 'e' || n, 'acreate_batch', 'a', 'b' || n, 1, n, '' FROM generate_series(1, 20000) AS n;
INSERT INTO batchmeter.delivery (event_seq, logger, state, next_attempt_at)
SELECT n, 'file', CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'delivered' END, CASE WHEN n % 100 = 0 THEN n END
FROM generate_series(1, 20000) AS n;
ANALYZE batchmeter.batch, batchmeter.event, batchmeter.delivery;
"""
CLAIMS = {
    "due_batches": ({"account": ["account0", "account10"], "limit": 400}, "batch_due"),
    "next_due": ({"account": ["account0"]}, "batch_due"),
    "open_accounts": ({}, "batch_due"),
    "claim_batches": ({"pk": list(range(10, 4000, 10)), "limit": 100, "lease": 1, "owner": "w"}, "batch_pkey"),
    "claim_deliveries": ({"logger": "file", "limit": 100, "lease": 1, "owner": "d"}, "delivery_due"),
    "next_delivery": ({"logger": ["file"]}, "delivery_due"),
}


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_claims_among_many_rows_cost_the_due_ones(url):
    """So many that the planner would read a table whole for none of these, had it an index that fits."""
    known = statements()
    with psycopg.connect(url) as connection:
        for statement in filter(str.strip, FILL.split(";")):
            connection.execute(statement)
        for name, (parameters, index) in CLAIMS.items():
            values = {"now": 2_000_000, **parameters}
            query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {known[name].text(values)}"
            ((found,),) = connection.execute(query, values).fetchall()
            plan = found[0]["Plan"]
            used = {node.get("Index Name") for node in nodes(plan)}
            assert index in used, (name, json.dumps(plan, indent=1))
            scans = [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]
            assert scans == [], (name, scans)
        connection.rollback()


SETTLED = """
INSERT INTO batchmeter.settlement (batch_pk, revision, recorded_at, settlement, line_groups)
SELECT pk, 1, 1, '{}', '[]' FROM batchmeter.batch WHERE settled_at IS NOT NULL
"""
PAGES = {
    "list_settlements": {"since": 100, "after_time": 3001, "after_pk": 3001, "limit": 25},
    "list_costs": {"since": 100, "after_time": 3001, "after_pk": 3001, "limit": 25},
    "get_batch": {"batch_id": "unknown"},
    "get_settlement": {"batch_id": "b5001"},
    "claim_batches": {"pk": list(range(10, 4010, 10)), "limit": 25, "lease": 1, "owner": "w"},
}


UNKNOWN = (
    "DELETE FROM pg_statistic WHERE starelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'batchmeter'::regnamespace)",
    "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relnamespace = 'batchmeter'::regnamespace AND relkind = 'r'",
)
"""As before the first vacuum, which other tests' rows may have brought about."""


async def test_a_ledger_too_young_for_statistics_is_read_in_pages_all_the_same(url):
    known, sized = statements(), FILL.replace("'{}', '{}', 'in", "'{}', repeat('x', 1000), 'in")  # as snapshots are
    with psycopg.connect(url) as connection:
        for statement in (*UNKNOWN, *filter(str.strip, sized.split(";")[:2]), SETTLED):
            connection.execute(statement)
        for name, parameters in PAGES.items():
            values = {"now": 2_000_000, **parameters}
            query = f"EXPLAIN (ANALYZE, FORMAT JSON) {known[name].text(values)}"
            ((found,),) = connection.execute(query, values).fetchall()
            plan = found[0]["Plan"]
            read = max(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in nodes(plan)
            )
            assert read <= 1000, (name, [(n["Node Type"], n["Actual Rows"], n["Actual Loops"]) for n in nodes(plan)])
        connection.rollback()


SEE_COMMITS = """
CREATE TABLE seen (synchronous text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END$$;
CREATE TRIGGER see AFTER INSERT OR UPDATE ON batchmeter.spend_mark FOR EACH ROW EXECUTE FUNCTION see()
"""


async def test_a_change_of_the_sums_outlives_a_crash_of_the_server(url, make):
    """Its number says which sums a process has in memory: lost, it would be given to other sums."""
    run(url, SEE_COMMITS)
    ledger = await opened(url)
    await make.settle(ledger, await make.record(ledger, loggers=()), loggers=())
    assert await Spend(ledger).roll() == 1
    await ledger.aclose()
    with psycopg.connect(url) as connection:
        assert set(connection.execute("SELECT synchronous FROM seen").fetchall()) == {("on",)}


async def test_a_pool_that_never_opens_leaves_no_connection(url, monkeypatch):
    """Cancelled before the pool took the connection that found the ledger in order."""
    opening = asyncio.Future()

    async def hang(pool, **options):
        opening.set_result(pool.kwargs["made"])
        await asyncio.Event().wait()

    monkeypatch.setattr("psycopg_pool.AsyncConnectionPool.open", hang)
    task = asyncio.create_task(opened(url))
    (first,) = await opening
    assert not first.closed
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert first.closed


@pytest.mark.parametrize("notes", [(), ("invented",)], ids=["real", "sandbox"])
async def test_rows_and_total_of_a_report_are_of_one_moment(url, make, monkeypatch, notes):
    """Batches end between the statements that read them."""
    ledger, other = await opened(url), await opened(url)
    rows, ended = database.PostgresSession.rows, []

    async def end_one():
        tracked = await make.record(other, loggers=())
        claim = await other.claim(tracked.account, tracked.batch_id, owner="w", lease_seconds=60)
        batch = tracked.batch.model_copy(update={"status": "completed"})
        settlement = make.settlement(tracked.account, batch).model_copy(update={"notes": notes})
        assert await other.settle(claim, settlement, {}, make.ending(tracked.account, batch))
        assert await Spend(other).roll() == 1

    async def read_and_end_one(session, statement, **parameters):
        found = await rows(session, statement, **parameters)
        if getattr(statement, "name", "") == "generated" and found and len(ended) < 2:
            ended.append(statement)
            await end_one()
        return found

    await end_one()
    monkeypatch.setattr(database.PostgresSession, "rows", read_and_end_one)
    report = await Spend(ledger).report(group_by="account")
    assert len(ended) == 2
    assert [row.batches for row in report.data] == [report.total.batches]
    assert (await Spend(ledger).report(group_by="account")).total.batches == 3
    for each in (ledger, other):
        await each.aclose()
