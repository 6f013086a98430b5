"""Settings: code beats environment beats file, and mistakes are named."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from batchmeter import AsyncClient
from batchmeter.config import Settings, validated
from batchmeter.errors import ConfigError
from batchmeter.pricebook.book import PriceBook
from batchmeter.runtime.load_settings import load_settings
from batchmeter_budgets import BudgetsSettings
from batchmeter_reconcile import ReconcileSettings

FILE = """
ledger = "from-file.db"
track = false

[accounts.azure-eu]
provider = "azure"
api_key = "sk-secret"

[plugins.file]
path = "from-file.jsonl"
max_bytes = 10

[prices."openai/*"]
multiplier = 0.85
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "batchmeter.toml"
    path.write_text(FILE)
    return path


def test_code_beats_environment_beats_file(file: Path) -> None:
    env = {"BATCHMETER_LEDGER": "from-env.db"}
    assert load_settings(file, environ={}).ledger == "from-file.db"
    assert load_settings(file, environ=env).ledger == "from-env.db"
    assert load_settings(file, environ=env, ledger="from-code.db").ledger == "from-code.db"


def test_the_file_is_found_by_variable_then_here_then_home(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_settings(environ={}).source is None
    home = tmp_path / "config" / "batchmeter" / "batchmeter.toml"
    home.parent.mkdir(parents=True)
    home.write_text('ledger = "home.db"')
    assert load_settings(environ={}).ledger == "home.db"
    (elsewhere / "batchmeter.toml").write_text('ledger = "here.db"')
    assert load_settings(environ={}).ledger == "here.db"
    assert load_settings(environ={"BATCHMETER_CONFIG": str(file)}).ledger == "from-file.db"


def test_default_ledger_is_in_the_users_data_folder(tmp_path: Path) -> None:
    assert load_settings(environ={}).ledger == str(tmp_path / "data" / "batchmeter" / "ledger.db")


def test_lists_flags_and_the_file_loggers_path_come_from_the_environment(file: Path) -> None:
    settings = load_settings(
        file,
        environ={
            "BATCHMETER_PLUGINS": "file, otel",
            "BATCHMETER_DISABLE": "",
            "BATCHMETER_TRACK": "1",
            "BATCHMETER_FILE_PATH": "from-env.jsonl",
        },
    )
    assert settings.load == ("file", "otel")
    assert settings.disable == ()
    assert settings.track is True
    assert settings.plugins["file"] == {"path": "from-env.jsonl", "max_bytes": 10}


def test_money_in_the_file_is_exact(file: Path) -> None:
    assert str(load_settings(file, environ={}).prices["openai/*"]["multiplier"]) == "0.85"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leger = 'x.db'", "unknown key 'leger'; did you mean 'ledger'?"),
        ("track = 'perhaps'", "track: Input should be a valid boolean"),
        ("ledger = ", "not valid TOML"),
        ("source = 'x'", "unknown key 'source'"),
    ],
)
def test_mistakes_are_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ={})
    assert message in str(caught.value)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("", {"BATCHMETER_TRACK": "perhaps"}, r"^BATCHMETER_TRACK: track: Input should be a valid boolean"),
        ("spool = 'x'", {"BATCHMETER_SPOOL": "/spool"}, r"mine\.toml: spool: Input should be a valid dictionary"),
        ("plugins = 1", {"BATCHMETER_FILE_PATH": "e"}, r"mine\.toml: plugins: Input should be a valid dictionary"),
        (
            "plugins.file = 'x'",
            {"BATCHMETER_FILE_PATH": "e"},
            r"mine\.toml: plugins.file: Input should be a valid dict",
        ),
    ],
)
def test_a_variable_over_a_wrong_value_is_one_clear_error(
    tmp_path: Path, text: str, environ: dict[str, str], message: str
) -> None:
    (path := tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(path, environ=environ)


@pytest.mark.parametrize("name", ["budgets", "bills"])
def test_tables_of_a_plugin_stand_at_the_top_or_in_their_field(name: str) -> None:
    model: type[BaseModel] = {"budgets": BudgetsSettings, "bills": ReconcileSettings}[name]
    table = {"limit": "1"} if name == "budgets" else {"exclusive": True}
    made = validated(model, {"a": table, name: {"b": table}}, "here")
    assert made == validated(model, {name: {"a": table, "b": table}}, "here")
    for given, message in (
        ({"a": table, name: {"a": table}}, f"here: Value error, a is given twice: in {name} too"),
        ({"a": table, name: "x"}, rf"here: {name}: Input should be a valid dictionary"),
        ({"ever": 1, "a": table}, "^here: unknown key 'ever'; [^;]*$"),
    ):
        with pytest.raises(ConfigError, match=message):
            validated(model, given, "here")


def test_a_named_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at nowhere\.toml"):
        load_settings("nowhere.toml", environ={})


def test_secrets_are_not_in_the_repr(file: Path) -> None:
    settings = load_settings(file, environ={})
    assert "sk-secret" not in repr(settings)
    assert "sk-secret" not in str(settings)
    assert "azure-eu" in repr(settings)
    assert "pw-secret" not in repr(Settings(ledger="postgresql://me:pw-secret@db/batches?password=pw-secret"))


def test_settings_can_be_made_in_code() -> None:
    assert Settings(ledger=":memory:", track=False).accounts == {}


async def test_rows_for_an_accounts_name_are_warned_of_where_they_price_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accounts = {"gateway": {"provider": "openai", "api_key": "k"}}
    rows = {"gateway/*": {"multiplier": "0.5"}, "opneai/*": {"multiplier": "0.5"}, "azure/*": {"multiplier": "0.5"}}
    settings = Settings(ledger=":memory:", load=(), accounts=accounts, prices=rows)
    async with AsyncClient(settings=settings, environ={}):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        f'prices: rows for "{name}/…" price nothing: no provider has that name; did you mean "openai/…"?'
        for name in ("gateway", "opneai")
    ]


@pytest.mark.parametrize("prices", [5, b"prices.toml", ["openai/*"], object()])
async def test_prices_that_can_price_nothing_are_refused(prices: Any) -> None:
    with pytest.raises(ConfigError, match=rf"prices: expected rows.* but got {type(prices).__name__}"):
        async with AsyncClient(settings=Settings(ledger=":memory:", load=()), prices=prices, environ={}):
            pass


async def test_opening_reads_no_catalogue() -> None:
    async with AsyncClient(settings=Settings(ledger=":memory:", load=()), environ={}) as client:
        assert isinstance(client.prices, PriceBook)
        assert "catalogue" not in vars(client.prices)
