"""One plugin's hook is called alone: whatever it does, it holds up no other, and nothing but an Exception comes out."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import pluggy
import pytest
from tests.warm_python import WARM

import batchmeter
from batchmeter import hook_calls, hookspecs
from batchmeter.config import Settings
from batchmeter.errors import ConfigError, SubmissionRefusedError
from batchmeter.hookspecs import hookspec
from batchmeter.plugins import Plugins
from batchmeter.testing.requests import lines_of

ACCOUNTS = {"sandbox": {"provider": "sandbox", "speed": 1e6}}
CHAT = "/v1/chat/completions"


class Blocks:
    """Its async hook blocks the loop that it runs in until it is released."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.threads: set[str] = set()

    @batchmeter.hookimpl
    async def acreate_batch(self, event: object) -> None:
        self.threads.add(threading.current_thread().name)
        self.begun.set()
        assert self.release.wait(60)


class Idle:
    @batchmeter.hookimpl
    async def acreate_batch(self, event: object) -> None:
        await asyncio.sleep(0)


def settings(path: Path) -> Settings:
    return Settings(ledger=str(path / "l.db"), accounts=ACCOUNTS, track=False, load=())


async def submit(client: batchmeter.AsyncClient) -> None:
    file = await client.files.create(file=("in.jsonl", lines_of(1, "gpt-5-mini")), custom_llm_provider="sandbox")
    await client.batches.create(input_file_id=file.id, endpoint=CHAT, custom_llm_provider="sandbox")


@pytest.fixture
def callback() -> Iterator[Blocks]:
    blocks = Blocks()
    batchmeter.on("acreate_batch", name="blocks")(blocks.acreate_batch)
    yield blocks
    batchmeter.off(blocks.acreate_batch)


def held_up(client: batchmeter.Client, blocks: Blocks) -> None:
    """Two batches are made while the hook blocks."""
    file = client.files.create(file=("in.jsonl", lines_of(1, "gpt-5-mini")), custom_llm_provider="sandbox")
    for _ in range(2):
        client.batches.create(input_file_id=file.id, endpoint=CHAT, custom_llm_provider="sandbox")
        assert blocks.begun.wait(60)
    assert not blocks.release.is_set()
    blocks.release.set()


def test_a_callback_that_blocks_holds_up_no_blocking_client(tmp_path: Path, callback: Blocks) -> None:
    with batchmeter.Client(settings=settings(tmp_path), environ={}) as client:
        held_up(client, callback)
    assert callback.threads == {"batchmeter-on:blocks"}


def test_an_object_that_blocks_holds_up_no_blocking_client(tmp_path: Path) -> None:
    blocks = Blocks()
    with batchmeter.Client(settings=settings(tmp_path), plugins={"mine": blocks}, environ={}) as client:
        held_up(client, blocks)
    assert blocks.threads == {"batchmeter-mine"}


async def test_a_hook_that_holds_up_the_user_s_loop_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = set()

    class Mine(Idle):
        @batchmeter.hookimpl
        async def before_submit(self, submission: object) -> None:
            threads.add(threading.current_thread())
            await asyncio.sleep(0)

    async with batchmeter.AsyncClient(settings=settings(tmp_path), plugins={"mine": Mine()}, environ={}) as client:
        await submit(client)
        await client.deliverer.drain(10)
        assert "held up the event loop" not in caplog.text
        monkeypatch.setattr(hook_calls, "BLOCKED_SECONDS", 0.0)
        await submit(client)
    assert "plugin mine: its before_submit held up the event loop, and all else in it, for " in caplog.text
    assert threads == {threading.current_thread()}, "what lives in the program's loop can be used there"


async def test_what_a_watched_hook_awaits_may_fail_or_end(tmp_path: Path) -> None:
    seen: list[object] = []

    class Waits:
        @batchmeter.hookimpl
        async def before_submit(self, submission: object) -> None:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                seen.append("timeout")
            try:
                await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0)
            except TimeoutError:
                seen.append("timeout")
            seen.append(await asyncio.to_thread(lambda: "result"))

    async with batchmeter.AsyncClient(settings=settings(tmp_path), plugins=[Waits()], environ={}) as client:
        await submit(client)
    assert seen == ["timeout", "timeout", "result"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3), ValueError("too dear")])
