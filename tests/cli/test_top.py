"""`batchmeter top`, tables on narrow terminals, and ids that are not written out."""

import io
import json
import re
from contextlib import redirect_stdout

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

import batchmeter
from batchmeter.cli import main
from batchmeter.commands.output import cost_table, grid, table
from batchmeter.testing.sandbox import sandbox_thread

ID = "batch_68f0a1b2c3d4819e0f1a2b3c4d5e6f70"


def lines_of(columns, rows, width):
    out = Console(file=io.StringIO(), width=width)
    out.print(grid(columns, rows, width=width))
    return out.file.getvalue().splitlines()


def test_top_shows_what_was_spent_today(shell) -> None:
    assert shell("top", "--once").out.splitlines()[1] == "no batch is open"
    settled = shell("submit", shell.requests(), "--wait", "--json").json
    found = shell("top", "--json").json
    assert (found["open"], found["batches_today"], found["lines_today"]) == (0, 1, 20)
    assert found["cost_today"] == found["known_today"] == settled["cost"]["total"]


def test_top_shows_open_batches_and_what_is_owed(make_shell) -> None:
    with sandbox_thread(speed=1) as slow:
        opened = make_shell(slow.url)
        batch_id = opened("submit", opened.requests(), "--team", "search", "--json").json["id"]
        ran = opened("top", "--once")
        assert ran.code == 0, ran.err
        assert batch_id in ran.out
        assert re.match(r"\d\d:\d\d:\d\dZ   1 open", ran.out), ran.out
        assert "search" in ran.out
        found = opened("top", "--json").json
    (one,) = found["batches"]
    assert (one["batch_id"], one["team"], one["seconds_left"]) == (batch_id, "search", None)
    assert (found["open"], found["dead"]) == (1, 0)


def test_ids_may_be_cut_as_long_as_they_are_one_batch_s(shell) -> None:
    ids = [shell("submit", shell.requests(), "--wait", "--json").json["batch_id"] for _ in range(2)]
    short = next(ids[0][:size] for size in range(7, 40) if not ids[1].startswith(ids[0][:size]))
    for words in (("batches", "show"), ("batches", "wait"), ("check",)):
        assert shell(*words, short, "--json").code == 0, words
    assert shell("batches", "show", short, "--json").json["batch"]["id"] == ids[0]
    assert shell("reprice", short, "--dry-run").code == 0
    listed = [json.loads(line) for line in shell("events", "--batch", short, "--json").out.splitlines()]
    assert {event["batch_id"] for event in listed} == {ids[0]}
    assert shell("batches", "results", short).out == shell("batches", "results", ids[0]).out != ""
    file_id = shell("batches", "show", ids[0], "--json").json["batch"]["output_file_id"]
    assert shell("files", "get", file_id[:-1]).out == shell("files", "get", file_id).out != ""
    assert shell("adopt", short, "--account", "openai").code == 0
    several = shell("batches", "show", "batch_")
    assert several.code == 2
    assert "write more of it" in several.err
    assert all(one in several.err for one in ids)
    assert shell("batches", "show", "nothing").code == 1


@pytest.mark.parametrize("width", [80, 100, 160])
def test_ids_are_whole_on_any_terminal(width) -> None:
    columns = ("batch!", "status", "cost (USD)>", "account", "lines>", "submitted", "endpoint")
    row = (
        ID,
        "completed (22m30s)",
        "$0.358357875",
        "research-org",
        "1,000",
        "2026-11-22T10:00:00Z",
        "/v1/chat/completions",
    )
    shown = lines_of(columns, [row], width)
    assert any(ID in line for line in shown)
    assert any("$0.358357875" in line for line in shown)
    assert any("completed" in line for line in shown), "a word stays together"
    assert all(len(line) <= width for line in shown)
    assert any("/v1/chat" in line for line in shown) is (width == 160)


def test_no_table_loses_its_last_border() -> None:
    """Text folds beside numbers and ids that are whole."""
    columns = ("batch!", "progress>", "left>", "status", "account", "age>")
    row = (ID, "████░░░░ 53%", "21h35m", "in_progress", "research-org", "24h36m")
    for width in range(76, 110):
        shown = [line for line in lines_of(columns, [row], width) if line]
        assert {len(line) for line in shown} <= set(range(width + 1)), width
        assert len({len(line) for line in shown}) == 1, width
        assert any("53%" in line for line in shown), width
        assert len(shown) == 5 or width < 80, "a row is one line where a terminal has 80 columns"


