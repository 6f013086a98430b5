"""A container as OpenShift runs it: an arbitrary uid that nobody knows, no HOME, and a root that nobody may write."""

import os
import shutil
import subprocess
import sys

import pytest

UID = "12345"
AS_NOBODY = (
    f"setpriv --reuid {UID} --regid {UID} --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
)
"""The capability lets the user read this interpreter, which may lie in root's home; it lets nobody write."""
READ_ONLY = "mount -o remount,bind,ro / && mount -t tmpfs -o mode=777 tmpfs"


@pytest.fixture
def run(tmp_path):
    """Runs commands in one such container after each other; gives (exit code, output) of each."""
    if os.geteuid() != 0 or not (shutil.which("setpriv") and shutil.which("unshare")):
        pytest.skip("needs root, and setpriv and unshare of util-linux, to become another user")
    volume = tmp_path / "volume"
    volume.mkdir()
    enter = ["unshare", "--mount", "sh", "-ec", f'{READ_ONLY} "$0" && cd "$0" && exec {AS_NOBODY} sh -c "$1"']

    def container(*scripts: str, **variables: str) -> list[tuple[int, str]]:
        environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "V": str(volume), **variables}
        command = [*enter, str(volume), "\n".join(f"{script} 2>&1; echo @@$?" for script in scripts)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
        if done.stderr.startswith(("unshare:", "mount:", "setpriv:")):
            pytest.skip(f"this machine lets root make no such container: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        parts = done.stdout.split("@@")
        outputs = [parts[0], *(part.partition("\n")[2] for part in parts[1:-1])]
        codes = [int(part.partition("\n")[0]) for part in parts[1:]]
        assert "Traceback" not in done.stdout, done.stdout
        return list(zip(codes, outputs, strict=True))

    return container


ANSWER = (
    '{"custom_id": "1", "response": {"status_code": 200, "body": {"model": "gpt-5-mini",'
    ' "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}}}'
)
BATCHMETER = f"{sys.executable} -m batchmeter"
CATCH = """import batchmeter
try: batchmeter.list_batches(api_key="k", api_base="http://127.0.0.1:9/v1")
except Exception as error: print(type(error).__name__, error)"""
NAME_ONE = "name a ledger that can be written, with --ledger, BATCHMETER_LEDGER or `ledger` in the settings"


def test_arbitrary_user_without_home_works_with_a_named_ledger(run):
    who, mine, metered, listed, configured = run(
        "id -u",
        "touch /etc/mine",
        f"echo '{ANSWER}' > a.jsonl; {BATCHMETER} meter a.jsonl",
        f"BATCHMETER_LEDGER=$V/l.db {BATCHMETER} batches",
        f"echo 'ledger = \"{{}}/m.db\"' | sed s,{{}},$V, > b.toml; BATCHMETER_CONFIG=$V/b.toml {BATCHMETER} batches; ls",
    )
    assert who == (0, f"{UID}\n")
    assert "Read-only file system" in mine[1]
    assert (metered[0], "gpt-5-mini" in metered[1]) == (0, True)
    assert listed[0] == configured[0] == 0
    assert {"l.db", "m.db"} <= set(configured[1].split())


def test_arbitrary_user_without_a_ledger_gets_one_line(run):
    *refused, in_python = run(
        f"{BATCHMETER} batches",
        f"HOME=/ {BATCHMETER} batches",
        f"HOME=/nonexistent {sys.executable} -c '{CATCH}'",
    )
    for code, output in refused:
        assert (code > 0, output.count("\n")) == (True, 1)
        assert NAME_ONE in output
    assert in_python[1].startswith("LedgerError ")
    assert NAME_ONE in in_python[1]
