"""Trouble around a command is one line: a full disk, a closed pipe, few file descriptors, a damaged ledger."""

import os
import random
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from tests.warm_python import WARM

from batchmeter.testing.sandbox import sandbox_thread

from .conftest import stop

BATCHMETER = [WARM, "-m", "batchmeter"]
ACCOUNT = '[accounts.sandbox]\nprovider = "sandbox"\nspeed = 1000000\n'


def run(*arguments, command=BATCHMETER, environ=(), **options):
    return subprocess.run(
        [*command, *arguments],
        stderr=subprocess.PIPE,
        env={**os.environ, **dict(environ)},
        check=False,
        text=True,
        **options,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [["--help"], ["stats"]])
def test_a_full_disk_is_one_line(make_shell, command):
    make_shell("http://127.0.0.1:1")
    with Path("/dev/full").open("w") as full:
        done = run(*command, stdout=full)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_reader_that_leaves_ends_the_command_in_silence(make_shell):
    make_shell("http://127.0.0.1:1")
    read, write = os.pipe()
    os.close(read)
    done = run("stats", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_few_file_descriptors_are_one_line(make_shell):
    pytest.importorskip("resource")
    make_shell("http://127.0.0.1:1")
    few = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (7, 7)); runpy.run_module('batchmeter', run_name='__main__')"
    done = run("stats", command=[WARM, "-c", few], stdout=subprocess.PIPE)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


def test_a_terminal_without_a_character_gets_its_escape(shell):
    requests = shell.requests(1)
    shell("submit", requests, "--tag", "é", "--wait")
    done = run("costs", "--group-by", "tag", environ={"PYTHONIOENCODING": "ascii"}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\xe9" in done.stdout


READS = (
    ["ledger", "check"], ["events"], ["events", "--json"], ["batches", "list"], ["stats"], ["costs"], ["deliveries"],
    ["reprice", "--dry-run"], ["prune", "--older-than", "1h"],
)  # fmt: skip


def damage(kind: str, data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(100, len(data) - 4096)
    match kind:
        case "cut":
            return data[: start | 1]
        case "zeros":
            data[start : start + 4096] = bytes(4096)
        case "noise":
            data[start : start + 600] = chance.randbytes(600)
        case "documents":
            for _ in range(40):
                place = data.find(b'"', chance.randrange(4096, len(data) - 1))
                data[place : place + 1] = b"\xff"
        case "digits":  # documents stay documents
            place = data.find(b"_tokens", data.find(b'"batch_success"'))
            data[place + 9 : place + 10] = b"7"
    return data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a ledger with some settled batches."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("BATCHMETER_PLUGINS", "file")
        patch.setenv("BATCHMETER_FILE_PATH", str(folder / "events.jsonl"))
        patch.delenv("BATCHMETER_LEDGER")
        from click.testing import CliRunner

        from batchmeter.cli import main

        line = '{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}}\n'
        Path("requests.jsonl").write_text(line)
        Path("batchmeter.toml").write_text(f'ledger = "ledger.db"\n\n{ACCOUNT}')
        for _ in range(2):
            done = CliRunner().invoke(main, ["submit", "requests.jsonl", "--provider", "sandbox", "--wait"])
            assert done.exit_code == 0, done.output
    return (folder / "ledger.db").read_bytes()


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("kind", ["cut", "zeros", "noise", "documents", "digits"])
def test_a_damaged_ledger_is_found_and_read_without_a_traceback(make_shell, whole, kind, seed):
    shell = make_shell("http://127.0.0.1:1")
    shell.configure(f'ledger = "ledger.db"\n\n{ACCOUNT}')
    path = shell.folder / "ledger.db"
    path.write_bytes(whole)
    before = contents(path)
    path.write_bytes(damage(kind, bytearray(whole), random.Random(f"{kind} {seed}")))
    harmless = contents(path) == before
    check, *_ = [shell(*command) for command in READS]
    assert harmless or check.code == 1, check.out


def contents(path):
    """Every row; None where they cannot be read."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        try:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            return {name: connection.execute(f"SELECT * FROM {name.decode()}").fetchall() for (name,) in tables}
        except sqlite3.DatabaseError:
            return None


def test_ctrl_c_while_waiting_says_the_id_and_how_to_go_on(make_shell):
    with sandbox_thread(speed=1) as slow:
        shell = make_shell(slow.url)
        command = shell.start("submit", shell.requests(1), "--wait")
        assert command.stderr is not None
        batch_id = command.stderr.readline().partition(":")[0]
        stopped = stop(command, signal.SIGINT)
    assert stopped.code == 130
    assert f"{batch_id} goes on; wait for it again: batchmeter batches wait {batch_id}" in stopped.err
    assert "Traceback" not in stopped.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["--nope"], "error: No such option '--nope'"),
        (["submit"], "error: Missing argument 'FILE'"),
        (["submit", "nothing.jsonl"], "error: no such file: nothing.jsonl"),
        (["costs", "--by"], "error: Option '--by' requires an argument"),
        (["cost"], "error: no command 'cost'; did you mean 'costs'?"),
        (["batches", "nope"], "error: No such command 'nope'"),
        (["costs", "--by", "city"], "error: "),
        (["new-plugin", "class"], "error: 'class' cannot be a plugin's name: it is a word of Python's own"),
    ],
)
def test_every_complaint_has_one_form(make_shell, command, words):
    ran = make_shell("http://127.0.0.1:1")(*command)
    assert (ran.code, ran.err.startswith(words)) == (2, True), ran.err
    assert "Error" not in ran.err


def test_requests_come_from_standard_input(shell):
    content = Path(shell.requests(3)).read_bytes()
    ran = shell("submit", "-", "--wait", "--json", stdin=content)
    assert (ran.code, ran.json["request_counts"]["succeeded"]) == (0, 3)
    wrong = shell("submit", "-", stdin=b"nonsense\n")
    assert wrong.code == 2
    assert "line 1" in wrong.err
