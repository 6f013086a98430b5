"""`-n 3`: the tests are collected once and run by three forks of this process, which has imported everything already."""

import atexit
import os
import signal
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest

_SHOWN = ("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish")
"""Hooks that count and show tests: the parent alone calls them."""
_AHEAD = 2
"""Tests that a worker knows of: the next one decides which fixtures the first one leaves."""


def add_option(parser: pytest.Parser) -> None:
    option: Any = parser.getgroup(
        "forks"
    )._addoption  # pytest keeps small letters for plugins of its family: -n is xdist's
    option("-n", dest="forks", default="0", metavar="NUMBER", help="forks that run the tests, or auto")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    option = session.config.option
    wanted = (os.cpu_count() or 1) if option.forks == "auto" else int(option.forks)
    number = min(wanted, len(session.items))
    broken = session.testsfailed and not option.continue_on_collection_errors
    if number < 2 or option.collectonly or option.usepdb or broken:
        return None  # pytest's own loop
    run = _Run(session, number)
    try:
        run.all()
    finally:
        run.stop()
    return True


class _Spans:
    """Tests that nobody has: to each worker neighbours, which share fixtures; one that has none takes half of another's."""

    def __init__(self, tests: int, number: int) -> None:
        self._spans = [range(tests * each // number, tests * (each + 1) // number) for each in range(number)]

    def next(self, worker: int) -> int | None:
        if not self._spans[worker]:
            largest = max(range(len(self._spans)), key=lambda each: len(self._spans[each]))
            span = self._spans[largest]
            self._spans[largest], self._spans[worker] = span[: len(span) // 2], span[len(span) // 2 :]
        if not self._spans[worker]:
            return None
        first, self._spans[worker] = self._spans[worker][0], self._spans[worker][1:]
        return first


class _Worker:
    """A fork, and the tests that it was given and has not reported."""

    def __init__(self, session: pytest.Session, number: int, others: list["_Worker"]) -> None:
        self.number = number
        self.given: deque[int | None] = deque()
        self.link, theirs = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy has a thread, and knows of forks
            self.pid = os.fork()
        if self.pid == 0:
            for link in (self.link, *(other.link for other in others)):
                link.close()
            _end(lambda: _work(session, theirs, number), theirs)
        theirs.close()

    def hear(self) -> tuple[str, Any]:
        try:
            message: tuple[str, Any] = self.link.recv()
        except (EOFError, ConnectionError):
            return "end", None
        return message

    def give(self, test: int | None) -> None:
        """None is the end, and comes once."""
        if None not in self.given:
            self.given.append(test)
            with suppress(ConnectionError):  # it ended in the midst of a test, and will be heard of
                self.link.send(test)


class _Run:
    def __init__(self, session: pytest.Session, number: int) -> None:
        self._session = session
        self._spans = _Spans(len(session.items), number)
        self._workers: list[_Worker] = []
        self._reported = 0
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined] # the forks' folders lie in it
        for each in range(number):
            self._start(each, ())

    def _start(self, number: int, first: tuple[int, ...]) -> None:
        worker = _Worker(self._session, number, self._workers)
        self._workers.append(worker)
        for test in first:
            worker.give(test)
        while len(worker.given) < _AHEAD and None not in worker.given:
            worker.give(self._spans.next(number))

    def all(self) -> None:
        """Every test is reported once, or this raises."""
        while self._workers:
            ready = wait([worker.link for worker in self._workers])
            for worker in [each for each in self._workers if each.link in ready]:
                self._heard(worker, *worker.hear())
                self._stop_if_wished()
        if self._reported != len(self._session.items):
            raise RuntimeError(f"{self._reported} of {len(self._session.items)} tests were run")

    def _heard(self, worker: _Worker, kind: str, content: Any) -> None:
        hook, config = self._session.config.hook, self._session.config
        if kind == "end":
            self._ended(worker)
            return
        if kind == "warning":
            hook.pytest_warning_recorded.call_historic(kwargs=content)
            return
        if kind == "error":
            raise RuntimeError(f"a fork stopped:\n{content}")
        self._reported += 1
        worker.given.popleft()
        worker.give(self._spans.next(worker.number))
        for data in content:
            report = hook.pytest_report_from_serializable(config=config, data=data)
            hook.pytest_runtest_logreport(report=report)

    def _ended(self, worker: _Worker) -> None:
        """At its end, or in the midst of a test: that test failed, and another fork goes on."""
        _, status = os.waitpid(worker.pid, 0)
        worker.link.close()
        self._workers.remove(worker)
        open_tests = [test for test in worker.given if test is not None]
        if not open_tests:
            return
        item = self._session.items[open_tests[0]]
        text = f"the process of the test ended with status {os.waitstatus_to_exitcode(status)}"
        self._reported += 1
        crash = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
        self._session.config.hook.pytest_runtest_logreport(report=crash)
        self._start(worker.number, tuple(open_tests[1:]))

    def _stop_if_wished(self) -> None:
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def stop(self) -> None:
        """Only a session that ends early has workers still: they leave their tests and their fixtures."""
        for worker in self._workers:
            worker.link.close()
            os.kill(worker.pid, signal.SIGINT)
        for worker in self._workers:
            os.waitpid(worker.pid, 0)


class _Teller:
    """The plugin that hears in a fork of what the parent has to show."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self.reports: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str, nodeid: str) -> None:
        text = warnings.WarningMessage(
            str(warning_message.message), warning_message.category, warning_message.filename, warning_message.lineno
        )
        named = {"warning_message": text, "when": when, "nodeid": nodeid, "location": None}
        self._link.send(("warning", named))


def _work(session: pytest.Session, link: Connection, number: int) -> None:
    config = session.config
    teller = _Teller(link)
    _separate(config, number)
    config.pluginmanager.register(teller, "forks")
    try:
        test = link.recv()
        while test is not None:
            after = link.recv()
            following = None if after is None else session.items[after]
            config.hook.pytest_runtest_protocol(item=session.items[test], nextitem=following)
            serialize = config.hook.pytest_report_to_serializable
            reports = [serialize(config=config, report=each) for each in teller.reports if _is_of_use(each, config)]
            teller.reports.clear()
            link.send(("reports", reports))
            test = after
    except (EOFError, ConnectionError, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the session ends early; fixtures still end as they should
    session._setupstate.teardown_exact(None)
    config._ensure_unconfigure()


def _is_of_use(report: pytest.TestReport, config: pytest.Config) -> bool:
    """A setup and a teardown that passed are two thirds of all reports, and few options show them."""
    shown = config.option.durations is not None or config.option.xmlpath or report.sections
    return report.when == "call" or not report.passed or bool(shown)


def _separate(config: pytest.Config, number: int) -> None:
    """A fork shows nothing, has temporary folders of its own, and captures into files of its own."""
    for name in _SHOWN:
        hook = getattr(config.hook, name)
        for implementation in hook.get_hookimpls():
            hook._remove_plugin(implementation.plugin)
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"fork{number}"
    factory._basetemp.mkdir(mode=0o700, exist_ok=True)
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()


def _end(work: Callable[[], None], link: Connection) -> NoReturn:
    """Do the work and end as an interpreter does, without taking a thousand modules apart."""
    status = 1
    try:
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent raises it
            link.send(("error", traceback.format_exc()))
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