async def test_what_before_submit_raises_refuses_and_ends_nothing(tmp_path: Path, error: BaseException) -> None:
    class Odd:
        @batchmeter.hookimpl
        async def before_submit(self, submission: object) -> None:
            raise error

    async with batchmeter.AsyncClient(settings=settings(tmp_path), plugins={"odd": Odd()}, environ={}) as client:
        with pytest.raises(SubmissionRefusedError, match="plugin odd: .*(cancelled itself|SystemExit: 3|too dear)"):
            await submit(client)
        assert await client.ledger.list_batches() == []


def test_a_hook_of_a_plugin_s_own_that_exits_ends_nothing() -> None:
    specs = ModuleType("page_hooks")

    def register_pages(register: object) -> None: ...

    specs.register_pages = hookspec(register_pages)  # type: ignore[attr-defined]

    class Exits:
        hookspecs = specs

        @batchmeter.hookimpl
        def register_pages(self, register: object) -> None:
            sys.exit(3)

    class Works:
        @batchmeter.hookimpl
        def register_pages(self, register: object) -> str:
            return "a page"

    plugins = Plugins()
    plugins.register(Exits(), "exits")
    plugins.register(Works(), "works")
    assert plugins.call_hook("register_pages", register=None) == [("works", "a page")]


def test_two_programs_classes_of_one_name_are_two_loggers(tmp_path: Path) -> None:
    """The ledger would give each half of the events."""
    plugins = Plugins()
    assert plugins.register(Idle()) == f"{__name__}.Idle"
    with pytest.raises(ConfigError, match=r"test_hook_calls\.Idle'.*already registered"):
        plugins.register(Idle())
    names = [_name_in_a_script(tmp_path / name) for name in ("billing.py", "chatbot.py")]
    assert names == [f"__main__.Tell@{tmp_path / name}" for name in ("billing.py", "chatbot.py")]


def _name_in_a_script(path: Path) -> str:
    path.write_text(
        "import batchmeter\nfrom batchmeter.plugins import Plugins\n\n"
        "class Tell:\n    @batchmeter.hookimpl\n    def batch_success(self, event): ...\n\n"
        "print(Plugins().register(Tell()))\n"
    )
    return subprocess.run([WARM, str(path)], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
def test_a_plugin_s_loop_begins_anew_in_a_fork() -> None:
    script = """
import asyncio, os
from batchmeter.hook_calls import PluginThread
thread = PluginThread("acme")
async def pid(): return os.getpid()
def asked(): return asyncio.run(thread.run(pid, lambda: None, lambda: None))
assert asked() == os.getpid()
child = os.fork()
if child == 0:
    os._exit(0 if asked() == os.getpid() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([WARM, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@batchmeter.hookimpl
def loose(event: object) -> None: ...


class Ancestor:
    @batchmeter.hookimpl
    def inherited(self) -> None: ...

    @batchmeter.hookimpl
    def replaced(self) -> None: ...


class Odd(Ancestor):
    """Hooks in all the ways that pluggy takes one, and what is none."""

    __slots__ = ("slot", "unset")
    number = 3
    replaced = None
    made_here = staticmethod(loose)
    of_class = classmethod(loose)
    outside = batchmeter.hookimpl(staticmethod(lambda: None))
    partial = partial(loose)
    kept = batchmeter.hookimpl(cache(lambda: None))

    def __init__(self) -> None:
        self.own = loose
        self.slot = loose
        self.bound = Ancestor().inherited

    @batchmeter.hookimpl
    def plain(self) -> None: ...

    @property
    def trap(self) -> None:
        raise RuntimeError("a plugin's code ran")

    def no_hook(self) -> None: ...


def test_hooks_are_found_as_pluggy_finds_them() -> None:
    quick, own = hook_calls.PluginManager("batchmeter"), pluggy.PluginManager("batchmeter")
    found: dict[object, set[str]] = {}
    for plugin in (Odd(), sys.modules[__name__], hookspecs):
        for name in dir(plugin):
            ours = quick.parse_hookimpl_opts(plugin, name), quick.parse_hookspec_opts(plugin, name)
            assert ours == (own.parse_hookimpl_opts(plugin, name), own.parse_hookspec_opts(plugin, name)), name
            found.setdefault(plugin, set()).update({name} if any(ours) else set())
    assert found.popitem()[1] >= {"acreate_batch", "batch_success", "register_providers"}
    assert found.popitem()[1] == {"loose"}
    assert found.popitem()[1] == {"inherited", "plain", "own", "slot", "bound", "made_here", "of_class", "outside"}
