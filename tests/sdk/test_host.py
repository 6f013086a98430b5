"""The host: what a plugin may ask for, tables of its own, and kinds of events of its own."""

import asyncio
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

import batchmeter
from batchmeter import events as models
from batchmeter.cli.ledger_copy import copy_ledger
from batchmeter.config import Settings
from batchmeter.errors import ConfigError, LedgerError, UsageError
from batchmeter.events import PluginEvent, register_event
from batchmeter.hookspecs import hookspec
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter.testing.requests import lines_of

ACCOUNTS = {"sandbox": {"provider": "sandbox", "speed": 1e6}}
MIGRATIONS = (
    """CREATE TABLE batchmeter.budgets_spent (team text PRIMARY KEY, micros bigint NOT NULL);
CREATE INDEX budgets_by_micros ON batchmeter.budgets_spent (micros);""",
    "ALTER TABLE batchmeter.budgets_spent ADD COLUMN note text;",
)
STATEMENTS = """
-- name: add
INSERT INTO batchmeter.budgets_spent AS known (team, micros) VALUES (%(team)s, %(micros)s)
ON CONFLICT (team) DO UPDATE SET micros = known.micros + excluded.micros;

-- name: spent
SELECT team, micros FROM batchmeter.budgets_spent
WHERE true
  AND team = %(team)s -- [team]
ORDER BY team;
"""


class TeamAlert(PluginEvent, frozen=True):
    type: Literal["team_alert"] = "team_alert"
    team: str


@pytest.fixture
async def ledger(tmp_path: Path) -> Any:
    opened = open_ledger(str(tmp_path / "ledger.db"))
    await opened.open()
    yield opened
    await opened.aclose()


@pytest.fixture
def team_alert() -> Any:
    register_event(TeamAlert)
    yield TeamAlert(id="alert-1", time=datetime(2026, 11, 30, tzinfo=UTC), team="search")
    del models._MODELS["team_alert"]


async def spent(store: Any) -> list[tuple[str, int]]:
    return [(row["team"], row["micros"]) for row in await store.rows("spent")]


async def test_a_plugin_keeps_tables_that_are_copied_with_the_ledger(ledger: Any, tmp_path: Path) -> None:
    host = ClientHost(Plugins(), ledger)
    first = await host.store("budgets", MIGRATIONS[:1], STATEMENTS)
    await first.run("add", team="search", micros=5)
    store = await host.store("budgets", MIGRATIONS, STATEMENTS)

    async def both(session: Any) -> int:
        await session.each("add", [{"team": "search", "micros": 1}, {"team": "ads", "micros": 7}])
        return len(await session.rows("spent", team="search"))

    assert await store.write(both) == 1
    assert await spent(store) == [("ads", 7), ("search", 6)]
    target = open_ledger(str(tmp_path / "copy.db"))
    await target.open()
    await copy_ledger(ledger, target)
    again = await ClientHost(Plugins(), target).store("budgets", MIGRATIONS, STATEMENTS)
    assert await spent(again) == [("ads", 7), ("search", 6)]
    await target.aclose()


async def test_a_write_that_fails_leaves_nothing(ledger: Any) -> None:
    store = await ClientHost(Plugins(), ledger).store("budgets", MIGRATIONS, STATEMENTS)

    async def broken(session: Any) -> None:
        await session.run("add", team="search", micros=5)
        await session.run("no_such_statement")

    with pytest.raises(LedgerError, match="no statement 'no_such_statement'; known: add, spent"):
        await store.write(broken)
    assert await spent(store) == []


