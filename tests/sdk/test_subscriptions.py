"""Events are owed to every logger of the ledger, whichever process has it, and leave only through every redactor."""

import json
import logging
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import batchmeter
from batchmeter import cli
from batchmeter.config import Settings
from batchmeter.errors import RedactorMissingError
from batchmeter.events import Subscription
from batchmeter.plugins import Plugins
from batchmeter.testing.requests import lines_of

ACCOUNTS = {"sandbox": {"provider": "sandbox", "speed": 1e6}}
KINDS = frozenset({"acreate_batch", "batch_success", "batch_failure"})


class Recorder:
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @batchmeter.hookimpl
    async def acreate_batch(self, event: batchmeter.BatchCreated) -> None:
        self.seen.append(event)

    @batchmeter.hookimpl
    async def batch_success(self, event: batchmeter.BatchSucceeded) -> None:
        self.seen.append(event)


RECORDER = f"{__name__}.Recorder"


def client(path: Path, *plugins: object, **settings: Any) -> batchmeter.AsyncClient:
    chosen = Settings(ledger=str(path / "ledger.db"), accounts=ACCOUNTS, track=False, load=(), **settings)
    return batchmeter.AsyncClient(settings=chosen, plugins=plugins, environ={})


async def submit(opened: batchmeter.AsyncClient, **arguments: Any) -> str:
    file = await opened.files.create(file=("in.jsonl", lines_of(1, "gpt-5-mini")), custom_llm_provider="sandbox")
    batch = await opened.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="sandbox", **arguments
    )
    return batch.id


async def test_a_process_without_the_logger_owes_it_events(tmp_path: Path) -> None:
    async with client(tmp_path, Recorder()):
        pass
    async with client(tmp_path) as other:
        batch_id = await submit(other)
        await other.batches.wait(batch_id)
        (owed,) = await other.ledger.subscriptions()
        assert (owed.name, owed.owed, owed.dead) == (RECORDER, 2, 0)
    recorder = Recorder()
    async with client(tmp_path, recorder) as last:
        await last.deliverer.drain(10)
    assert [event.type for event in recorder.seen] == ["acreate_batch", "batch_success"]


async def test_a_kind_that_is_not_handled_is_not_owed(tmp_path: Path) -> None:
    class Endings:
        @batchmeter.hookimpl
        def batch_success(self, event: object) -> None: ...

    async with client(tmp_path, Endings()):
        pass
    async with client(tmp_path) as other:
        await submit(other)
        assert [one.owed for one in await other.ledger.subscriptions()] == [0]


async def test_events_from_before_a_subscription_are_not_owed(tmp_path: Path) -> None:
    async with client(tmp_path) as first:
        await submit(first)
    async with client(tmp_path, Recorder()) as second:
        assert [one.owed for one in await second.ledger.subscriptions()] == [0]
        assert await second.ledger.replay(RECORDER) == 1


async def test_a_configured_plugin_that_cannot_be_used_is_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    install(site, "acme", "import a_package_that_was_uninstalled", "acme_that_breaks:Logger")
    monkeypatch.syspath_prepend(str(site))
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False, plugins={"acme": {}})
    async with batchmeter.AsyncClient(settings=settings, environ={}) as broken:
        await submit(broken)
        (owed,) = await broken.ledger.subscriptions()
    assert (owed.name, owed.kinds, owed.owed, owed.last_seen) == ("acme", None, 1, None)
    assert owed.problem is not None
    assert "a_package_that_was_uninstalled" in owed.problem


async def test_abandon_ends_a_subscription_until_it_is_opened_again(tmp_path: Path) -> None:
    async with client(tmp_path, Recorder()) as with_logger, client(tmp_path) as without:
        await submit(without)
        assert await without.ledger.abandon(RECORDER, reason="abandoned") in (0, 1)
        await with_logger.ledger.touch_subscriptions([RECORDER])
        await submit(without)
        (ended,) = await without.ledger.subscriptions()
        assert ended.ended_at is not None
        assert ended.owed == 0
    async with client(tmp_path, Recorder()) as again:
        (begun,) = await again.ledger.subscriptions()
        assert begun.ended_at is None


