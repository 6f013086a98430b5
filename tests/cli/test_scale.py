"""Adopting, completeness, retrying, statistics, and care of the ledger."""

import json
from pathlib import Path

import httpx
import pytest

from batchmeter.testing.sandbox import Sandbox, sandbox_thread
from batchmeter.tracker.schedule import PATIENCE, Patience


def foreign(sandbox: Sandbox, path: str, count: int = 1) -> list[str]:
    """Batches that somebody else made at the same account."""
    with httpx.Client(base_url=sandbox.url, headers={"authorization": "Bearer other"}) as other:
        with Path(path).open("rb") as handle:
            uploaded = other.post("/files", files={"file": handle}, data={"purpose": "batch"}).json()
        body = {"input_file_id": uploaded["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        return [other.post("/batches", json=body).json()["id"] for _ in range(count)]


def ended(shell):
    return [event["data"] for event in shell.events() if "acreate" not in event["type"]]


def test_batches_made_elsewhere_are_adopted_metered_and_marked(shell, sandbox: Sandbox) -> None:
    ids = foreign(sandbox, shell.requests(5), 3)
    ran = shell("adopt", "--account", "openai", "--since", "2020-01-01", "--json")
    assert (ran.code, ran.json) == (0, {"account": "openai", "adopted": 3})
    assert shell("adopt", "--account", "openai", *ids[:1], "--json").json["adopted"] == 0
    assert shell("adopt", "--account", "openai", "--since", "2100-01-01", "--json").json["adopted"] == 0
    assert shell("track", "--once").code == 0
    assert {event["batch_id"] for event in ended(shell)} == set(ids)
    assert all(event["adopted"] and event["usage"]["input_tokens"] for event in ended(shell))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", {"succeeded": 20}),
        ("fail=0.25", {"succeeded": 15, "failed": 5}),
        ("outcome=expired done=0.5", {"succeeded": 10, "expired": 10}),
        ("malformed=2", {"succeeded": 18, "missing": 2, "malformed": 2}),
    ],
)
def test_every_request_is_accounted_for_and_the_rest_can_be_retried(make_shell, script, expected, monkeypatch) -> None:
    monkeypatch.setitem(PATIENCE, "lines_missing", Patience(0, 2, first=0.01))
    with sandbox_thread(script=script) as sandbox:
        shell = make_shell(sandbox.url)
        batch_id = shell("submit", shell.requests(), "--wait", "--metadata", "team=search", "--json").json["batch_id"]
        ran = shell("check", batch_id, "--json")
        counts = {name: ran.json[name] for name in ("succeeded", "failed", "expired", "missing", "malformed")}
        assert {name: count for name, count in counts.items() if count} == expected
        assert (ran.json["requests"], ran.json["complete"], ran.code) == (
            20,
            "malformed" not in expected,
            "mal" in script,
        )
        assert len(ran.json["missing_ids"]) == expected.get("missing", 0)
        assert ended(shell)[0]["missing"] == 0
        assert batch_id in shell("check", batch_id).out
        rest = 20 - expected["succeeded"]
        again = shell("retry", batch_id, "--json")
        if not rest:
            assert (again.code, "nothing to retry" in again.err) == (2, True)
            return
        told = {"retry_of": batch_id, "requests": rest, "new": True, "batch": "", "before": {}}
        assert again.json | {"batch": ""} == told
        second = shell("retry", batch_id, "--json").json
        assert (second["batch"], second["new"]) == (again.json["batch"], False)
        made = shell("batches", "show", again.json["batch"], "--json").json
        assert made["metadata"] == {"team": "search", "batchmeter_retry_of": batch_id}
        assert made["batch"]["metadata"].items() >= made["metadata"].items()
        url = f"{sandbox.url}/files/{made['batch']['input_file_id']}/content"
        submitted = httpx.get(url, headers={"authorization": "Bearer other"}).read().splitlines()
        asked = Path(shell.requests()).read_bytes().splitlines()
        assert len(set(submitted)) == rest
        assert set(submitted) <= set(asked), "byte for byte"


def test_only_what_is_asked_for_is_retried(make_shell) -> None:
    with sandbox_thread(script="outcome=expired done=0.5 fail=0.2") as sandbox:
        shell = make_shell(sandbox.url)
        batch_id = shell("submit", shell.requests(), "--wait", "--json").json["batch_id"]
        assert shell("retry", batch_id, "--only", "failed", "--json").json["requests"] == 2
        assert shell("retry", batch_id, "--only", "expired", "--json").json["requests"] == 10
        assert "no request is missing" in shell("retry", batch_id, "--only", "missing").err