@pytest.mark.parametrize(
    ("name", "migrations", "error", "message"),
    [
        ("budgets", ("CREATE TABLE batchmeter.batch (x text);",), ConfigError, "has to be named batchmeter.budgets_"),
        ("Bad name", (), ConfigError, "a name is a-z"),
    ],
)
async def test_a_store_of_another_s_name_is_refused(
    ledger: Any, name: str, migrations: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await ClientHost(Plugins(), ledger).store(name, migrations, "")


async def test_a_migration_that_changed_is_refused(ledger: Any) -> None:
    host = ClientHost(Plugins(), ledger)
    await host.store("budgets", MIGRATIONS, STATEMENTS)
    with pytest.raises(LedgerError, match="migration 1 was applied in another form"):
        await host.store("budgets", (MIGRATIONS[0] + " ", MIGRATIONS[1]), STATEMENTS)
    with pytest.raises(LedgerError, match="is at version 2, this plugin knows 1: upgrade it"):
        await host.store("budgets", MIGRATIONS[:1], STATEMENTS)


async def test_once_is_once_until_it_is_taken_back(ledger: Any) -> None:
    one, other = ClientHost(Plugins(), ledger), ClientHost(Plugins(), ledger)
    assert [await one.once("s", "a"), await other.once("s", "a"), await one.once("s", "b")] == [True, False, True]
    await other.not_once("s", "a")
    assert await one.once("s", "a")


async def test_an_event_of_a_plugin_s_kind_is_owed_to_who_handles_it(
    tmp_path: Path, team_alert: TeamAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import ModuleType

    specs = ModuleType("budget_hooks")

    def spec(event: object) -> None: ...

    spec.__name__ = "team_alert"
    specs.team_alert = hookspec(spec)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "budget_hooks", specs)
    heard: list[Any] = []

    class Pager:
        hookspecs = specs

        @batchmeter.hookimpl
        def team_alert(self, event: TeamAlert) -> None:
            heard.append(event)

    class Batches:
        @batchmeter.hookimpl
        def acreate_batch(self, event: object) -> None:
            heard.append(event)

    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False, load=())
    async with batchmeter.AsyncClient(settings=settings, plugins=[Pager(), Batches()], environ={}) as client:
        host = ClientHost(client.plugins, client.ledger, await client.ready())
        assert await host.record(team_alert) is True
        assert await host.record(team_alert) is False
        await client.deliverer.drain(10)
        (stored,) = await host.events(kinds=["team_alert"])
    assert heard == [team_alert]
    assert stored.event == team_alert
    del models._MODELS["team_alert"]
    async with batchmeter.AsyncClient(settings=settings, environ={}) as without:
        (unknown,) = await without.ledger.events()
        assert (unknown.event.type, unknown.event.id) == ("team_alert", "alert-1")
    register_event(TeamAlert)


def test_a_kind_of_ours_is_no_plugin_s() -> None:
    class Mine(PluginEvent, frozen=True):
        type: Literal["acreate_batch"] = "acreate_batch"

    with pytest.raises(ConfigError, match="Mine has no kind of its own"):
        register_event(Mine)


async def test_the_host_is_asked_from_any_loop(tmp_path: Path) -> None:
    got: dict[str, Any] = {}

    class Plugin:
        @batchmeter.hookimpl
        def startup(self, host: Any) -> None:
            got["host"] = host

    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False, load=())
    async with batchmeter.AsyncClient(settings=settings, plugins=[Plugin()], environ={}) as client:
        content = lines_of(2, "gpt-5-mini")
        file = await client.files.create(file=("in.jsonl", content), custom_llm_provider="sandbox")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="sandbox"
        )
        settled = await client.batches.wait(batch.id)

        async def ask() -> None:
            host = got["host"]
            got["settled"] = await host.settlements()
            got["next"] = await host.settlements(after=host.cursor(got["settled"][-1]))
            got["file"] = await host.file_content("sandbox", file.id, max_bytes=50)
            got["totals"] = await host.totals()
            got["events"] = [stored.event.type for stored in await host.events()]

        thread = threading.Thread(target=lambda: asyncio.run(ask()))
        thread.start()
        await asyncio.to_thread(thread.join)
    assert (got["settled"], got["next"]) == ([settled], [])
    assert got["file"] == content[:50]
    assert list(got["totals"]) == []  # the sandbox's costs are made up, and in no sum
    assert got["events"] == ["acreate_batch", "batch_success"]


async def test_startup_may_still_take_the_client(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    got: list[Any] = []

    class Old:
        @batchmeter.hookimpl
        def startup(self, client: Any) -> None:
            got.append(client)

    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False, load=())
    async with batchmeter.AsyncClient(settings=settings, plugins=[Old()], environ={}) as client:
        assert got == [client]
    assert "Old: startup(client) goes away with the next release" in caplog.text


async def test_the_host_reads_sums_of_costs(ledger: Any) -> None:
    host = ClientHost(Plugins.load(Settings(), {}), ledger)
    assert list(await host.spend()) == []
    assert list(await host.spend(["team", "model"], since=0, until=1, where={"tag": None})) == []
    with pytest.raises(UsageError, match="expected one or two of"):
        await host.spend(["colour"])
