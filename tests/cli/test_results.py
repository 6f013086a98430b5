"""`batches results` and `files`: what a batch answered, to a pipe or a file, and an account's files."""

import csv
import io
import json
from pathlib import Path

import pytest

from batchmeter.testing.sandbox import sandbox_thread


@pytest.fixture
def half(make_shell):
    """A shell, and an ended batch of which two requests of five have no answer."""
    with sandbox_thread(script="outcome=expired done=0.6") as expiring:
        shell = make_shell(expiring.url)
        submitted = shell("submit", shell.requests(5), "--json")
        assert submitted.code == 0, submitted.err
        assert shell("batches", "wait", submitted.json["id"]).code == 1
        yield shell, submitted.json["id"]


@pytest.fixture
def done(shell):
    batch_id = shell("submit", shell.requests(3), "--json").json["id"]
    assert shell("batches", "wait", batch_id).code == 0
    return shell, batch_id


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_results_are_the_provider_s_own_lines(done) -> None:
    shell, batch_id = done
    output = shell("batches", "show", batch_id, "--json").json["batch"]["output_file_id"]
    ran = shell("batches", "results", batch_id)
    assert ran.code == 0, ran.err
    assert ran.out == shell("files", "get", output).out
    assert {line["custom_id"] for line in lines(ran.out)} == {"r-0", "r-1", "r-2"}


def test_results_with_requests_keep_their_order_and_miss_none(half) -> None:
    shell, batch_id = half
    rows = lines(shell("batches", "results", batch_id, "--requests").out)
    assert [row["custom_id"] for row in rows] == [f"r-{number}" for number in range(5)]
    assert [row["request"]["messages"][0]["content"] for row in rows] == [f"question {number}" for number in range(5)]
    assert sum(row["error"] is not None for row in rows) == 2


def test_only_errors_are_listed_when_asked_for(half) -> None:
    shell, batch_id = half
    rows = lines(shell("batches", "results", batch_id, "--errors").out)
    assert [row["error"]["code"] for row in rows] == ["batch_expired"] * 2
    texts = shell("batches", "results", batch_id, "--errors", "--texts").out.splitlines()
    assert len(texts) == 2
    assert all(texts)


def test_results_as_csv_and_as_texts(half) -> None:
    shell, batch_id = half
    head, *rows = csv.reader(io.StringIO(shell("batches", "results", batch_id, "--csv", "--requests").out))
    assert head == ["custom_id", "text", "error", "request"]
    assert [row[0] for row in rows] == [f"r-{number}" for number in range(5)]
    assert [bool(row[1]) for row in rows] == [not row[2] for row in rows]
    texts = shell("batches", "results", batch_id, "--texts", "--requests").out.split("\n")[:-1]
    assert [bool(text) for text in texts] == [bool(row[1]) for row in rows]


def test_a_file_is_written_whole_or_not_at_all(done, tmp_path: Path) -> None:
    shell, batch_id = done
    target = tmp_path / "answers.csv"
    ran = shell("batches", "results", batch_id, "--csv", "-o", str(target))
    assert (ran.code, ran.out) == (0, "")
    assert "3 rows in" in ran.err
    whole = target.read_text()
    output = shell("batches", "show", batch_id, "--json").json["batch"]["output_file_id"]
    assert shell("files", "delete", output).out == f"{output}: deleted\n"
    gone = shell("batches", "results", batch_id, "--csv", "-o", str(target))
    assert gone.code == 1
    assert "are gone at its provider" in gone.err
    assert target.read_text() == whole
    assert list(tmp_path.glob("*.part-*")) == []


def test_an_open_batch_has_no_results_yet(make_shell) -> None:
    with sandbox_thread(speed=1) as slow:
        shell = make_shell(slow.url)
        batch_id = shell("submit", shell.requests(1), "--json").json["id"]
        ran = shell("batches", "results", batch_id)
    assert ran.code == 2
    assert "wait for it first" in ran.err


def test_files_are_put_listed_and_got(shell, tmp_path: Path) -> None:
    path = shell.requests(2)
    file_id = shell("files", "put", path).out.strip()
    assert shell("files", "get", file_id).out == Path(path).read_text()
    assert shell("files", "get", file_id, "-o", str(tmp_path / "copy")).code == 0
    assert (tmp_path / "copy").read_bytes() == Path(path).read_bytes()
    (listed,) = shell("files", "list", "--purpose", "batch", "--json").json
    assert (listed["id"], listed["filename"]) == (file_id, "requests.jsonl")
    assert file_id in shell("files", "list").out


def test_a_file_that_breaks_a_rule_is_not_put(shell) -> None:
    path = Path(shell.requests(1))
    path.write_text(path.read_text() * 2)
    refused = shell("files", "put", str(path))
    assert (refused.code, "already used on line 1" in refused.err) == (2, True)
    assert shell("files", "list", "--json").json == []
    assert shell("files", "put", str(path), "--no-check", "--json").json["id"]
