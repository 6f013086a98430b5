"""Every worked cost case comes out exactly, from output lines in its vendor's own shape."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter import meter

from . import lines_of

Case = dict[str, Any]
CASES: list[Case] = [
    json.loads(line) for line in (Path(__file__).parent.parent / "data/cost_cases.jsonl").read_text().splitlines()
]


def line_of(case: Case, model: str | None, usage: dict[str, Any] | None, line: Case) -> dict[str, Any]:
    provider = case["provider"]
    if provider == "anthropic":
        return lines_of.anthropic(model, usage, line.get("result_type", "succeeded"))
    if provider == "vertex_ai" and "anthropic" in case["endpoint"]:
        return lines_of.claude_on_vertex(model, usage)
    if provider in {"vertex_ai", "gemini"}:
        return lines_of.gemini(model, usage, line.get("status", ""))
    if provider == "bedrock":
        return lines_of.bedrock(lines_of.message("claude-haiku-4-5-20251001", usage))
    if provider == "xai":
        return lines_of.xai(model, usage)
    kinds = {"/v1/responses": "response", "/responses": "response"}
    tier = {"service_tier": case["service_tier"]} if "service_tier" in case else {}
    return lines_of.openai(model, usage, object=kinds.get(case["endpoint"], "chat.completion"), **tier)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_cost_case(case: Case):
    lines = case.get("lines") or [{"model": case["model"], "usage": case["usage"]}]
    rows = lines_of.numbered(line_of(case, line["model"], line["usage"], line) for line in lines)

    metering = meter(
        [lines_of.dump(*rows)],
        provider=case["provider"],
        endpoint=case["endpoint"],
        region=case.get("region"),
        model=case["model"] if case["provider"] == "bedrock" else None,
        priced_at=case["date"],
        prices=case.get("price_overrides"),
    )

    expected = case["expected_usd"]
    assert metering.cost.total == (None if expected is None else Decimal(expected))
    billed = [line for line in lines if line["usage"] is not None]
    assert metering.lines.succeeded == len(billed)
    assert metering.lines.failed == len(lines) - len(billed)
    assert metering.cost.unknown == ({"unknown_model": len(billed)} if expected is None else {})


@pytest.mark.parametrize("model", ["claude-haiku-4-5@20251001", "claude-haiku-4-5-20251001"])
def test_claude_on_vertex_is_priced_by_either_spelling(model: str):
    line = lines_of.claude_on_vertex(model, {"input_tokens": 1_000_000, "output_tokens": 0, "service_tier": "batch"})

    metering = meter([lines_of.dump(line)], provider="vertex_ai", region="global", priced_at="2026-11-10")

    assert metering.cost.total == Decimal("0.5")