async def test_a_callback_is_owed_its_own_program_s_batches_only(tmp_path: Path) -> None:
    heard: list[str] = []

    def tell(event: Any) -> None:
        heard.append(event.batch_id)

    async with client(tmp_path) as stranger:
        mine = client(tmp_path)
        batchmeter.on("acreate_batch", "batch_success", name="own")(tell)
        stranger.plugins.unregister("on:own")  # another program has none
        try:
            async with mine:
                await submit(stranger)
                ours = await submit(mine)
                await mine.batches.wait(ours)
                await mine.deliverer.drain(10)
        finally:
            batchmeter.off(tell)
        assert heard == [ours, ours]
        (tracked,) = await stranger.ledger.batches_of_id(ours)
    assert tracked.submission.callbacks == ("on:own",), "whoever settles it owes its events to these"


async def test_a_callback_s_name_has_its_file(tmp_path: Path) -> None:
    def tell(event: object) -> None: ...

    batchmeter.on(tell)
    try:
        async with client(tmp_path) as opened:
            (one,) = await opened.ledger.subscriptions()
    finally:
        batchmeter.off(tell)
    assert one.scoped
    assert one.name == f"on:{tell.__module__}.{tell.__qualname__}@{__file__}"


async def test_nobody_with_a_logger_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with client(tmp_path) as opened:
        await opened.ledger.subscribe((Subscription("gone", KINDS),))
        await submit(opened)
        assert await opened.ledger.unattended() == []
        await opened.ledger.database.write(lambda session: session.run(session.statement(LONG_AGO)))
        (gone,) = await opened.ledger.unattended()
        assert (gone.name, gone.owed) == ("gone", 1)
        opened.deliverer._attended_at = float("-inf")
        with caplog.at_level(logging.WARNING):
            await opened.deliverer._attend()
            await opened.deliverer._attend()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "1 events are owed to logger gone" in told[0]
    assert "batchmeter abandon gone" in told[0]


LONG_AGO = "UPDATE batchmeter.subscription SET last_seen = last_seen - 86400000"

REDACTOR = """
    import os, batchmeter

    class Privacy:
        @batchmeter.hookimpl
        def startup(self, host):
            if os.environ.get("BREAK") == "startup":
                raise ConnectionError("vault is down")

        @batchmeter.hookimpl
        def redact(self, event):
            if os.environ.get("BREAK") == "raise":
                raise ConnectionError("vault is down")
            return event.model_copy(update={"metadata": {}, "batch": event.batch.model_copy(update={"metadata": {}})})
"""


def install(site: Path, name: str, source: str, value: str) -> None:
    site.mkdir()
    (site / f"{value.partition(':')[0]}.py").write_text(textwrap.dedent(source))
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[batchmeter]\n{name} = {value}\n")


@pytest.fixture
def privacy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens clients of one ledger that have the file logger; the redactor's package is installed, and breaks as told."""
    site = tmp_path / "site"
    module = f"privacy_{tmp_path.name}"
    install(site, "privacy", REDACTOR, f"{module}:Privacy")
    monkeypatch.syspath_prepend(str(site))

    def open_client(breaks: str = "", **settings: Any) -> batchmeter.AsyncClient:
        monkeypatch.setenv("BREAK", breaks)
        if breaks == "import":
            (site / f"{module}.py").write_text("import a_package_that_was_uninstalled\n" + textwrap.dedent(REDACTOR))
            sys.modules.pop(module, None)
        chosen = Settings(
            ledger=str(tmp_path / "l.db"),
            accounts=ACCOUNTS,
            track=False,
            plugins={"file": {"path": str(tmp_path / "events.jsonl")}},
            **settings,
        )
        return batchmeter.AsyncClient(settings=chosen, environ={})

    return open_client


