"""The Grafana dashboard and the alert rules parse, and name only metrics that there are, each counted once."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "grafana"
DASHBOARD = json.loads((FOLDER / "batchmeter.json").read_text())
RULES = (FOLDER / "alerts.yml").read_text()
METRIC = re.compile(r"batchmeter_[a-z_]+")
WANTED = {
    "batchmeter_batches_open", "batchmeter_batches_overdue", "batchmeter_batches_oldest_open_seconds",
    "batchmeter_batches_settled", "batchmeter_cost_known_usd", "batchmeter_cost_unpriced_lines",
    "batchmeter_deliveries_pending", "batchmeter_deliveries_dead", "batchmeter_tracker_heartbeat_timestamp_seconds",
}  # fmt: skip


def expressions():
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return shown + re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE)


def test_the_dashboard_is_one():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert set(METRIC.findall(json.dumps(DASHBOARD))) >= WANTED


def test_expressions_are_whole_and_count_each_process_once():
    for expression in expressions():
        for opened, closed in ("()", "[]", "{}"):
            assert expression.count(opened) == expression.count(closed), expression
        if "_http_" not in expression:
            assert re.search(r"max( by \([a-z, ]+\))? \(|max\(", expression), expression


def test_rules_have_all_that_prometheus_wants():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    (group,) = yaml.safe_load(RULES)["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr", "for", "labels", "annotations"} == rule.keys()
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == rule["annotations"].keys()


async def test_metrics_named_are_there(http, sdk, lines, ended):
    file = await sdk.files.create(file=("a.jsonl", lines(2)), purpose="batch")
    made = await sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    await ended(made.id)
    told = set(re.findall(r"^# TYPE (batchmeter_[a-z_]+) ", (await http.get("/metrics")).text, re.MULTILINE))
    named = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert named <= told, named - told