def test_columns_that_may_go_are_left_out_where_it_is_narrow() -> None:
    columns, row = (
        ("model", "batches>~", "input>~", "cost>"),
        ("gpt-5-mini-2025-08-07", "1,024", "12,345,678", ">= $95.552725"),
    )
    wide, narrow = lines_of(columns, [row], 80), lines_of(columns, [row], 60)
    assert [any(cell in line for line in wide) for cell in row] == [True] * 4
    assert [any(cell in line for line in narrow) for cell in row] == [True, True, False, True]
    assert lines_of(("model~",), [("x" * 90,)], 40)


def test_a_table_without_ids_is_folded_as_before() -> None:
    shown = lines_of(("model", "cost>"), [("a" * 100, "$1.00")], 60)
    assert sum(line.count("a") for line in shown) == 100


def test_a_tracker_tells_that_it_is_well_and_what_is_open(shell) -> None:
    shell("submit", shell.requests(), "--json")
    tracker = shell.start("track", "--metrics-port", "0")
    try:
        found = next(line for line in tracker.stderr if "metrics at" in line)
        address = re.search(r"http://[\d.:]+", found)[0]
        for _ in range(200):
            answer = httpx2.get(f"{address}/health")
            if answer.status_code == 200:
                break
        assert answer.text == "ok\n"
        text = httpx2.get(f"{address}/metrics").text
        families = {one.name: one for one in text_string_to_metric_families(text)}
        assert families["batchmeter_tracker_heartbeat_timestamp_seconds"].samples[0].value > 0
        assert families["batchmeter_ledger_up"].samples[0].value == 1
        assert {"batchmeter_batches_overdue", "batchmeter_deliveries_dead"} <= families.keys()
        assert httpx2.get(f"{address}/").status_code == 404
    finally:
        tracker.terminate()
        tracker.communicate(timeout=30)


def test_narrow_tables_never_break_a_number() -> None:
    columns = ("model", "requests>", "expected output>", "at most>")
    rows = [("gpt-5-mini-2025-08-07", "2", "800", "$0.000816875")]
    narrow = lines_of(columns, rows, 58)
    assert max(map(len, narrow)) <= 58
    assert "$0.000816875" in "\n".join(narrow)
    assert "│ gpt-5-mini-2025-" in "\n".join(narrow)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    return Terminal()


def test_a_batch_s_cost_keeps_its_model_s_name_on_80_columns(terminal, tmp_path) -> None:
    usage = {"prompt_tokens": 37_287, "completion_tokens": 353_697, "total_tokens": 390_984}
    body = {"model": "gpt-5-mini-2025-08-07", "usage": usage}
    answer = {"id": "1", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}
    (tmp_path / "output.jsonl").write_text(json.dumps(answer) + "\n")
    found = batchmeter.meter(tmp_path / "output.jsonl")
    with redirect_stdout(terminal):
        cost_table(found.models, found.usage, found.cost, found.lines)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "gpt-5-mini-2025-08-07 " in lines[3]
    assert "353,697" in lines[3]
    assert "$0.358357875" in lines[3]


def test_files_have_their_ids_whole_on_80_columns(terminal, shell) -> None:
    file_id = shell("files", "put", shell.requests(), "--json").json["id"]
    with redirect_stdout(terminal):
        main(["files", "list"], standalone_mode=False)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(file_id in line for line in lines)


def test_a_table_s_title_is_a_line_of_its_own(terminal) -> None:
    with redirect_stdout(terminal):
        table("gpt-5-mini on 2026-11-30, USD per million", ("provider", "input>"), [("openai", "0.125")])
    assert terminal.getvalue().splitlines()[0] == "gpt-5-mini on 2026-11-30, USD per million"


def test_tables_too_narrow_to_fold_become_names_and_values() -> None:
    columns = ("provider", *(f"bucket_{number}>" for number in range(12)), "flags")
    rows = [("openai", *("0.0125" for _ in range(12)), ""), ("azure", *("-" for _ in range(12)), "assumed")]
    lines = [line.split() for line in lines_of(columns, rows, 80)]
    assert lines[:2] == [["provider", "openai"], ["bucket_0", "0.0125"]]
    assert (lines[13:15], lines[-1]) == ([[], ["provider", "azure"]], ["flags", "assumed"])
