"""estimate before, reprice after."""

import json
from decimal import Decimal
from pathlib import Path

import pytest


def test_an_estimate_says_what_it_knows_and_what_not(shell) -> None:
    path = Path(shell.requests(10, max_completion_tokens=1000))
    before = shell("estimate", str(path), "--json").json
    (model,) = before["models"].values()
    assert before["requests"] == model["requests"] == 10
    assert model["max_output_tokens"] == 10_000
    # "question 0" is 10 bytes, "user" 4: 3 tokens and 4 for the message, at $0.125 and $1 a million.
    assert model["input_tokens"] == 70
    # At most one token a byte of such short texts, 16 for the message and 32 for the request.
    assert model["max_input_tokens"] == 620
    assert before["upper"] == "0.0100775"
    assert before["expected"] is None
    assert before["unknown"] == ["no_history: gpt-5-mini: no settled batch of it in this ledger"]
    assert "bytes" in before["method"]
    shell("submit", str(path), "--wait")
    after = shell("estimate", str(path), "--json").json
    assert after["models"]["gpt-5-mini"]["history_requests"] == 10
    assert Decimal(after["expected"]) > 0
    assert after["unknown"] == []
    assert "gpt-5-mini" in shell("estimate", str(path)).out


def test_an_estimate_without_limits_or_prices_is_unknown_not_zero(shell) -> None:
    path = shell.requests(3, model="gpt-99")
    found = shell("estimate", path, "--json").json
    assert found["upper"] is None
    assert found["expected"] is None
    assert any("no_output_limit" in reason for reason in found["unknown"])
    assert "unknown" in shell("estimate", path).out
    limited = shell("estimate", shell.requests(3, model="gpt-99", max_tokens=5), "--json").json
    assert limited["upper"] is None
    assert "unknown_model: gpt-99" in limited["unknown"]


def test_pictures_are_not_counted_as_text(shell) -> None:
    line = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "gpt-5-mini",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}],
                }
            ],
        },
    }
    path = shell.folder / "picture.jsonl"
    path.write_text(json.dumps(line))
    assert shell("estimate", str(path), "--json").json["models"]["gpt-5-mini"]["input_tokens"] < 50


@pytest.fixture
def unpriced(shell):
    """A settled batch of a model that no book has; the sandbox answers by the name it was asked with."""
    ran = shell("submit", shell.requests(5, model="acme-1"), "--wait", "--json")
    assert ran.json["cost"]["total"] is None
    assert ran.json["cost"]["unknown"] == {"unknown_model": 5}
    return ran.json


def test_new_prices_reprice_what_was_unknown_and_emit_one_correction(shell, unpriced) -> None:
    assert shell("reprice", "--json").json == []
    shell.configure('[prices."openai/acme-1"]\nbatch = { input = "1", output = "2" }\n')
    (would,) = shell("reprice", "--dry-run", "--json").json
    assert would["revision"] == 2
    assert len(shell.events()) == 2
    (changed,) = shell("reprice", "--json").json
    usage = unpriced["usage"]
    expected = (Decimal(usage["input_tokens"]) + 2 * Decimal(usage["output_tokens"])) / 1_000_000
    assert Decimal(changed["after"]["total"]) == expected
    assert shell("reprice", "--json").json == []
    first, correction = shell.events()[1:]
    assert correction["type"] == first["type"]
    assert correction["id"] != first["id"]
    assert correction["data"]["revision"] == 2
    assert Decimal(correction["data"]["cost"]["total"]) == expected
    shown = shell("batches", "show", unpriced["batch_id"], "--json").json
    assert shown["settlement"]["revision"] == 2


def test_costs_are_summed(shell):
    assert shell("submit", shell.requests(4), "--wait").code == 0
    report = shell("costs", "--json").json
    assert report["group_by"] == "model"
    assert report["total"]["batches"] == 1
    assert report["total"]["lines"] == 4
    assert report["data"][0]["total"] == report["total"]["total"]
    table = shell("costs", "--group-by", "day").out
    assert report["total"]["total"] in table
    assert shell("costs", "--from", "2999-01-01", "--json").json["data"] == []
    assert shell("costs", "--to", "tomorrow").code == 2


def test_sums_are_rolled_up_and_rebuilt(shell):
    assert shell("submit", shell.requests(2), "--wait").code == 0
    shell("ledger", "rollup")
    assert shell("ledger", "rollup", "--json").json["endings"] == 0
    assert shell("ledger", "rollup", "--rebuild", "--json").json["endings"] == 1
    assert shell("ledger", "check", "--json").json["sound"] is True


def test_costs_by_day_are_bars_within_80_columns(shell):
    assert shell("submit", shell.requests(3), "--wait").code == 0
    shown = shell("costs", "--by", "day").out
    assert "█" * 24 in shown
    assert max(map(len, shown.splitlines())) <= 80
    report = shell("costs", "--by", "team,model", "--json").json
    assert report["data"][0]["groups"] == {"team": None, "model": report["data"][0]["groups"]["model"]}
    csv = shell("costs", "--by", "model", "--csv").out.splitlines()
    assert csv[0].startswith("model,batches,lines,unpriced_lines,total_usd,known_usd")
    assert csv[1].split(",")[4] == report["total"]["total"]
    assert shell("costs", "--where", "team=nobody", "--json").json["data"] == []
    assert shell("costs", "--where", "team").code == 2
    assert shell("costs", "--by", "colour").code == 2
