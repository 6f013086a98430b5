"""`batchmeter loggers`, `abandon` and `events --type`: who is owed events, ending that, and plugins' own kinds."""

from typing import Literal

from batchmeter import events
from batchmeter.events import PluginEvent


def test_loggers_lists_who_is_owed_what_and_abandon_ends_it(shell, monkeypatch) -> None:
    assert shell("submit", shell.requests(1), "--wait").code == 0
    (file,) = shell("loggers", "--json").json
    assert (file["logger"], file["owed"], file["dead"], file["ended_at"]) == ("file", 0, 0, None)
    assert file["handles"] == [
        "acreate_batch",
        "alert",
        "batch_failure",
        "batch_success",
        "budget_alert",
        "reconcile_drift",
    ]
    assert file["last_seen"] >= file["since"]
    monkeypatch.setenv("BATCHMETER_PLUGINS", "")
    assert shell("submit", shell.requests(2), "--wait").code == 0
    (file,) = shell("loggers", "--json").json
    assert (file["owed"], file["oldest_owed_at"] > file["since"]) == (2, True)
    assert "acreate_batch" in shell("loggers").out
    wrong = shell("abandon", "fil")
    assert (wrong.code, "did you mean 'file'?" in wrong.err) == (2, True)
    assert shell("abandon", "file", "--json").json == {"logger": "file", "deliveries": 2}
    assert shell("loggers", "--json").json == []
    (file,) = shell("loggers", "--all", "--json").json
    assert (file["owed"], file["dead"], file["ended_at"] is None) == (0, 2, False)
    assert "abandoned" in shell("loggers", "--all").out


def test_events_of_a_plugin_s_type_can_be_asked_for(shell, monkeypatch) -> None:
    class Alert(PluginEvent, frozen=True):
        type: Literal["team_alert"] = "team_alert"

    wrong = shell("events", "--type", "team_alert")
    assert (wrong.code, "no such type of event" in wrong.err) == (2, True)
    monkeypatch.setitem(events._MODELS, "team_alert", Alert)
    assert shell("events", "--type", "team_alert", "--json").out == ""
    near = shell("events", "--type", "batch_succes")
    assert "did you mean 'batch_success'?" in near.err
