"""A ledger's URL scheme is opened by whichever plugin registered it."""

import pytest

from batchmeter import AsyncClient, hookimpl
from batchmeter.config import Settings
from batchmeter.errors import ConfigError, LedgerError
from batchmeter.ledger import open_ledger
from batchmeter.plugins import Plugins
from batchmeter_sqlite import open_database


class Elsewhere:
    """A stranger's plugin that opens elsewhere://PATH."""

    @hookimpl
    def register_ledgers(self, register):
        register("elsewhere", lambda url, clock: open_database(url.partition("://")[2], clock))


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


async def test_a_ledger_whose_engine_is_disabled_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "ledger.db"
    settings = Settings(ledger=str(path), track=False, disable=("sqlite",))
    with pytest.raises(
        LedgerError, match="no plugin opens sqlite:// ledgers: .* enable the one .* others: postgres://"
    ):
        async with AsyncClient(settings=settings, environ={}):
            pytest.fail("opened")
    monkeypatch.setenv("BATCHMETER_DISABLE", "file,sqlite")
    for named in (str(path), f"sqlite:///{path}", ":memory:", ""):
        with pytest.raises(LedgerError, match="no plugin opens sqlite:// ledgers"):
            open_ledger(named)
    assert not path.exists()
    monkeypatch.setenv("BATCHMETER_DISABLE", "file")
    monkeypatch.setenv("BATCHMETER_PLUGINS", "otel")
    ledger = open_ledger(str(path))
    await ledger.open()
    await ledger.aclose()
    assert path.exists(), "naming other plugins switches no engine off"