@pytest.mark.parametrize(
    ("breaks", "settings", "reason"),
    [
        ("import", {}, "cannot be used: No module named 'a_package_that_was_uninstalled'"),
        ("startup", {}, "failed at startup: ConnectionError: vault is down"),
        ("", {"load": ("file",)}, "is not named in BATCHMETER_PLUGINS"),
        ("", {"disable": ("privacy",)}, "is disabled by BATCHMETER_DISABLE"),
    ],
)
async def test_a_redactor_that_does_not_work_holds_events_back(
    privacy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, breaks: str, settings: Any, reason: str
) -> None:
    async with privacy(breaks, **settings) as opened:
        await submit(opened, metadata={"customer": "Ada"})
        await opened.deliverer.drain(10)
        assert reason in await opened.deliverer.redaction.missing()
        with pytest.raises(RedactorMissingError, match="events are held back: redactor 'privacy'"):
            await opened.deliverer.redaction.shown(await opened.ledger.events())
        (owed,) = [one for one in await opened.ledger.subscriptions() if one.name == "file"]
        assert owed.owed == 1
        (pending,) = await opened.ledger.deliveries(state="pending")
        assert pending.attempts == 0
    assert not (tmp_path / "events.jsonl").exists()
    assert "EVENTS FOR LOGGER file ARE HELD BACK: redactor 'privacy'" in caplog.text


async def test_a_redactor_that_was_seen_once_is_missed_where_it_is_not_installed(privacy: Any, tmp_path: Path) -> None:
    async with privacy():
        pass
    recorder = Recorder()
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False, disable=("privacy",))
    async with batchmeter.AsyncClient(settings=settings, plugins=[recorder], environ={}) as opened:
        await submit(opened, metadata={"customer": "Ada"})
        await opened.deliverer.drain(10)
        assert recorder.seen == []
        await opened.ledger.abandon("privacy", reason="abandoned")
        await opened.deliverer.drain(10)
    assert [event.metadata for event in recorder.seen] == [{"customer": "Ada"}]


@pytest.mark.parametrize("breaks", ["disabled", "import"])
async def test_a_redactor_that_never_worked_is_missed_in_other_processes(
    privacy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    """One process has it and cannot use it; another has not even its package."""
    settings = {"disable": ("privacy",)} if breaks == "disabled" else {}
    async with privacy(breaks, **settings) as broken:
        await submit(broken)
        (known,) = [one for one in await broken.ledger.subscriptions() if one.name == "privacy"]
    assert (known.kinds, known.problem is None) == ({"redact"}, False)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path / "site")])
    async with privacy() as without:
        await without.deliverer.drain(10)
        assert "redactor 'privacy' is not installed here" in await without.deliverer.redaction.missing()
        assert not (tmp_path / "events.jsonl").exists()
        await without.ledger.abandon("privacy", reason="it is gone")
        await without.deliverer.drain(10)
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("breaks", ["", "import"])
def test_a_redactor_that_never_worked_can_be_abandoned(
    privacy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    """The ledger has never heard of it, and it holds everything back."""
    privacy(breaks, load=("file",))
    ledger, events = str(tmp_path / "l.db"), tmp_path / "events.jsonl"
    monkeypatch.setenv("BATCHMETER_FILE_PATH", str(events))
    monkeypatch.delenv("BATCHMETER_PLUGINS", raising=False)
    if not breaks:
        monkeypatch.setenv("BATCHMETER_PLUGINS", "file")
    (tmp_path / "c.toml").write_text("track = false\ndefault_account = 'sandbox'\n[accounts.sandbox]\nspeed = 1e6\n")
    (tmp_path / "in.jsonl").write_bytes(lines_of(1, "gpt-5-mini"))

    def command(*words: str) -> Any:
        return CliRunner().invoke(cli.main, ["--config", str(tmp_path / "c.toml"), "--ledger", ledger, *words])

    done = command("submit", str(tmp_path / "in.jsonl"))
    assert done.exit_code == 0, done.output
    held = command("events", "--json")
    assert held.exit_code != 0
    assert "batchmeter abandon privacy" in held.stderr
    assert not events.exists()
    done = command("abandon", "privacy")
    assert done.exit_code == 0, done.output
    assert command("events", "--json").exit_code == 0
    assert len(events.read_text().splitlines()) == 1


@pytest.mark.parametrize("changed", [{"id": "stranger"}, None])
async def test_a_redactor_gives_back_the_same_event(tmp_path: Path, changed: Any) -> None:
    recorder = Recorder()

    class Odd:
        @batchmeter.hookimpl
        def redact(self, event: Any) -> Any:
            return {"an": "event"} if changed is None else event.model_copy(update=changed)

    async with client(tmp_path, recorder, Odd()) as opened:
        await submit(opened)
        await opened.deliverer.drain(10)
        (pending,) = await opened.ledger.deliveries()
    assert recorder.seen == []
    assert "its redact returned" in (pending.last_error or "")


async def test_a_redactor_that_brings_a_provider_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "providers = ('acme',)\n" + textwrap.dedent(REDACTOR).replace(
        "class Privacy:", "class Privacy:\n    @batchmeter.hookimpl\n    def register_providers(self, register): ...\n"
    )
    install(tmp_path / "site", "acme", source, "acme_that_redacts:Privacy")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    recorder = Recorder()
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts=ACCOUNTS, track=False)
    async with batchmeter.AsyncClient(settings=settings, plugins=[recorder], environ={}) as opened:
        await submit(opened, metadata={"customer": "Ada"})
        await opened.deliverer.drain(10)
    assert [event.metadata for event in recorder.seen] == [{}]


