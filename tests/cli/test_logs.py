"""The log of a service: how much, as text or JSON, with times, and the work that it tells of."""

import json
import logging
import re
import signal

import pytest

from .conftest import stop

STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z (\w+) batchmeter: (.+)")


@pytest.fixture(autouse=True)
def own_log(monkeypatch):
    """The commands run in this process, and its log is one for all."""
    library = logging.getLogger("batchmeter")
    before = (list(library.handlers), library.level, library.propagate)
    monkeypatch.setenv("BATCHMETER_LOG", "")
    yield
    library.handlers[:], level, library.propagate = before
    library.setLevel(level)


def test_info_says_what_was_submitted_settled_and_delivered(shell) -> None:
    ran = shell("--log-level", "info", "submit", shell.requests(2), "--wait", "--json")
    found = [match for line in ran.err.splitlines() if (match := STAMP.fullmatch(line))]
    assert {match[1] for match in found} == {"INFO"}
    told = [match[2] for match in found]
    batch_id = ran.json["batch_id"]
    assert f"batch {batch_id} submitted to openai (/v1/chat/completions)" in told
    assert any(line.startswith(f"batch {batch_id} of openai settled: completed, 0.") for line in told)
    assert [line.split()[2] for line in told if line.endswith("delivered to file")] == [
        "(acreate_batch)",
        "(batch_success)",
    ]


def test_json_lines_have_the_same_members(shell, monkeypatch) -> None:
    monkeypatch.setenv("BATCHMETER_LOG", "info,json")
    ran = shell("submit", shell.requests(1), "--wait", "--json")
    lines = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    assert {tuple(line) for line in lines} == {("time", "level", "logger", "message")}
    assert {(line["level"], line["logger"]) for line in lines} == {("info", "batchmeter")}


def test_nothing_is_logged_below_the_level(shell) -> None:
    ran = shell("--log-level", "warning", "submit", shell.requests(1), "--wait", "--json")
    assert "INFO" not in ran.err


def test_an_unknown_word_is_one_line(shell, monkeypatch) -> None:
    monkeypatch.setenv("BATCHMETER_LOG", "LOUD")
    ran = shell("version")
    assert ran.code == 2
    assert ran.err == (
        "error: BATCHMETER_LOG: 'loud' is neither a level nor a format; "
        "known: debug, info, warning, error, text, json\n"
    )


def test_a_tracker_s_log_has_times(shell, monkeypatch) -> None:
    shell.configure(
        '[accounts.dead]\nprovider = "openai"\napi_base = "http://127.0.0.1:1"\napi_key = "k"\nmax_retries = 0\nadopt = true\n'
    )
    process = shell.start("track")
    assert process.stderr is not None
    lines = []
    while not lines or not STAMP.fullmatch(lines[-1]):
        lines.append(process.stderr.readline().rstrip("\n"))
        assert lines[-1], lines
    stop(process, signal.SIGTERM)
    assert "WARNING" in lines[-1]
    assert "dead" in lines[-1]


def test_tracebacks_and_escapes_are_inside_the_json(capsys) -> None:
    from batchmeter.commands.logs import JsonFormatter

    error = ValueError("no\x1b[2J")
    told = (ValueError, error, None)
    record = logging.LogRecord("batchmeter", logging.ERROR, "x.py", 1, "failed: %s", ("é",), told)
    line = JsonFormatter().format(record)
    assert "\x1b" not in line
    assert json.loads(line)["message"] == "failed: é"
    assert json.loads(line)["error"] == "ValueError: no\x1b[2J"
