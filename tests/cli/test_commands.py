"""Every command, its output for people and for machines, and its exit code."""

import gzip
import json
import re
import signal
from decimal import Decimal
from pathlib import Path

import pytest

from batchmeter.testing.sandbox import Sandbox, sandbox_thread

TYPES = ["dev.batchmeter.acreate_batch.v1", "dev.batchmeter.batch_success.v1"]


def types(shell):
    return [event["type"] for event in shell.events()]


def test_submit_and_wait_settles_once_and_prints_the_cost(shell, sandbox: Sandbox) -> None:
    ran = shell("submit", shell.requests(), "--wait", "--metadata", "team=search")
    assert ran.code == 0, ran.err
    assert "gpt-5-mini-2025-08-07" in ran.out
    assert "20 succeeded, 0 failed, 0 malformed" in ran.out
    assert types(shell) == TYPES
    created, ended = (event["data"] for event in shell.events())
    assert created["metadata"] == ended["metadata"] == {"team": "search"}
    assert Decimal(ended["cost"]["total"]) > 0
    assert f"${Decimal(ended['cost']['total'])}" in ran.out


def test_submit_says_whose_a_batch_is(shell) -> None:
    whose = ["--team", "search", "--user", "ada", "--session", "s-1", "--tag", "nightly", "--tag", "gpu"]
    assert shell("submit", shell.requests(), "--wait", *whose).code == 0
    wanted = {"key": None, "user": "ada", "team": "search", "session": "s-1", "tags": ["nightly", "gpu"]}
    assert [event["data"]["attribution"] for event in shell.events()] == [wanted, wanted]
    assert [row["group"] for row in shell("costs", "--group-by", "team", "--json").json["data"]] == ["search"]
    assert {row["group"] for row in shell("costs", "--group-by", "tag", "--json").json["data"]} == {"nightly", "gpu"}


def test_submit_without_wait_leaves_the_rest_to_a_tracker(shell) -> None:
    ran = shell("submit", shell.requests(), "--json")
    assert ran.code == 0, ran.err
    batch = ran.json
    assert types(shell) == TYPES[:1]
    assert shell("track", "--once").code == 0
    waited = shell("batches", "wait", batch["id"], "--json")
    assert waited.code == 0
    assert waited.json["batch_id"] == batch["id"]
    assert types(shell) == TYPES
    assert shell("track", "--once", "--json").json["settled"] == 0


def test_what_the_ledger_knows_is_listed_shown_and_cancelled(make_shell) -> None:
    with sandbox_thread(speed=1) as slow:
        shell = make_shell(slow.url)
        batch_id = shell("submit", shell.requests(), "--metadata", "run=7", "--json").json["id"]
        assert batch_id in shell("batches").out
        (listed,) = shell("batches", "list", "--open", "--json").json
        assert listed["batch"]["id"] == batch_id
        assert "run=7" in shell("batches", "show", batch_id).out
        cancelled = shell("batches", "cancel", batch_id)
        assert (cancelled.code, "cancelling" in cancelled.out) == (0, True)
        gave_up = shell("batches", "wait", batch_id, "--timeout", "0.1")
        assert gave_up.code == 1
        assert "stays tracked" in gave_up.err


def test_an_incomplete_batch_is_exit_code_1_and_one_batch_failure(make_shell) -> None:
    with sandbox_thread(script="outcome=expired") as expiring:
        shell = make_shell(expiring.url)
        ran = shell("submit", shell.requests(), "--wait")
    assert ran.code == 1
    assert " expired " in ran.out
    assert types(shell) == [TYPES[0], "dev.batchmeter.batch_failure.v1"]
    assert shell.events()[1]["data"]["request_counts"] == {
        "total": 20, "succeeded": 10, "failed": 10, "malformed": 0, "unpriced": 0,
    }  # fmt: skip


def test_a_refused_file_is_reported_by_line_and_nothing_is_uploaded(shell, sandbox: Sandbox) -> None:
    path = Path(shell.requests(3))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[0], "not json", lines[2].replace("chat/completions", "embeddings")]))
    ran = shell("submit", str(path))
    assert ran.code == 2
    assert "line 2:" in ran.err
    assert "duplicate_custom_id" in ran.err
    assert "line 3:" in ran.err
    assert "invalid_json_line" in ran.err
    assert "Traceback" not in ran.err
    assert shell.events() == []
    assert shell("batches", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["submit", "missing.jsonl"], 2, "no such file: missing.jsonl"),
        (["submit", "ok.jsonl", "--provider", "opena"], 2, "no account 'opena'"),
        (["submit", "ok.jsonl", "--metadata", "team"], 2, "write KEY=VALUE"),
        (["submti", "ok.jsonl"], 2, "no command 'submti'; did you mean 'submit'?"),
        (["batches", "show", "batch_none"], 1, "no batch 'batch_none' in this ledger"),
        (["batches", "wait", "batch_none"], 1, "404"),
        (["meter", "missing.jsonl"], 2, "no such file"),
        (["meter", "ok.jsonl", "--priced-at", "yesterday"], 2, "write YYYY-MM-DD"),
        (["events", "--since", "yesterday"], 2, "is not a time"),
        (["--config", "none.toml", "batches"], 2, "no configuration file at none.toml"),
    ],
)
def test_mistakes_are_one_clear_line(shell, arguments: list[str], code: int, message: str) -> None:
    shell.requests(2, name="ok.jsonl")
    ran = shell(*arguments)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert "Traceback" not in ran.err
    assert "sk-cli-secret" not in ran.err + ran.out