@pytest.mark.parametrize(
    "source", ["async def redact(self, event): ...", "redact = hookimpl(scrub)", '@hookimpl(specname="redact")']
)
def test_a_redactor_is_known_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    install(tmp_path / "site", "acme", f"import gone\n{source}\n", "acme_by_source:Privacy")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert set(Plugins.load(Settings(load=()), {}).suspects) == {"acme"}


async def test_a_guard_that_fails_at_startup_is_owed_no_events(tmp_path: Path) -> None:
    class Guard:
        @batchmeter.hookimpl
        def startup(self, host: object) -> None:
            raise ConnectionError("its database is away")

        @batchmeter.hookimpl
        def before_submit(self, submission: object) -> None: ...

    async with client(tmp_path, Guard()) as opened:
        await submit(opened)
        assert await opened.ledger.subscriptions() == []


async def test_what_is_shown_is_redacted(privacy: Any, tmp_path: Path) -> None:
    async with privacy() as opened:
        await submit(opened, metadata={"customer": "Ada"})
        stored = await opened.ledger.events()
        (shown,) = await opened.deliverer.redaction.shown(stored)
        await opened.deliverer.drain(10)
    assert b"Ada" in stored[0].payload
    assert b"Ada" not in shown.payload
    assert json.loads(shown.payload)["metadata"] == {}
    assert "Ada" not in (tmp_path / "events.jsonl").read_text()


async def test_the_first_failure_is_logged_with_its_cause(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Bad:
        @batchmeter.hookimpl
        def acreate_batch(self, event: object) -> None:
            raise RuntimeError("my bug")

    with caplog.at_level(logging.DEBUG, "batchmeter"):
        async with client(tmp_path, Bad()) as opened:
            await submit(opened)
            await opened.deliverer.drain(10)
    told = [record for record in caplog.records if "Bad" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING", "DEBUG"]
    assert "RuntimeError: my bug" in told[0].getMessage()
    assert told[1].exc_info is not None
    assert told[0].exc_info is None


@pytest.mark.parametrize("asked", [float("nan"), -5.0, 0.0, 3.0, 86400.0 * 1e6, float("inf"), 1e300])
async def test_a_pause_that_a_logger_asks_for_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, asked: float
) -> None:
    class Busy:
        @batchmeter.hookimpl
        def acreate_batch(self, event: object) -> None:
            raise batchmeter.RetryLater("patience", after=asked)

    async with client(tmp_path, Busy()) as opened:
        await submit(opened)
        await opened.deliverer.drain(10)
        (pending,) = await opened.ledger.deliveries()
        assert pending.next_attempt_at is not None
        assert pending.next_attempt_at - opened.ledger.now() <= 3_600_000
    told = [record for record in caplog.records if "asks for a pause" in record.getMessage()]
    assert len(told) == (1 if asked > 3600 else 0)
