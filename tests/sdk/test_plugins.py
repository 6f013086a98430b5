"""Plugins: found, loaded, enabled and isolated; a broken one is reported and never fatal."""

import asyncio
import sys
import textwrap
import threading
from datetime import UTC, datetime
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

import batchmeter
from batchmeter.config import Settings
from batchmeter.errors import ConfigError, RetryLater
from batchmeter.events import BatchCreated, event_id
from batchmeter.models import Batch
from batchmeter.plugin_loader import Loader
from batchmeter.plugins import Plugins


def created(batch_id: str = "batch_1") -> BatchCreated:
    return BatchCreated(
        id=event_id("openai", batch_id, "acreate_batch"),
        time=datetime(2026, 11, 22, tzinfo=UTC),
        account="openai",
        provider="openai",
        batch_id=batch_id,
        batch=Batch(id=batch_id, status="validating"),
    )


class Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @batchmeter.hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        self.seen.append(event.id)


class Install:
    """Makes modules into installed distributions with entry points, in a folder on sys.path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, source: str, value: str) -> None:
        module = value.partition(":")[0]
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.folder / f"{name}_plugin-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[batchmeter]\n{name} = {value}\n")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Install(folder)


def test_the_disk_is_asked_once_until_something_is_installed(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    read_text = PathDistribution.read_text

    def noted(self: PathDistribution, filename: str) -> str | None:
        read.append(filename)
        return read_text(self, filename)

    monkeypatch.setattr(PathDistribution, "read_text", noted)
    install("first", SLACK, "first_module:Slack")
    Plugins.load(Settings(load=()), {})
    assert read.count("METADATA") == 2, "ours and theirs, whatever they bring"
    read.clear()
    Plugins.load(Settings(load=()), {})
    assert read == []
    install("second", SLACK, "second_module:Slack")
    assert {"first", "second"} <= {info.name for info in Plugins.load(Settings(load=()), {}).info()}


SLACK = """
    import batchmeter

    class Slack:
        def __init__(self, channel="#llm"):
            self.channel = channel

        @batchmeter.hookimpl
        def batch_success(self, event):
            pass
