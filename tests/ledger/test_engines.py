"""A ledger's URL scheme is opened by whichever plugin registered it."""

import pytest

from batchmeter import AsyncClient, hookimpl
from batchmeter.errors import ConfigError, LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.ledger.sqlite import SqliteDatabase, wall_clock
from batchmeter.plugins import Plugins


class Elsewhere:
    """A stranger's plugin that opens elsewhere://PATH."""

    @hookimpl
    def register_ledgers(self, register):
        register("elsewhere", lambda url, clock: SqliteDatabase(url.partition("://")[2], clock=clock or wall_clock))


async def test_a_client_opens_the_ledger_of_a_plugin(tmp_path):
    path = tmp_path / "there.db"
    async with AsyncClient(ledger=f"elsewhere://{path}", plugins=[Elsewhere()], environ={}) as client:
        assert client.ledger.url == f"sqlite:///{path}"
    assert path.exists()


def test_a_scheme_has_one_engine():
    plugins = Plugins()
    plugins.register(Elsewhere(), "first")
    with pytest.raises(ConfigError, match="second.*elsewhere://"):
        plugins.register(Elsewhere(), "second")


def test_postgresql_is_a_plugin_found_by_its_scheme():
    assert open_ledger("postgres://host/db").url == open_ledger("postgresql://host/db").url == "postgresql://host/db"


def test_a_scheme_without_engine_is_refused():
    with pytest.raises(LedgerError, match="no plugin opens mysql://"):
        open_ledger("mysql://host/db")
