"""Installed plugins can do nothing to the process, whatever their code does; what they bring is found by name."""

import json
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

import batchmeter
from batchmeter import cli, discovery
from batchmeter.access import Access
from batchmeter.config import Settings
from batchmeter.discovery import installed_plugins, marked
from batchmeter.errors import BatchmeterError, ConfigError, LedgerError, SubmissionRefusedError
from batchmeter.ledger import open_ledger
from batchmeter.plugin_loader import PluginInfo
from batchmeter.plugins import Plugins
from batchmeter.testing.requests import lines_of

LOGGER = """
    import batchmeter

    class Logger:
        @batchmeter.hookimpl
        def acreate_batch(self, event):
            pass
"""


class Install:
    """Makes modules into installed distributions, in a folder on sys.path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, distribution: str, source: str, **entries: str) -> None:
        module = next(iter(entries.values())).partition(":")[0]
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[batchmeter]\n{lines}")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("BATCHMETER_PLUGINS")
    monkeypatch.setattr(cli.main, "loaded", False)
    monkeypatch.setattr(cli.main, "commands", {})
    return Install(folder)


def infos(plugins: Plugins, name: str) -> list[PluginInfo]:
    return [info for info in plugins.info() if info.name == name]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise SystemExit(3)", "RuntimeError: it raised SystemExit: 3"),
        ("raise KeyboardInterrupt", "RuntimeError: it raised KeyboardInterrupt: "),
        ("class Odd(BaseException): pass\nraise Odd('x')", "RuntimeError: it raised Odd: x"),
        ("import nothing_like_it", "No module named 'nothing_like_it': install"),
    ],
)
def test_an_import_that_ends_the_process_is_a_failed_plugin(install: Install, statement: str, reason: str) -> None:
    module = f"ends_{abs(hash(statement))}"
    install("acme", statement, acme=module)
    (found,) = infos(Plugins.load(Settings(), {}), "acme")
    assert found.state == "failed"
    assert found.reason.startswith(reason)


SECRET = "sk-very-secret"
STRANGE = {
    "settings that exit": (
        """
        class Settings(BaseModel):
            @field_validator("key")
            def _exit(cls, key): raise SystemExit(3)
            key: str
        class Acme:
            Settings = Settings
            @batchmeter.hookimpl
            def batch_success(self, event): ...
        """,
        "RuntimeError: it raised SystemExit: 3",
    ),
    "a constructor that checks a secret": (
        """
        class Checked(BaseModel):
            key: int
        class Acme:
            def __init__(self, key): Checked(key=key)
            @batchmeter.hookimpl
            def batch_success(self, event): ...
        """,
        "ValidationError: key: Input should be a valid integer, unable to parse string as an integer",
    ),
    "env that is no tuple": ("env = 'ACME_KEY'\nAcme = 1", "strange_module_2.env is no tuple of texts"),
    "a provider whose name is taken": (
        """
        class Taken:
            name = "openai"
        class Acme:
            def __init__(self, key=None): ...
            @batchmeter.hookimpl
            def register_providers(self, register): register(Taken)
            @batchmeter.hookimpl
            def before_submit(self, submission): ...
        """,
        "plugin 'acme': provider 'openai' is registered already",
    ),
}


@pytest.mark.parametrize(("number", "case"), list(enumerate(STRANGE)))
def test_a_strange_plugin_is_reported_without_its_secret(
    install: Install, number: int, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, reason = STRANGE[case]
    head = "import batchmeter\nfrom pydantic import BaseModel, field_validator\n"
    install("acme", head + textwrap.dedent(source), acme=f"strange_module_{number}:Acme")
    configured = Settings(plugins={"acme": {"key": SECRET}})
    if reason.startswith("plugin"):  # the user named it, so the fault is the user's to see
        with pytest.raises(ConfigError, match=reason):
            Plugins.load(configured, {})
        plugins = Plugins.load(Settings(), {})
    else:
        plugins = Plugins.load(configured, {})
        (found,) = infos(plugins, "acme")
        assert (found.state, found.reason) == ("failed", reason)
    assert plugins.get("acme") is None
    assert not plugins.guarded, "its hooks are not called"
    assert SECRET not in caplog.text


def test_variables_stand_in_settings_of_any_plugin(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import batchmeter

        class Logger:
            def __init__(self, url): self.url = url
            @batchmeter.hookimpl
            def batch_success(self, event): ...
    """
    install("acme", source, acme="takes_a_variable:Logger")
    settings = Settings(plugins={"acme": {"url": "https://${ACME_HOST}/x"}})
    monkeypatch.setenv("ACME_HOST", "acme.test")
    assert Plugins.load(settings, {}).get("acme").url == "https://acme.test/x"  # type: ignore[attr-defined]
    monkeypatch.delenv("ACME_HOST")
    with pytest.raises(ConfigError, match=r"\[plugins.acme\]: url: the variable ACME_HOST is not set"):
        Plugins.load(settings, {})


