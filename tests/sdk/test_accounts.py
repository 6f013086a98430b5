"""Accounts: configured by name, or made for a call that brings its own key or address."""

import pytest

import batchmeter
from batchmeter.config import Settings
from batchmeter.errors import ConfigError, UnknownAccountError
from batchmeter.plugins import Plugins
from batchmeter.providers import AccountSettings
from batchmeter.runtime.call_accounts import CallAccounts


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> CallAccounts:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-configured")
    settings = Settings(
        load=(),
        accounts={
            "gateway": {"provider": "openai", "api_key": "sk-gateway", "api_base": "http://127.0.0.1:9/v1"},
            "typo": {"provider": "openai", "api_kee": "x"},
            "odd": {"provider": "opnai"},
        },
    )
    return CallAccounts(settings, Plugins.load(settings, environ={}))


def test_an_account_named_like_its_provider_is_there_by_default(accounts: CallAccounts) -> None:
    assert accounts.get("openai").account == "openai"
    assert accounts.get("openai") is accounts.get("openai")
    assert {"openai", "gateway", "sandbox"} <= set(accounts.names())


def test_a_configured_account_uses_its_own_settings(accounts: CallAccounts) -> None:
    gateway = accounts.get("gateway")
    assert (gateway.name, gateway.account, gateway.endpoint) == ("openai", "gateway", "http://127.0.0.1:9/v1")


def test_an_unknown_name_gets_the_nearest(accounts: CallAccounts) -> None:
    with pytest.raises(UnknownAccountError, match=r"no account 'gatewy': add \[accounts.gatewy\].*'gateway'"):
        accounts.get("gatewy")
    with pytest.raises(UnknownAccountError, match="no provider 'opnai' is installed; did you mean 'openai'"):
        accounts.get("odd")
    with pytest.raises(ConfigError, match="unknown key 'api_kee'; did you mean 'api_key'"):
        accounts.get("typo")


def test_switches_of_an_account_are_read_as_its_provider_reads_them() -> None:
    off = {"provider": "openai", "adopt": "false", "tag_batches": "false", "api_key": "sk-x"}
    settings = Settings(load=(), accounts={"off": off, "on": {**off, "adopt": "true", "tag_batches": "yes"}})
    accounts = CallAccounts(settings, Plugins.load(settings, environ={}))
    assert accounts.adopting() == ["on"]
    ad_hoc = [accounts.resolve(name, {"api_key": "sk-y"}).account for name in ("off", "on")]
    assert [accounts.tags(name) for name in ("off", "on", *ad_hoc)] == [False, True, False, True]
    assert accounts.tags("openai#of-a-finished-process")


@pytest.mark.parametrize("raised", [SystemExit(3), KeyError("region"), ModuleNotFoundError("No module named 'acme'")])
def test_a_provider_that_cannot_be_made_is_an_error_of_its_account(raised: BaseException) -> None:
    class Broken:
        name = "broken"
        Settings = AccountSettings

        def __init__(self, account: str, settings: AccountSettings) -> None:
            raise raised

    class Plugin:
        @batchmeter.hookimpl
        def register_providers(self, register: object) -> None:
            register(Broken)  # type: ignore[operator]

    plugins = Plugins()
    plugins.register(Plugin())
    with pytest.raises(ConfigError, match=rf"^account 'broken': its provider cannot be made: .*{raised.args[0]}"):
        CallAccounts(Settings(), plugins).get("broken")


async def test_accounts_of_a_wrong_type_are_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"^arguments: accounts\.mine: Input should be a valid dictionary"):
        batchmeter.AsyncClient(ledger=":memory:", accounts={"mine": "sk-secret"})  # type: ignore[dict-item]


def test_a_call_with_its_own_key_is_another_account_that_shows_no_key(accounts: CallAccounts) -> None:
    mine = accounts.resolve("openai", {"api_key": "sk-mine"})
    other = accounts.resolve("openai", {"api_key": "sk-other"})
    assert mine.account != other.account
    assert mine.account.startswith("openai#")
    assert "sk-mine" not in repr(mine.account)
    assert accounts.resolve("openai", {"api_key": "sk-mine"}) is mine
    assert accounts.get(mine.account) is mine


def test_a_call_with_the_configured_key_is_the_configured_account(accounts: CallAccounts) -> None:
    assert accounts.resolve("openai", {"api_key": "sk-configured"}) is accounts.get("openai")
    assert accounts.resolve("openai", {"api_key": None}) is accounts.get("openai")


def test_a_call_with_its_own_address_is_named_after_the_host(accounts: CallAccounts) -> None:
    local = accounts.resolve("openai", {"api_base": "http://user:pw@127.0.0.1:8000/v1"})
    assert local.account == "openai@127.0.0.1:8000"


def test_a_call_with_other_retries_is_the_same_account(accounts: CallAccounts) -> None:
    patient = accounts.resolve("openai", {"max_retries": 9})
    assert patient.account == "openai"
    assert accounts.get("openai") is not patient


def test_an_account_of_a_finished_process_is_explained(accounts: CallAccounts) -> None:
    with pytest.raises(UnknownAccountError, match="came from a call with its own address or key"):
        accounts.get("openai@127.0.0.1:1#abcdef")
