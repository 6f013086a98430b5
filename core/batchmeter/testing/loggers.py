"""The contract every logger keeps, as tests: subclass `LoggerContract`, give it a logger, run pytest.

    class TestMine(LoggerContract):
        module = "my_package"

        @pytest.fixture
        def logger(self, backend):
            return MyLogger(MySettings(url=backend.url))

        def received(self, logger):
            return [(post["id"], post) for post in backend.posts]

Tests need `pytest-asyncio` with `asyncio_mode = "auto"`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from batchmeter.config import Settings
from batchmeter.events import Event
from batchmeter.plugins import Plugins

from .bench import Bench, open_bench
from .shaky import NAME, Shaky

__all__ = ["LoggerContract"]

KINDS: tuple[dict[str, Any], ...] = (
    {"metadata": {"team": "search", "note": 'ünïcode "quotes" & <tags>\n'}, "attribution": {"tags": ["a", "b"]}},
    {"requests": 5, "script": "outcome=expired done=0.4"},
    {"script": "outcome=failed"},
    {"requests": 4, "script": "fail=0.5"},
    {"model": "a-model-nobody-has-priced"},
    {"script": "no_usage=1"},
    {"adopted": True},
)
"""A batch of each kind: completed, expired, refused, with failed lines, of unknown cost (twice), and adopted."""

_TIME_IMPORT = """
import importlib, sys, time
import batchmeter.events, batchmeter.faces.client, batchmeter.http, batchmeter.plugins
started = time.perf_counter()
importlib.import_module(sys.argv[1])
print((time.perf_counter() - started) * 1000)
"""
_IMPORTS = 3
"""Tries, of which one has to be fast enough: the machine may be busy."""


class LoggerContract:
    """Every event once by id, again after a failure, the same again in a replay; fast to import; no secrets shown."""

    module: ClassVar[str]
    """The module that the entry point names; every start of batchmeter imports it."""
    import_ms: ClassVar[float] = 150.0
    """How long that may take, over what batchmeter itself has imported."""
    secrets: ClassVar[Sequence[str]] = ()
    """Keys and addresses that the fixtures give the logger, and that no error or repr may show."""

    @pytest.fixture
    def logger(self) -> Any:
        """A new instance with a working backend; override it."""
        raise NotImplementedError("a LoggerContract needs a `logger` fixture")

    @pytest.fixture
    def broken(self) -> Any:
        """The same logger with a backend that fails: nobody listens, or it answers 500. None: that cannot be."""
        return None

    def received(self, logger: Any) -> Sequence[tuple[str, object]] | None:  # noqa: ARG002 - for those who override it
        """`(event.id, what was sent)` of everything its backend got, in any order; None where nobody can tell."""
        return None

    def wants(self, event: Event) -> bool:  # noqa: ARG002 - as above
        """Whether the logger sends this event on, among those it has a hook for."""
        return True

    # -- what it is --------------------------------------------------------------------------------------------------

    def test_it_has_hooks_for_events(self, logger: Any) -> None:
        assert handled(logger), "it has no hook for events: acreate_batch, batch_success or batch_failure"

    def test_it_is_fast_to_import(self) -> None:
        took = self.import_ms
        for _ in range(_IMPORTS):
            took = _import_ms(self.module)
            if took < self.import_ms:
                return
        pytest.fail(
            f"import {self.module} takes {took:.0f} ms at every start of batchmeter: "
            "import its vendor's SDK where it is first used"
        )

    def test_it_shows_no_secret(self, logger: Any) -> None:
        for text in (repr(logger), str(logger)):
            assert not [secret for secret in self.secrets if secret in text]

    # -- what it gets ------------------------------------------------------------------------------------------------

    async def test_it_gets_every_kind_of_event_once(self, logger: Any) -> None:
        async with open_bench(logger) as bench:
            await _submit(bench, *KINDS)
            await bench.deliver(passes=1)
            await _assert_all_delivered(bench)
            events = list(bench.recorder.events)
        self._assert_received(logger, events, once=True)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_it_gets_what_failed_again(self, logger: Any, when: Any) -> None:
        """The logger, or its process, dies before the event went out, or after that but before anybody knew."""
        shaky = Shaky(logger, when)
        async with open_bench(shaky) as bench:
            await _submit(bench, *KINDS[:2])
            await bench.deliver()
            await _assert_all_delivered(bench)
            events = list(bench.recorder.events)
            assert {event.id for event in events} <= shaky.failed
        self._assert_received(logger, events, once=when == "before")

    async def test_a_replay_changes_nothing(self, logger: Any) -> None:
        """The same ids with the same content: whoever dedupes by id cannot tell."""
        async with open_bench(logger) as bench:
            await _submit(bench, *KINDS[:2])
            await bench.deliver()
            await bench.replay()
            await _assert_all_delivered(bench)
            events = list({event.id: event for event in bench.recorder.events}.values())
        self._assert_received(logger, events, once=False)

    async def test_a_failing_backend_is_told_of(self, broken: Any) -> None:
        """An event that did not arrive is neither accepted nor given up: it waits, with the reason."""
        if broken is None:
            pytest.skip("no `broken` fixture")
        async with open_bench(broken) as bench:
            await _submit(bench, KINDS[0])
            await bench.deliver(passes=1)
            wanted = [one for one in await bench.deliveries() if self._wanted(broken, one.stored.event)]
        assert wanted
        assert {one.state for one in wanted} == {"pending"}
        errors = "\n".join(one.last_error or "" for one in wanted)
        assert errors.strip()
        assert not [secret for secret in self.secrets if secret in errors]

    def _wanted(self, logger: Any, event: Event) -> bool:
        return event.type in handled(logger) and self.wants(event)

    def _assert_received(self, logger: Any, events: Sequence[Event], *, once: bool) -> None:
        received = self.received(logger)
        if received is None:
            return
        content: dict[str, list[object]] = {}
        for event_id, sent in received:
            content.setdefault(event_id, []).append(sent)
        assert set(content) == {event.id for event in events if self._wanted(logger, event)}
        differing = {event_id: sent for event_id, sent in content.items() if any(one != sent[0] for one in sent)}
        assert not differing, "an event that was sent again is not what it was"
        if once:
            assert [event_id for event_id, sent in content.items() if len(sent) > 1] == []


def handled(logger: object) -> frozenset[str]:
    """The event types it has hooks for; ConfigError when one is misspelled."""
    plugins = Plugins(Settings(), {})
    plugins.register(logger, NAME)
    found = plugins.loggers.get(NAME)
    return found.handles if found else frozenset()


async def _submit(bench: Bench, *batches: dict[str, Any]) -> None:
    for batch in batches:
        await bench.submit(**batch)


async def _assert_all_delivered(bench: Bench) -> None:
    left = [
        f"{delivery.stored.event.type} is {delivery.state}: {delivery.last_error}"
        for delivery in await bench.deliveries()
        if delivery.state != "delivered"
    ]
    assert left == []


def _import_ms(module: str) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _TIME_IMPORT, module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - this Python
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout))
