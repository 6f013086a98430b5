"""The worked cases at the level of rates: counters by hand into buckets, then price_groups, exact to the last digit."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter.pricebook.book import PriceBook
from batchmeter.pricing.groups import Group, GroupKey
from batchmeter.pricing.price import Pricing, price_groups

CASES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data" / "cost_cases.jsonl").read_text().splitlines()
]
Case = dict[str, Any]


def inclusive(usage: Case, *, reasoning_outside: bool = False) -> dict[str, int]:
    """OpenAI's way: parts inside their sums."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    prompt = usage["prompt_tokens"] if "prompt_tokens" in usage else usage["input_tokens"]
    cached, written = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    output = usage.get("completion_tokens", usage.get("output_tokens", 0))
    if reasoning_outside:
        output += usage["completion_tokens_details"]["reasoning_tokens"]
    return {
        "input": prompt - cached - written,
        "cached_input": cached,
        "cache_write_5m": written,
        "output": output,
    }


def google(usage: Case) -> dict[str, int]:
    audio = sum(part["tokenCount"] for part in usage["promptTokensDetails"] if part["modality"] == "AUDIO")
    cached = usage.get("cachedContentTokenCount", 0)
    return {
        "input": usage["promptTokenCount"] - cached - audio,
        "cached_input": cached,
        "audio_in": audio,
        "output": usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0),
    }


def anthropic(usage: Case) -> dict[str, int]:
    return {
        "input": usage["input_tokens"],
        "cached_input": usage["cache_read_input_tokens"],
        "cache_write_5m": usage["cache_creation"]["ephemeral_5m_input_tokens"],
        "cache_write_1h": usage["cache_creation"]["ephemeral_1h_input_tokens"],
        "output": usage["output_tokens"],
    }


def buckets(provider: str, usage: Case) -> dict[str, int]:
    if "promptTokenCount" in usage:
        return google(usage)
    if "cache_creation" in usage:
        return anthropic(usage)
    return inclusive(usage, reasoning_outside=provider == "xai")


def grouped(case: Case, boundaries: tuple[int, ...]) -> dict[GroupKey, Group]:
    groups: dict[GroupKey, Group] = {}
    for line in case.get("lines", [case]):
        if line["usage"] is None:
            continue
        counts = buckets(case["provider"], line["usage"])
        prompt = sum(count for bucket, count in counts.items() if bucket != "output")
        over = max((limit for limit in boundaries if prompt > limit), default=0)
        group = groups.setdefault(GroupKey(line["model"], over, line["usage"].get("inference_geo")), Group(0, {}))
        group.lines += 1
        for bucket, count in counts.items():
            group.counts[bucket] = group.counts.get(bucket, 0) + count
    return groups


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: Case, book: PriceBook) -> None:
    source = PriceBook.load(case["price_overrides"]) if "price_overrides" in case else book
    at = date.fromisoformat(case["date"])
    pricing = Pricing(provider=case["provider"], region=case.get("region"), at=at, source=source)
    cost = price_groups(grouped(case, source.boundaries), pricing).cost
    expected = case["expected_usd"]
    assert cost.total == (None if expected is None else Decimal(expected))
    assert bool(cost.unknown) == (expected is None)
    assert cost.price_book == source.digest


def test_there_are_cases() -> None:
    assert len(CASES) == 43
