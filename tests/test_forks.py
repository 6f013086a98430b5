"""The forks that run this suite lose no test and no failure, whatever a test does to its process."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from tests.warm_python import WARM

ROOT = Path(__file__).parent.parent
CONFTEST = """
from tests import forks

pytest_addoption = forks.add_option

def pytest_configure(config):
    config.pluginmanager.register(forks)
"""
TESTS = """
import os, signal, warnings
import pytest

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    yield tmp_path_factory.mktemp("shared")
    print("the fixture ended", file=open("ends", "a"))

@pytest.mark.parametrize("number", range(20))
def test_plain(number, shared):
    assert shared.parent.name.startswith("fork")

def test_fails():
    print("printed before")
    assert 1 == 2

def test_kills():
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture
def broken():
    yield
    raise ValueError("in the teardown")

def test_error(broken): pass

def test_skips():
    pytest.skip("for a reason")

@pytest.mark.xfail
def test_expected():
    raise OSError

@pytest.mark.filterwarnings("default")
def test_warns():
    warnings.warn("watch out")

def test_parts(subtests):
    for part in range(3):
        with subtests.test(part=part):
            assert part != 1

def test_reads(capfd):
    os.system("echo from a child")
    assert capfd.readouterr().out == "from a child\\n"
"""


def run(folder: Path, *arguments: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_all.py").write_text(TESTS)
    plugins = [f"-pno:{name}" for name in ("cacheprovider", "schemathesis", "hypothesispytest", "xdist", "anyio")]
    command = [WARM, "-m", "pytest", "-rA", "--rootdir", str(folder), *plugins, *arguments]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False).stdout


def test_every_test_is_reported_once(tmp_path: Path) -> None:
    shown = run(tmp_path, "-n", "3")
    summary = shown.partition("short test summary info")[2]
    counted = Counter(line.split()[0].partition("(")[0] for line in summary.splitlines()[1:-1])
    assert counted == {"PASSED": 24, "FAILED": 2, "ERROR": 1, "SKIPPED": 1, "XFAIL": 1, "SUBFAILED": 1}, shown
    assert len(set(re.findall(r"PASSED \S+::(test_plain\[\d+\])", summary))) == 20
    assert "the process of the test ended with status -9" in shown
    assert "printed before" in shown
    assert "UserWarning: watch out" in shown
    assert "the fixture ended\n" in (tmp_path / "ends").read_text()


def test_the_first_failure_can_end_it(tmp_path: Path) -> None:
    shown = run(tmp_path, "-n", "2", "-x", "-k", "fails or kills or expected")
    assert "1 failed" in shown.splitlines()[-1]
    assert "stopping after 1 failures" in shown