def test_a_wrong_key_and_an_unreachable_host(make_shell) -> None:
    with sandbox_thread(api_key="sk-right") as strict:
        shell = make_shell(strict.url)
        ran = shell("submit", shell.requests(2))
        assert ran.code == 1
        assert "401" in ran.err
        assert "sk-cli-secret" not in ran.err
    shell = make_shell("http://127.0.0.1:9/v1")
    shell.configure("[accounts.openai]\nmax_retries = 0\n")
    ran = shell("submit", shell.requests(2))
    assert ran.code == 1
    assert "127.0.0.1:9" in ran.err
    assert shell.events() == []


def test_no_key_at_all_names_the_variable(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    ran = shell("submit", shell.requests(2))
    assert ran.code == 2
    assert "OPENAI_API_KEY" in ran.err


def test_a_ledger_that_is_none_and_a_newer_one(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    (shell.folder / "text.db").write_text("this is no database, it is a text that someone put here\n" * 50)
    ran = shell("--ledger", str(shell.folder / "text.db"), "batches")
    assert ran.code == 1
    assert "text.db" in ran.err
    newer = str(shell.folder / "newer.db")
    assert shell("--ledger", newer, "batches").code == 0
    connection = sqlite3.connect(newer)
    connection.execute("INSERT INTO schema_version SELECT version + 99, name, checksum, applied_at FROM schema_version")
    connection.commit()
    connection.close()
    ran = shell("--ledger", newer, "batches")
    assert ran.code == 1
    assert "newer" in ran.err


def test_the_default_ledgers_folder_is_made_on_a_new_machine(shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHMETER_LEDGER")
    assert shell("stats").code == 0
    ran = shell("submit", shell.requests(2))
    assert ran.code == 0, ran.err
    assert (shell.folder / "data" / "batchmeter" / "ledger.db").is_file()


def test_unknown_settings_name_the_nearest(shell) -> None:
    shell.configure("[plugins.fil]\npath = 'x'\n")
    ran = shell("plugins")
    assert (ran.code, "did you mean 'file'" in ran.err) == (2, True)
    shell.configure("[accounts.elsewhere]\nprovider = 'openai'\napi_kay = 'x'\n")
    ran = shell("submit", shell.requests(2))
    assert (ran.code, "[accounts.elsewhere]" in ran.err, "did you mean 'api_key'" in ran.err) == (2, True, True)


def test_events_and_deliveries_and_replay(shell) -> None:
    shell("submit", shell.requests(), "--wait")
    lines = [json.loads(line) for line in shell("events", "--json").out.splitlines()]
    assert [line["type"] for line in lines] == ["acreate_batch", "batch_success"]
    assert "batch_success" in shell("events", "--type", "batch_success").out
    (gauge,) = shell("deliveries", "--json").json
    assert (gauge["logger"], gauge["delivered"], gauge["pending"], gauge["dead"]) == ("file", 2, 0, 0)
    assert shell("deliveries", "--dead", "--json").json == []
    first = shell.events()
    assert shell("replay", "--logger", "file", "--json").json == {"logger": "file", "events": 2, "enabled": True}
    assert shell.events() == first + first
    later = shell("replay", "--logger", "otel")
    assert "wait until logger 'otel' is enabled" in later.out


def test_a_replay_to_a_logger_that_nobody_knows_is_refused(shell) -> None:
    shell("submit", shell.requests(), "--wait")
    ran = shell("replay", "--logger", "otle")
    assert (ran.code, "no such logger; did you mean 'otel'?" in ran.err) == (2, True)
    assert (
        "known: budgets, datadog, file, langfuse, otel, reconcile, webhook" in shell("replay", "--logger", "acme").err
    )
    assert "no such logger" in shell("replay", "--logger", "openai").err
    assert [gauge["logger"] for gauge in shell("deliveries", "--json").json] == ["file"]


def test_meter_needs_no_provider_and_reads_files_and_pipes(shell, sandbox: Sandbox) -> None:
    line = {
        "id": "batch_req_1",
        "custom_id": "r-1",
        "response": {
            "status_code": 200,
            "body": {"model": "gpt-4o-mini-2024-07-18", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}},
        },
        "error": None,
    }
    path = shell.folder / "output.jsonl"
    path.write_text(json.dumps(line) + "\n")
    from_file = shell("meter", str(path), "--json")
    assert from_file.json["cost"]["total"] == "0.075"
    piped = shell("meter", "-", "--json", stdin=path.read_bytes())
    assert piped.json == from_file.json
    assert "$0.075" in shell("meter", str(path)).out
    unknown = line["response"]["body"] | {"model": "gpt-99"}  # type: ignore[index,operator]
    path.write_text(json.dumps(line) + "\n" + json.dumps(line | {"response": {"status_code": 200, "body": unknown}}))
    assert "unknown (at least $0.075)" in shell("meter", str(path)).out
    assert shell("meter", str(path), "--json").json["cost"]["total"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, no line to meter"),
        (b"\n \r\n", "empty, no line to meter"),
        (gzip.compress(b"", mtime=0), "empty, no line to meter"),
        (b"hello\nworld\n", "none of 2 lines is an answer (line 1: invalid_json: hello)"),
        (b"\n" + b'{"requests": [1]}', 'none of 1 lines is an answer (line 2: not_an_answer: {"requests"'),
    ],
)
def test_a_file_without_an_answer_is_no_cost_of_zero(shell, content: bytes, message: str):
    path = shell.folder / "odd.jsonl"
    path.write_bytes(content)

    for arguments in (["meter", str(path)], ["meter", "-", "--json"]):
        ran = shell(*arguments, stdin=content)
        assert (ran.code, ran.out) == (1, "")
        assert message in ran.err


def test_meter_takes_files_and_folders_and_counts_a_row_once(shell) -> None:
    answer = {
        "custom_id": "r-1",
        "response": {
            "status_code": 200,
            "body": {"model": "gpt-4o-mini", "usage": {"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}},
        },
    }
    failed = {"custom_id": "r-2", "response": None, "error": {"code": "batch_expired", "message": "no"}}
    folder = shell.folder / "out"
    folder.mkdir()
    (folder / "output.jsonl").write_text(json.dumps(answer) + "\n")
    (folder / "errors.jsonl").write_text(json.dumps(failed) + "\n{cut off\n")
    (folder / "notes.txt").write_text("mine")
    output, errors = str(folder / "output.jsonl"), str(folder / "errors.jsonl")

    whole = shell("meter", str(folder), "--json").json
    copied = shell("meter", output, errors, output, str(folder), "--json").json

    assert (whole["cost"]["known"], whole["lines"]["succeeded"], whole["lines"]["failed"]) == ("0.075", 1, 1)
    assert copied["cost"] == whole["cost"]
    assert f"malformed: {errors} line 2: invalid_json: {{cut off" in shell("meter", str(folder)).out


def test_meter_of_no_output_is_one_error_and_no_cost(shell) -> None:
    path = shell.folder / "odd.jsonl"
    path.write_text("<!DOCTYPE html><html>link expired</html>")

    ran = shell("meter", str(path))

    assert (ran.code, ran.out) == (1, "")
    assert re.fullmatch("error: .*odd.jsonl is an HTML or XML page.*fetch it again\n", ran.err)


def test_meter_names_what_failed_and_what_it_could_not_read(shell) -> None:
    failed = {"custom_id": "r-1", "response": {"status_code": 500, "body": {"error": {"message": "x"}}}}
    path = shell.folder / "output.jsonl"
    path.write_text(json.dumps(failed) + "\n{cut off\n")
    out = shell("meter", str(path)).out
    assert "0 succeeded, 1 failed, 1 malformed" in out
    assert "failed: http_500: 1 line" in out
    assert "malformed: line 2: invalid_json: {cut off" in out
    assert "not priced: lines_malformed: 1 line" in out


def test_plugins_and_version(shell) -> None:
    found = {info["name"]: info["state"] for info in shell("plugins", "--json").json}
    assert found["file"] == "on"
    assert found["openai"] == "on"
    assert shell("version", "--json").json.keys() == {"batchmeter", "python", "http"}
    assert "Commands:" in shell("--help").out


def test_track_names_accounts_whose_batches_it_cannot_follow(shell) -> None:
    section = '[accounts.former]\nprovider = "openai"\n'
    shell.configure(section)
    assert shell("submit", shell.requests(), "--provider", "former").code == 0
    shell.configure("")
    ran = shell("track", "--once")
    assert ran.code == 0
    assert "not followed here, for want of an [accounts.NAME] section: former (1 open)" in ran.err
    shell.configure(section)
    again = shell("track", "--once").err
    assert ("not followed" in again, "settled: 0; not readable yet: 0; errors: 0" in again) == (False, True)


def test_track_follows_batches_of_other_processes_and_stops_cleanly(shell) -> None:
    tracker = shell.start("track")
    assert tracker.stderr is not None
    assert "Ctrl-C stops" in tracker.stderr.readline()
    batch_id = shell("submit", shell.requests(), "--json").json["id"]
    assert shell("batches", "wait", batch_id).code == 0
    tracker.send_signal(signal.SIGINT)
    _, err = tracker.communicate(timeout=20)
    assert tracker.returncode == 130
    assert "Traceback" not in err
    assert types(shell) == TYPES


def test_submit_and_wait_against_aimock_settles_once(make_shell, aimock: str) -> None:
    """An OpenAI provider that nobody here wrote; its canned answers use one token in and one out."""
    shell = make_shell(aimock)
    ran = shell("submit", shell.requests(3, model="gpt-4o-mini"), "--wait", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["status"] == "completed"
    assert ran.json["request_counts"]["succeeded"] == 3
    assert types(shell) == TYPES
