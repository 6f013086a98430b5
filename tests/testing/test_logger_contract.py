"""The file logger keeps the logger contract; and loggers that break a promise fail the test that is about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchmeter.errors import ConfigError
from batchmeter.hookspecs import hookimpl
from batchmeter.testing import LoggerContract, Recorder, loggers
from batchmeter_file import FileLogger, FileSettings


class TestFile(LoggerContract):
    module = "batchmeter_file"

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "events.jsonl"

    @pytest.fixture
    def logger(self, path: Path) -> FileLogger:
        self.path = path
        return FileLogger(FileSettings(path=path))

    @pytest.fixture
    def broken(self, tmp_path: Path) -> FileLogger:
        (tmp_path / "in-the-way").write_text("a file where a folder should be")
        return FileLogger(FileSettings(path=tmp_path / "in-the-way" / "events.jsonl"))

    def received(self, logger: FileLogger) -> list[tuple[str, object]]:
        return [(json.loads(line)["id"], line) for line in self.path.read_bytes().splitlines()]


class Honest(Recorder):
    """A logger that breaks no promise, to derive liars from."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, object]] = []


class Swallows(Honest):
    """Tells nobody that its backend failed."""

    @hookimpl
    async def batch_success(self, event: Any) -> None: ...


class Counts(Honest):
    """Sends something else every time."""

    @hookimpl
    async def batch_success(self, event: Any) -> None:
        self.sent.append((event.id, len(self.sent)))


class Chokes(Honest):
    """Has never heard of an unknown cost."""

    @hookimpl
    async def batch_success(self, event: Any) -> None:
        self.sent.append((event.id, f"{event.cost.total:.2f}"))


class Invents(Honest):
    """Sends under ids of its own."""

    @hookimpl
    async def batch_success(self, event: Any) -> None:
        self.sent.append((f"{event.id}-{len(self.sent)}", event.batch_id))


class Doubles(Honest):
    """Sends twice what it gets once."""

    @hookimpl
    async def batch_success(self, event: Any) -> None:
        self.sent += [(event.id, event.batch_id)] * 2


class Contract(LoggerContract):
    module = "json"
    secrets = ("hunter2",)

    def wants(self, event: Any) -> bool:
        return event.type == "batch_success"

    def received(self, logger: Honest) -> list[tuple[str, object]]:
        return logger.sent


async def test_a_liar_about_its_backend_is_caught() -> None:
    with pytest.raises(AssertionError, match="delivered"):
        await Contract().test_a_failing_backend_is_told_of(Swallows())


async def test_a_secret_in_an_error_is_caught() -> None:
    class Leaks(Honest):
        @hookimpl
        async def batch_success(self, event: Any) -> None:
            raise ConnectionError("POST https://hooks.example.com/hunter2 failed")

    with pytest.raises(AssertionError, match="hunter2"):
        await Contract().test_a_failing_backend_is_told_of(Leaks())


async def test_a_resend_that_differs_is_caught() -> None:
    with pytest.raises(AssertionError, match="not what it was"):
        await Contract().test_a_replay_changes_nothing(Counts())
    with pytest.raises(AssertionError, match="not what it was"):
        await Contract().test_it_gets_what_failed_again(Counts(), "after")


async def test_an_unknown_cost_that_is_formatted_as_a_number_is_caught() -> None:
    with pytest.raises(AssertionError, match="NoneType"):
        await Contract().test_it_gets_every_kind_of_event_once(Chokes())


async def test_events_under_other_ids_are_caught() -> None:
    with pytest.raises(AssertionError):
        await Contract().test_it_gets_every_kind_of_event_once(Invents())


async def test_a_doubled_event_is_caught() -> None:
    with pytest.raises(AssertionError):
        await Contract().test_it_gets_every_kind_of_event_once(Doubles())


def test_a_secret_in_the_repr_is_caught() -> None:
    class Shows(Honest):
        def __repr__(self) -> str:
            return "Shows('hunter2')"

    with pytest.raises(AssertionError):
        Contract().test_it_shows_no_secret(Shows())


def test_a_heavy_import_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_logger.py").write_text("import time\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("batchmeter.testing.loggers._IMPORTS", 1)  # further tries take as long
    lines = [line for line in loggers._TIME_IMPORT.splitlines() if not line.startswith("import batchmeter")]
    monkeypatch.setattr("batchmeter.testing.loggers._TIME_IMPORT", "\n".join(lines))  # it imports nothing of ours

    class Heavy(Contract):
        module = "heavy_logger"

    with pytest.raises(pytest.fail.Exception, match="at every start"):
        Heavy().test_it_is_fast_to_import()


def test_a_logger_without_event_hooks_is_caught() -> None:
    class Deaf:
        @hookimpl
        def shutdown(self) -> None: ...

    class Misspelled:
        @hookimpl
        def batch_sucess(self, event: Any) -> None: ...

    with pytest.raises(AssertionError, match="no hook"):
        Contract().test_it_has_hooks_for_events(Deaf())
    with pytest.raises(ConfigError, match="batch_sucess"):
        Contract().test_it_has_hooks_for_events(Misspelled())
