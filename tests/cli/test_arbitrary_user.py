"""A container as OpenShift runs it: an arbitrary uid that nobody knows, no HOME, and a root that nobody may write."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
UID = "12345"
AS_NOBODY = (
    f"setpriv --reuid {UID} --regid {UID} --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
)
"""The capability lets the user read this interpreter, which may lie in root's home; it lets nobody write."""
READ_ONLY = "mount -o remount,bind,ro / && mount -t tmpfs -o mode=777 tmpfs"
INSIDE = """
import gc, json, os, sys
import batchmeter.cli.batches, batchmeter.cli.meter, batchmeter.faces.api, batchmeter.ledger, batchmeter.tracker.tracker
from batchmeter.config import Settings
from batchmeter.plugins import Plugins
from tests.warm_python import _become, _end

Plugins.load(Settings(), {})  # the user imports it all, once for all commands
gc.freeze()
for argv, environ in json.loads(sys.argv[1]):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.close(write)
        _become({"cwd": os.getcwd(), "env": {**os.environ, **environ}})
        _end(argv)
    os.close(write)
    with open(read, encoding="utf-8") as output:
        text = output.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, text]), flush=True)
"""
"""Each command is a process of its own, with variables of its own."""


@pytest.fixture
def run(tmp_path):
    """Runs commands, or Python code after "-c", in one such container after each other; gives (exit code, output) of each."""
    if os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("needs root, and setpriv and unshare of util-linux, to become another user")
    volume = tmp_path / "volume"
    volume.mkdir()
    enter = ["unshare", "--mount", "sh", "-ec", f'{READ_ONLY} "$0" && cd "$0" && exec {AS_NOBODY} "$@"', str(volume)]

    def container(*commands: tuple[list[str], dict[str, str]]) -> list[tuple[int, str]]:
        environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ROOT}
        command = [*enter, sys.executable, "-c", INSIDE, json.dumps(commands)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        if done.stderr.startswith(("unshare:", "mount:", "setpriv:")):
            pytest.skip(f"this machine lets root make no such container: {done.stderr.strip()}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Traceback" not in done.stdout, done.stdout
        return [tuple(json.loads(line)) for line in done.stdout.splitlines()]

    return container


ANSWER = (
    '{"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-5-mini",'
    ' "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}}}'
)
FILES = f"""
import os
open("a.jsonl", "w").write({ANSWER!r})
open("b.toml", "w").write(f'ledger = "{{os.getcwd()}}/m.db"')
try: open("/etc/mine", "w")
except OSError as error: print(os.getuid(), error.strerror)
"""
CATCH = """import batchmeter
try: batchmeter.list_batches(api_key="k", api_base="http://127.0.0.1:9/v1")
except Exception as error: print(type(error).__name__, error)"""
NAME_ONE = "name a ledger that can be written, with --ledger, BATCHMETER_LEDGER or `ledger` in the settings"


def test_arbitrary_user_without_home_needs_a_named_ledger(run):
    who, metered, listed, configured, files, *refused, in_python = run(
        (["-c", FILES], {}),
        (["-m", "batchmeter", "meter", "a.jsonl"], {}),
        (["-m", "batchmeter", "batches"], {"BATCHMETER_LEDGER": "./l.db"}),
        (["-m", "batchmeter", "batches"], {"BATCHMETER_CONFIG": "b.toml"}),
        (["-c", "import os; print(*os.listdir())"], {}),
        (["-m", "batchmeter", "batches"], {}),
        (["-m", "batchmeter", "batches"], {"HOME": "/"}),
        (["-c", CATCH], {"HOME": "/nonexistent"}),
    )
    assert who == (0, f"{UID} Read-only file system\n")
    assert (metered[0], "gpt-5-mini" in metered[1]) == (0, True), metered
    assert listed[0] == configured[0] == 0
    assert {"l.db", "m.db"} <= set(files[1].split())
    for code, output in refused:
        assert (code > 0, output.count("\n")) == (True, 1)
        assert NAME_ONE in output
    assert in_python[1].startswith("LedgerError ")
    assert NAME_ONE in in_python[1]