"""


def info(plugins: Plugins, name: str) -> Any:
    return next(found for found in plugins.info() if found.name == name)


def test_an_installed_third_party_plugin_is_on(install: Install) -> None:
    install("slack", SLACK, "slack_plugin_a:Slack")
    plugins = Plugins.load(Settings(plugins={"slack": {"channel": "#batches"}}), environ={})
    assert info(plugins, "slack").state == "on"
    assert info(plugins, "slack").version == "1.2"
    assert info(plugins, "slack").hooks == ("batch_success",)
    assert plugins.loggers["slack"].handles == {"batch_success"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(disable=("slack",)), "disabled by BATCHMETER_DISABLE"),
        (Settings(load=("file",), plugins={"file": {"path": "x.jsonl"}}), "not named in BATCHMETER_PLUGINS"),
        (Settings(plugins={"slack": {"enabled": False}}), "disabled by [plugins.slack]"),
    ],
)
def test_it_can_be_turned_off(install: Install, settings: Settings, reason: str) -> None:
    install("slack", SLACK, "slack_plugin_b:Slack")
    found = info(Plugins.load(settings, environ={}), "slack")
    assert (found.state, found.reason) == ("off", reason)


def test_a_plugin_that_fails_to_import_is_reported_and_the_rest_live(install: Install) -> None:
    install("broken", "import nonexistent_vendor_sdk", "broken_plugin")
    install("slack", SLACK, "slack_plugin_c:Slack")
    plugins = Plugins.load(Settings(), environ={})
    assert info(plugins, "broken").state == "failed"
    assert "nonexistent_vendor_sdk" in info(plugins, "broken").reason
    assert "slack" in plugins.loggers
    assert "openai" in plugins.providers


def test_a_misspelled_hook_is_an_error_that_names_it() -> None:
    class Typo:
        @batchmeter.hookimpl
        def batch_succes(self, event: object) -> None: ...

    with pytest.raises(ConfigError, match="there is no hook .*; did you mean .batch_success."):
        Plugins().register(Typo(), "typo")


def test_a_wrong_argument_is_an_error() -> None:
    class Wrong:
        @batchmeter.hookimpl
        def batch_success(self, evnt: object) -> None: ...

    with pytest.raises(ConfigError, match="evnt"):
        Plugins().register(Wrong(), "wrong")


def test_a_class_in_place_of_an_object_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"is a class; give one of its objects: Recorder\(…\)"):
        Plugins().register(Recorder)


def test_a_hook_that_yields_would_never_run() -> None:
    class Yields:
        @batchmeter.hookimpl
        async def batch_success(self, event: object) -> Any:
            yield event

    plugins = Plugins()
    with pytest.raises(ConfigError, match="its batch_success has a `yield`"):
        plugins.register(Yields())
    assert plugins.loggers == {}


def test_an_object_without_hooks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="implements no hook"):
        Plugins().register(object(), "nothing")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"chanel": "x"}, "unknown key 'chanel'; did you mean 'channel'?"),
        ({"enabled": True, "x": 1}, "unknown key 'x'"),
    ],
)
def test_a_setting_the_plugin_does_not_know_is_an_error(
    install: Install, section: dict[str, Any], message: str
) -> None:
    install("slack", SLACK, "slack_plugin_d:Slack")
    with pytest.raises(ConfigError) as caught:
        Plugins.load(Settings(plugins={"slack": section}), environ={})
    assert message in str(caught.value)


def test_a_section_for_no_plugin_names_the_nearest(install: Install) -> None:
    install("slack", SLACK, "slack_plugin_e:Slack")
    with pytest.raises(ConfigError, match="no plugin named 'slak' is installed; did you mean 'slack'"):
        Plugins.load(Settings(plugins={"slak": {}}), environ={})


def test_a_settings_model_is_validated() -> None:
    class Mine:
        class Settings(BaseModel, extra="forbid"):
            url: str

        def __init__(self, settings: Settings) -> None:
            self.settings = settings

    settings = Settings(plugins={"mine": {"ulr": "x"}})
    with pytest.raises(ConfigError, match="did you mean 'url'"):
        Loader(Plugins(settings), settings, {}).construct("mine", Mine)


def test_builtin_loggers_act_only_when_configured(tmp_path: Path) -> None:
    off = info(Plugins.load(Settings(), environ={}), "file")
    assert off.state == "off"
    assert off.reason == "not configured: set [plugins.file] or BATCHMETER_FILE_PATH"
    on = Plugins.load(Settings(plugins={"file": {"path": str(tmp_path / "x.jsonl")}}), environ={})
    assert info(on, "file").state == "on"


async def test_a_logger_may_be_sync_async_and_take_fewer_arguments() -> None:
    threads: list[str] = []

    class Sync:
        @batchmeter.hookimpl
        def acreate_batch(self) -> None:
            threads.append(threading.current_thread().name)

    plugins = Plugins()
    recorder = Recorder()
    plugins.register(recorder, "recorder")
    plugins.register(Sync(), "sync")
    for logger in plugins.loggers.values():
        await logger.deliver(created())
    assert recorder.seen == [created().id]
    assert threads == ["batchmeter-logger"]


async def test_what_a_logger_raises_reaches_the_deliverer_and_no_other_logger() -> None:
    class Bad:
        @batchmeter.hookimpl
        def acreate_batch(self, event: BatchCreated) -> None:
            raise SystemExit(event.batch_id)

    plugins = Plugins()
    recorder = Recorder()
    plugins.register(Bad(), "bad")
    plugins.register(recorder, "recorder")
    with pytest.raises(RuntimeError, match="SystemExit: batch_1"):
        await plugins.loggers["bad"].deliver(created())
    await plugins.loggers["recorder"].deliver(created())
    assert recorder.seen == [created().id]


class OddError(BaseException):
    pass


@pytest.mark.parametrize("raised", [StopIteration("x"), SystemExit("x"), KeyboardInterrupt("x"), OddError("x")])
@pytest.mark.parametrize("kind", ["def", "async def", "async def in its own loop"])
async def test_a_hook_raises_exceptions_only(raised: BaseException, kind: str) -> None:
    """A future takes no StopIteration: the delivery would wait for ever."""

    class Sync:
        @batchmeter.hookimpl
        def acreate_batch(self) -> None:
            raise raised

    class Async:
        @batchmeter.hookimpl
        async def acreate_batch(self) -> None:
            raise raised

    if kind == "async def" and isinstance(raised, KeyboardInterrupt):
        return  # Ctrl-C, as far as anybody can tell
    plugins = Plugins()
    if "loop" in kind:
        plugins.run_apart()
    plugins.register(Sync() if kind == "def" else Async(), "bad")
    with pytest.raises(RuntimeError, match=f"raised {type(raised).__name__}|raised StopIteration"):
        await asyncio.wait_for(plugins.loggers["bad"].deliver(created()), 20)
    await plugins.shutdown()


def test_hookspecs_without_a_hook_are_an_error() -> None:
    recorder = Recorder()
    recorder.hookspecs = ModuleType("no_hooks")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="plugin 'odd': did not find any 'batchmeter' hooks in"):
        Plugins().register(recorder, "odd")


def test_a_plugin_registered_twice_stays_and_shows_no_secret() -> None:
    class Keyed(Recorder):
        def __repr__(self) -> str:
            return "Keyed(key='sk-secret')"

    plugins, keyed = Plugins(), Keyed()
    plugins.register(keyed, "first")
    for plugin, name in ((keyed, "second"), (Keyed(), "first")):
        with pytest.raises(ConfigError, match=f"plugin '{name}' is already registered") as caught:
            plugins.register(plugin, name)
        assert "sk-secret" not in str(caught.value)
    assert plugins.get("first") is keyed


async def test_a_sync_logger_that_hangs_holds_three_threads_at_most() -> None:
    release = threading.Event()

    class Hangs:
        @batchmeter.hookimpl
        def acreate_batch(self, event: BatchCreated) -> None:
            release.wait(30)

    plugins = Plugins()
    plugins.register(Hangs(), "hangs")
    logger = plugins.loggers["hangs"]
    stuck = [asyncio.ensure_future(logger.deliver(created())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(RetryLater, match="still busy"):
        await logger.deliver(created())
    release.set()
    await asyncio.gather(*stuck)
    await logger.deliver(created())


async def test_redaction_runs_before_any_logger_sees_the_event() -> None:
    class Redact:
        @batchmeter.hookimpl
        def redact(self, event: batchmeter.Event) -> batchmeter.Event:
            return event.model_copy(update={"metadata": {}})

    plugins = Plugins()
    plugins.register(Redact(), "redact")
    event = created().model_copy(update={"metadata": {"email": "someone@example.org"}})
    assert (await plugins.redact(event)).metadata == {}


async def test_a_plugin_that_fails_at_startup_is_disabled() -> None:
    class Fails(Recorder):
        @batchmeter.hookimpl
        def startup(self, client: object) -> None:
            raise OSError("no socket")

    plugins = Plugins()
    plugins.register(Fails(), "fails")
    await plugins.startup(None)  # type: ignore[arg-type]
    assert info(plugins, "fails").state == "failed"
    assert "no socket" in info(plugins, "fails").reason
    assert plugins.loggers == {}


def test_our_providers_are_imported_at_first_use_and_no_vendor_s_sdk() -> None:
    import subprocess

    code = (
        "import sys; from batchmeter.config import Settings; from batchmeter.plugins import Plugins; "
        "plugins = Plugins.load(Settings(load=()), environ={}); "
        "loaded = lambda: sorted(n for n in sys.modules if n.startswith('batchmeter_') and '.' in n and 'hookspecs' not in n and n not in ('batchmeter_ui.plugin', 'batchmeter_ui.settings', 'batchmeter_openai.profiles', 'batchmeter_budgets.events', 'batchmeter_reconcile.events', 'batchmeter_traces.plugin')); "
        "names = sorted({'azure', 'groq', 'openai', 'sandbox', 'vertex_ai'} & set(plugins.providers)); before = loaded(); found = plugins.providers['openai'].name; "
        "after = sorted({n.partition('.')[0] for n in loaded()}); vendors = {'google.auth', 'opentelemetry', 'langfuse', 'datadog', 'openai'}; "
        "print(names, before, found, after, vendors.intersection(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip()
        == "['azure', 'groq', 'openai', 'sandbox', 'vertex_ai'] [] openai ['batchmeter_openai'] set()"
    )


def test_a_provider_that_takes_one_of_our_names_is_refused(install: Install) -> None:
    source = """
        import batchmeter

        class Mine:
            name = "openai"

        @batchmeter.hookimpl
        def register_providers(register):
            register(Mine)
    """
    install("mine", source, "mine_provider_plugin")
    plugins = Plugins.load(Settings(), environ={})
    assert info(plugins, "mine").state == "failed"
    assert "'openai' is registered already" in info(plugins, "mine").reason
    assert plugins.providers["openai"].__name__ == "OpenAIProvider"