def test_an_open_batch_cannot_be_checked_yet(make_shell) -> None:
    with sandbox_thread(speed=1) as slow:
        shell = make_shell(slow.url)
        batch_id = shell("submit", shell.requests(), "--json").json["id"]
        ran = shell("check", batch_id)
        assert (ran.code, "when it has ended" in ran.err) == (2, True)
        (account,) = shell("stats", "--json").json["accounts"]
        assert (account["account"], account["open"]) == ("openai", 1)
        assert "openai" in shell("stats").out


def test_stats_tell_queue_and_run_times_by_model(shell) -> None:
    assert shell("submit", shell.requests(), "--wait").code == 0
    stats = shell("stats", "--json").json
    assert stats["accounts"] == []
    (model,) = stats["models"]
    assert (model["model"], model["batches"]) == ("gpt-5-mini-2025-08-07", 1)
    assert model["total"]["p50"] >= 0
    assert "gpt-5-mini" in shell("stats").out


def test_a_ledger_is_checked_copied_and_pruned(shell) -> None:
    shell.configure('ledger = "first.db"\n')
    assert shell("submit", shell.requests(), "--wait").code == 0
    sound = shell("ledger", "check", "--json")
    assert (sound.code, sound.json["sound"], sound.json["rows"]["batch"]) == (0, True, 1)
    copied = shell("ledger", "copy", "--to", "second.db", "--json").json
    assert copied["rows"] == sound.json["rows"]
    again = shell("ledger", "copy", "--to", "second.db")
    assert (again.code, "is not empty" in again.err) == (1, True)
    migrated = shell("--ledger", "second.db", "ledger", "migrate", "--json").json
    assert migrated["schema_version"] == sound.json["schema_version"]
    assert shell("prune", "--older-than", "1h", "--json").json == {"forgotten": 0}
    assert shell("prune", "--older-than", "99999999999w", "--json").json == {"forgotten": 0}
    assert shell("prune", "--older-than", "0h", "--json").json == {"forgotten": 1}
    assert shell("prune", "--older-than", "soon").code == 2
    assert shell("batches", "--json").json == []
    assert len(shell("--ledger", "second.db", "batches", "--json").json) == 1


@pytest.mark.parametrize(
    "arguments", [["ledger", "check"], ["ledger", "copy", "--to", "x.db"], ["prune", "--older-than=1d"]]
)
def test_care_is_for_a_ledger_that_is_there(shell, arguments) -> None:
    ran = shell("--ledger", "typo.db", *arguments)
    assert (ran.code, "typo.db: there is no ledger" in ran.err) == (1, True)
    assert list(shell.folder.glob("*.db")) == []


@pytest.mark.parametrize("target", [":memory:", "sqlite:///:memory:"])
def test_a_copy_lasts(shell, target) -> None:
    shell.configure('ledger = "first.db"\n')
    assert shell("ledger", "migrate").code == 0
    ran = shell("ledger", "copy", "--to", target)
    assert (ran.code, "gone when this command ends" in ran.err) == (2, True)


def test_a_logger_that_was_removed_is_abandoned(shell) -> None:
    shell.configure('ledger = "ledger.db"\n')
    assert shell("submit", shell.requests(), "--wait").code == 0
    assert shell("replay", "--logger", "webhook", "--json").json == {"logger": "webhook", "events": 2, "enabled": False}
    assert shell("prune", "--older-than", "0h", "--json").json == {"forgotten": 0}
    assert shell("abandon", "--logger", "webhook", "--json").json == {"logger": "webhook", "deliveries": 2}
    assert {row["reason"] for row in shell("deliveries", "--dead", "--json").json} == {"abandoned"}
    assert (
        shell("abandon", "--logger", "webhook").out == "webhook is owed nothing any more; 0 deliveries to it given up\n"
    )
    assert shell("prune", "--older-than", "0h", "--json").json == {"forgotten": 1}


def test_a_damaged_promise_is_found(shell) -> None:
    import sqlite3

    shell.configure('ledger = "ledger.db"\n')
    assert shell("submit", shell.requests(), "--wait").code == 0
    connection = sqlite3.connect("ledger.db")
    connection.execute("DELETE FROM event WHERE type = 'batch_success'")
    connection.commit()
    connection.close()
    ran = shell("ledger", "check")
    assert ran.code == 1
    assert "1 settled batches without an ending event" in ran.out
    assert json.loads(shell("ledger", "check", "--json").out)["sound"] is False
