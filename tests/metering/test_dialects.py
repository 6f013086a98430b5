"""Each vendor's counters land in the right, disjoint buckets; contradictions are unknown, never negative, never zero."""

import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter import meter
from batchmeter.metering.dialects import Dialect
from batchmeter.metering.envelope import installed
from batchmeter.pricing.groups import BUCKETS, GroupKey

from . import lines_of
from .counting_compatibles import COMPATIBLES
from .counting_openai import OPENAI
from .counting_vendors import VENDORS
from .prices import FLAT

Json = dict[str, Any]


def groups(line: Json, **job: Any) -> dict[GroupKey, Any]:
    return dict(meter([lines_of.dump(line)], prices=FLAT, **job).groups)


def counts(line: Json, **job: Any) -> tuple[dict[str, int], int]:
    ((_, group),) = groups(line, **job).items()
    return group.counts, group.reasoning


def chat(usage: Json, provider: str = "openai", **job: Any) -> tuple[Json, Json]:
    return lines_of.openai("m", usage), {"provider": provider, **job}


def gemini(usage: Json, provider: str = "vertex_ai") -> tuple[Json, Json]:
    return lines_of.gemini("m", usage), {"provider": provider}


TABLE = OPENAI | VENDORS | COMPATIBLES


@pytest.mark.parametrize("name", TABLE)
def test_buckets(name: str):
    (line, job), expected, reasoning = TABLE[name]

    assert counts(line, **job) == (expected, reasoning)


INVALID: dict[str, tuple[Json, Json]] = {
    "cached over prompt": chat(
        {"completion_tokens": 0, "prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}}
    ),
    "cached and audio over prompt": chat(
        {"completion_tokens": 0, "prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 6, "audio_tokens": 6}}
    ),
    "negative": chat({"prompt_tokens": -10, "completion_tokens": 1}),
    "negative part": chat(
        {"completion_tokens": 0, "prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": -1}}
    ),
    "fractional": chat({"completion_tokens": 0, "prompt_tokens": 1.5}),
    "a word": chat({"completion_tokens": 0, "prompt_tokens": "many"}),
    "infinite": chat({"completion_tokens": 0, "prompt_tokens": "1e400"}),
    "true": chat({"completion_tokens": 0, "prompt_tokens": True}),
    "a list": chat({"completion_tokens": 0, "prompt_tokens": [1]}),
    "absurd": chat({"completion_tokens": 0, "prompt_tokens": 2**70}),
    "reasoning over output": chat(
        {
            "prompt_tokens": 1,
            "completion_tokens": 5,
            "total_tokens": 6,
            "completion_tokens_details": {"reasoning_tokens": 6},
        }
    ),
    "split over write": (
        lines_of.anthropic(
            "m",
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 2},
                "output_tokens": 2,
            },
        ),
        {"provider": "anthropic"},
    ),
    "gemini cache over prompt": gemini({"promptTokenCount": 5, "cachedContentTokenCount": 6, "totalTokenCount": 5}),
}


@pytest.mark.parametrize("name", INVALID)
def test_contradictions_are_unknown(name: str):
    line, job = INVALID[name]

    metering = meter([lines_of.dump(line)], prices=FLAT, **job)

    assert metering.cost.total is None
    assert metering.cost.unknown == {"usage_invalid": 1}
    assert metering.lines.succeeded == metering.lines.unpriced == 1
    assert metering.usage.total_tokens == 0


def test_an_anthropic_success_without_a_message_is_unknown():
    line = {"custom_id": "a", "result": {"type": "succeeded"}}

    assert meter([lines_of.dump(line)], provider="anthropic", prices=FLAT).cost.unknown == {"usage_missing": 1}


def test_a_total_without_its_output_is_no_usage_to_price():
    usage = {"prompt_tokens": 10, "total_tokens": 500}

    found = meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT)

    assert found.cost.unknown == {"usage_contradicts_total": 1}


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"total_tokens": 9}, {"completion_tokens": 4}, "none", []]
)
def test_missing_usage_is_unknown(usage: Any):
    metering = meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT)

    assert metering.cost.total is None
    assert metering.cost.unknown == {"usage_missing": 1}
    assert metering.models["m"].cost is None


def test_a_total_that_no_reading_has_is_unknown():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 99}

    metering = meter([lines_of.dump(lines_of.openai("m", usage))], prices=FLAT)

    assert metering.cost.unknown == {"usage_contradicts_total": 1}
    assert metering.cost.details == {"usage_contradicts_total": ("line 1",)}


def test_geo_and_service_tier_count_where_anthropic_says_so():
    usage = {"input_tokens": 10, "output_tokens": 1, "inference_geo": "us", "service_tier": "standard"}

    (key,) = groups(lines_of.anthropic("m", usage), provider="anthropic")

    assert key == GroupKey("m", 0, "us", "standard")


@pytest.mark.parametrize("geo", ["global", "not_available", "", None, 3])
def test_no_particular_geo(geo: Any):
    usage = {"input_tokens": 10, "output_tokens": 1, "inference_geo": geo, "service_tier": "batch"}

    (key,) = groups(lines_of.anthropic("m", usage), provider="anthropic")

    assert key == GroupKey("m")