def test_redactors_of_one_name_are_refused_and_hold_events_back(install: Install) -> None:
    redactor = LOGGER.replace("acreate_batch", "redact")
    install("one", redactor, pii="pii_of_one:Logger")
    install("two", redactor, pii="pii_of_two:Logger")
    assert Plugins.load(Settings(), {}).suspects["pii"].endswith("uninstall or rename one of them")


@pytest.mark.parametrize(
    ("enabled", "state"), [(False, "off"), ("false", "off"), (0, "off"), (True, "on"), ("yes", "on"), ("nope", None)]
)
def test_enabled_is_a_switch(install: Install, enabled: object, state: str | None) -> None:
    install("acme", LOGGER, acme=f"switched_{enabled}:Logger".replace("-", "_"))
    settings = Settings(plugins={"acme": {"enabled": enabled}})
    if state is None:
        with pytest.raises(ConfigError, match=r"settings: \[plugins.acme\]: enabled: Input should be a valid boolean"):
            Plugins.load(settings, {})
    else:
        assert infos(Plugins.load(settings, {}), "acme")[0].state == state


def test_an_import_that_hangs_is_left_behind(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:

    release = threading.Event()
    monkeypatch.setattr(discovery, "release", release, raising=False)
    monkeypatch.setattr(discovery.import_contained, "__kwdefaults__", {"seconds": 0.05})
    install("acme", "import batchmeter.discovery; batchmeter.discovery.release.wait(60)", acme="hangs_at_import")
    (found,) = infos(Plugins.load(Settings(), {}), "acme")
    release.set()
    assert (found.state, found.reason) == ("failed", "TimeoutError: no end in 0.05 s")


def test_what_is_printed_at_import_goes_to_stderr(install: Install) -> None:
    install("acme", "print('welcome to acme')\n" + textwrap.dedent(LOGGER), acme="prints_at_import:Logger")
    done = CliRunner().invoke(cli.main, ["plugins", "--json"])
    assert "acme" in {row["name"] for row in json.loads(done.stdout)}
    assert done.stderr == "welcome to acme\n"


@pytest.mark.parametrize("name", ["openai", "file"])
def test_a_name_of_ours_stays_ours_and_the_other_is_refused(install: Install, name: str, tmp_path: Path) -> None:
    install("zzz-tools", LOGGER, **{name: f"takes_{name}:Logger"})
    plugins = Plugins.load(Settings(plugins={"file": {"path": str(tmp_path / "e.jsonl")}}), {})
    ours, theirs = sorted(infos(plugins, name), key=lambda info: info.distribution)
    assert (ours.distribution, ours.state) == ("batchmeter", "on")
    assert theirs.state == "failed"
    assert theirs.reason.startswith("the name belongs to batchmeter ")
    assert plugins.providers["openai"].__name__ == "OpenAIProvider"


def test_two_strangers_of_one_name_are_both_refused(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("one", LOGGER, slack="of_one:Logger")
    install("two", LOGGER, slack="of_two:Logger")
    plugins = Plugins.load(Settings(), {})
    found = {info.distribution: (info.state, info.reason) for info in infos(plugins, "slack")}
    assert found == {
        "one": ("failed", "the same name is brought by two 1.0: uninstall or rename one of them"),
        "two": ("failed", "the same name is brought by one 1.0: uninstall or rename one of them"),
    }
    assert "slack" not in plugins.loggers
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_logger_that_declares_env_acts_only_when_told(install: Install) -> None:
    install("acme", 'env = ("ACME_KEY",)\n' + textwrap.dedent(LOGGER), acme="declares_env:Logger")
    (off,) = infos(Plugins.load(Settings(), {}), "acme")
    assert (off.state, off.reason) == ("off", "not configured: set [plugins.acme] or ACME_KEY")
    assert infos(Plugins.load(Settings(), {"ACME_KEY": "x"}), "acme")[0].state == "on"
    assert infos(Plugins.load(Settings(plugins={"acme": {}}), {}), "acme")[0].state == "on"
    assert infos(Plugins.load(Settings(load=("acme",)), {}), "acme")[0].state == "on"


def test_a_plugin_brings_a_command(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import click, batchmeter

        @batchmeter.hookimpl
        def register_commands(cli):
            cli.add_command(greet)

        @click.command()
        def greet():
            "Say hello."
            click.echo("hello from acme")
    """
    install("acme", source, acme="brings_command")
    assert CliRunner().invoke(cli.main, ["greet"]).output == "hello from acme\n"
    assert "greet" in CliRunner().invoke(cli.main, ["--help"]).output
    monkeypatch.setattr(cli.main, "loaded", False)
    monkeypatch.setattr(cli.main, "commands", {})
    refused = CliRunner().invoke(cli.main, ["greet"], env={"BATCHMETER_DISABLE": "acme"})
    assert "no command 'greet'" in refused.output


async def test_a_plugin_brings_a_ledger_engine(install: Install) -> None:
    source = """
        import batchmeter
        from batchmeter_sqlite import open_database

        @batchmeter.hookimpl
        def register_ledgers(register):
            register("acme", lambda url, clock: open_database(":memory:", clock))
    """
    install("acme", source, acme="brings_engine")
    ledger = open_ledger("acme://anywhere")
    await ledger.open()
    assert (await Access(ledger).stats())["batches"] == 0
    await ledger.aclose()
    with pytest.raises(LedgerError, match="no plugin opens other:// ledgers"):
        open_ledger("other://anywhere")


def test_a_path_is_opened_without_a_look_at_other_plugins(install: Install, tmp_path: Path) -> None:
    install("acme", "import batchmeter", acme="not_asked_for_a_path")
    assert open_ledger(str(tmp_path / "ledger.db")).url.startswith("sqlite:///")
    assert "not_asked_for_a_path" not in sys.modules
    with pytest.raises(LedgerError):
        open_ledger("other://anywhere")
    assert "not_asked_for_a_path" in sys.modules


def test_a_plugin_brings_hooks_for_other_plugins(install: Install) -> None:
    (install.folder / "acme_hooks.py").write_text(
        "from batchmeter.hookspecs import hookspec\n\n@hookspec\ndef say_name(loud):\n    pass\n"
    )
    install("acme", "import batchmeter\nimport acme_hooks as hookspecs\n", acme="brings_hooks:hookspecs")
    source = """
        import batchmeter

        @batchmeter.hookimpl
        def say_name(loud):
            return "BETA" if loud else "beta"
    """
    install("beta", source, beta="implements_hook")
    plugins = Plugins.load(Settings(), {})
    assert infos(plugins, "beta")[0].hooks == ("say_name",)
    assert plugins.call_hook("say_name", loud=True) == [("beta", "BETA")]


def test_a_hook_of_the_package_is_no_method() -> None:
    class Wrong:
        @batchmeter.hookimpl
        def register_commands(self, cli: object) -> None: ...

    with pytest.raises(ConfigError, match="register_commands is a function of the plugin's package, not a method"):
        Plugins().register(Wrong())


def test_a_module_that_is_being_imported_itself_is_no_deadlock(install: Install) -> None:
    (install.folder / "app_with_plugin.py").write_text(
        "from batchmeter.config import Settings\nfrom batchmeter.plugins import Plugins\n"
        "class Logger: pass\nplugins = Plugins.load(Settings(), {})\n"
    )
    install("acme", "from app_with_plugin import Logger", acme="inside_app:Logger")
    (install.folder / "acme-1.0.dist-info" / "entry_points.txt").write_text("[batchmeter]\nacme = app_with_plugin\n")
    import app_with_plugin  # type: ignore[import-not-found]

    (found,) = infos(app_with_plugin.plugins, "acme")
    assert found.reason == "plugin 'acme' implements no hook; mark its methods with @batchmeter.hookimpl"


def test_every_plugin_of_ours_declares_what_it_is_for() -> None:
    """Before it is made: variables, providers, hooks of its own, or hooks that are always on."""
    for plugin in installed_plugins():
        if plugin.ours:
            module = plugin.module()
            declared = any(hasattr(module, name) for name in ("env", "providers", "hookspecs", "register_ledgers"))
            assert declared or marked(plugin.load()), plugin.name


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (BatchmeterError("no money left"), BatchmeterError, "no money left"),
        (ValueError("a bug"), SubmissionRefusedError, r"plugin .*\.Guard: ValueError: a bug"),
    ],
)
async def test_before_submit_refuses_a_batch(raised: Exception, expected: type[Exception], message: str) -> None:
    class Guard:
        @batchmeter.hookimpl
        def before_submit(self, submission: object) -> None:
            planned.append(submission)
            raise raised

    planned: list[object] = []
    accounts = {"sandbox": {"provider": "sandbox"}}
    async with batchmeter.AsyncClient(ledger=":memory:", accounts=accounts, plugins=[Guard()], track=False) as client:
        file = await client.files.create(file=("in.jsonl", lines_of(1, "gpt-5-mini")), custom_llm_provider="sandbox")
        with pytest.raises(expected, match=message):
            await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="sandbox"
            )
        assert await client.ledger.list_batches() == []
        assert await client.ledger.open_intents(created_before=client.ledger.now() + 1) == []
    (seen,) = planned
    assert (seen.account, seen.provider, seen.input_file_id) == ("sandbox", "sandbox", file.id)  # type: ignore[attr-defined]


async def test_an_async_hook_that_blocks_holds_up_nobody(install: Install, tmp_path: Path) -> None:
    source = """
        import threading, batchmeter

        release = threading.Event()
        threads = set()

        class Blocks:
            @batchmeter.hookimpl
            async def startup(self, host):
                threads.add(threading.current_thread().name)

            @batchmeter.hookimpl
            async def acreate_batch(self, event):
                threads.add(threading.current_thread().name)
                release.wait(60)
    """
    install("acme", source, acme="async_that_blocks:Blocks")
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts={"sandbox": {"provider": "sandbox"}}, track=False)
    async with batchmeter.AsyncClient(settings=settings, environ={}) as client:
        import async_that_blocks  # type: ignore[import-not-found]

        file = await client.files.create(file=("in.jsonl", lines_of(1, "gpt-5-mini")), custom_llm_provider="sandbox")
        for _ in range(5):  # the second would wait for the first one's hook
            await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="sandbox"
            )
        assert len(await client.ledger.list_batches()) == 5
        async_that_blocks.release.set()
        await client.deliverer.drain(10)
    assert async_that_blocks.threads == {"batchmeter-acme"}
