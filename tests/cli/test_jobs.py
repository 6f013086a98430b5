"""`submit` of a file larger than a batch: one job, one report."""

from pathlib import Path

import pytest


@pytest.fixture
def small(shell):
    """An account that takes three lines in a batch."""
    shell.configure("[accounts.openai.input_limits]\nlines = 3\n")
    return shell


def test_a_file_larger_than_a_batch_is_one_job(small) -> None:
    path = small.requests(7)
    made = small("submit", path, "--json").json
    assert len(made["batches"]) == 3
    ran = small("submit", path, "--wait", "--json")
    assert ran.code == 0, ran.err
    report = ran.json
    assert (report["job"], report["status"], report["request_counts"]["succeeded"]) == (made["job"], "completed", 7)
    assert [one["batch_id"] for one in report["settlements"]] == made["batches"]
    (row,) = small("costs", "--group-by", "tag", "--where", f"tag=job:{made['job']}", "--json").json["data"]
    assert (row["batches"], row["total"]) == (3, report["cost"]["total"])
    shown = small("submit", path, "--wait").out
    assert f"job {made['job']}" in shown
    assert all(batch in shown for batch in made["batches"])


def test_a_job_has_the_name_that_it_is_given(small) -> None:
    ran = small("submit", small.requests(4), "--idempotency-key", "nightly-7")
    assert ran.out.startswith("submitted 4 requests as job nightly-7: 2 batches")
    assert "batchmeter costs --where tag=job:nightly-7" in ran.out


def test_a_large_file_with_a_bad_line_is_refused_whole(small) -> None:
    path = Path(small.requests(5))
    path.write_text(path.read_text() + "not json\n")
    ran = small("submit", str(path))
    assert (ran.code, "line 6" in ran.err) == (2, True)
    assert small("files", "list", "--json").json == []