def test_openais_service_tier_selects_nothing():
    line = lines_of.openai(
        "m", {"completion_tokens": 0, "prompt_tokens": 1, "service_tier": "standard"}, service_tier="standard"
    )

    assert list(groups(line)) == [GroupKey("m")]


@pytest.mark.parametrize(
    ("prompt", "over"), [(999, 0), (1_000, 0), (1_001, 1_000), (5_000, 1_000), (5_001, 5_000), (10**9, 5_000)]
)
def test_the_whole_prompt_decides_the_tier(prompt: int, over: int):
    usage = {"completion_tokens": 0, "prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": prompt}}

    assert [key.prompt_over for key in groups(lines_of.openai("m", usage))] == [over]


def test_anthropics_cached_tokens_count_for_the_tier():
    usage = {"input_tokens": 1, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 100, "output_tokens": 1}

    keys = list(groups(lines_of.anthropic("m", usage), provider="anthropic"))
    assert [(key.prompt_over, key.buckets) for key in keys] == [(1_000, ("cache_write_5m", "cached_input"))]


ALL = {
    f"{one.provider}-{dialect.name}-{index}": dialect
    for one in installed()
    for index, spoken in enumerate(one.speaks)
    for dialect in (spoken, *spoken.readings)
}


@pytest.mark.parametrize("dialect", ALL.values(), ids=ALL)
def test_tables_use_known_buckets_and_end_with_output(dialect: Dialect):
    names = list(dialect.buckets)

    assert set(names) <= set(BUCKETS)
    assert "output" not in names[:-1]


@pytest.mark.parametrize(
    ("tool", "fee"),
    [("web_search", "0.01"), ("file_search", "0.0025"), ("code_interpreter", "0.03"), ("image_generation", None)],
)
def test_a_tool_costs_its_fee_or_leaves_the_cost_unknown(tool: str, fee: str | None) -> None:
    line = lines_of.openai("gpt-5-mini", {"input_tokens": 1000, "output_tokens": 100}, object="response")
    line["response"]["body"]["output"] = [{"type": f"{tool}_call"}]
    cost = meter([lines_of.dump(line)], priced_at=date(2026, 11, 10)).cost
    tokens = Decimal("0.000225")
    assert cost.total == (None if fee is None else tokens + Decimal(fee))
    assert (cost.known, cost.estimated) == (cost.total or tokens, tool == "code_interpreter")
    assert cost.details == ({"missing_rate": ("gpt-5-mini: image_generation",)} if fee is None else {})

    bucket = tool.replace("code_interpreter", "container")
    rates = {"input": "1", "output": "10", bucket: "2500"}
    cost = meter([lines_of.dump(line)], prices={"openai/gpt-5-mini": {"batch": rates}}).cost
    assert cost.total == Decimal("0.0045")
    cost = meter([lines_of.dump(line)], prices={"openai/gpt-5-mini": {"standard": rates}}).cost
    assert cost.total == Decimal("0.0035")  # no tool is in a batch discount


@pytest.mark.parametrize("model", ["gpt-4o-search-preview-2025-03-11", "gpt-5-search-api", "gpt-7-mini-search-api"])
def test_a_chat_model_that_always_searches_is_billed_for_it(model: str) -> None:
    line = lines_of.openai(model, {"prompt_tokens": 1000, "completion_tokens": 100})
    assert meter([lines_of.dump(line)], priced_at=date(2026, 11, 10)).usage.web_searches == 1
    prices = {f"openai/{model}": {"batch": {"input": "1", "output": "10", "web_search": "25000"}}}
    assert meter([lines_of.dump(line)], prices=prices).cost.total == Decimal("0.027")


def test_a_line_that_uses_an_unpriced_bucket_leaves_the_others_priced() -> None:
    plain, audio = (
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": tokens}}
        for tokens in (0, 4)
    )
    lines = [lines_of.dump(lines_of.openai("gpt-4o-mini", usage)) for usage in (plain, audio, plain)]
    metering = meter([b"\n".join(line.strip() for line in lines)], priced_at=date(2026, 11, 10))
    assert (metering.lines.unpriced, metering.cost.total, metering.cost.unknown) == (1, None, {"missing_rate": 1})
    assert metering.cost.known == (26 * Decimal("0.075") + 3 * Decimal("0.3")) / 1_000_000
    assert metering.cost.details == {"missing_rate": ("gpt-4o-mini: audio_in",)}
    share = metering.models["gpt-4o-mini"]
    assert (share.cost, share.known, share.unknown) == (None, metering.cost.known, {"missing_rate": 1})


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise SystemExit(3)", "cannot be used"), ("", "cannot be used"), ("DIALECTS = 5", "are no batchmeter.metering")],
)
def test_dialects_that_cannot_be_had_are_left_out(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "acme_rows.py").write_text(code)
    info = tmp_path / "acme_rows-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rows\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[batchmeter.dialects]\nacme = acme_rows:DIALECTS\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_rows", raising=False)

    found = installed.__wrapped__()

    assert found == installed()
    assert f"the dialects of acme {words}" in caplog.text
