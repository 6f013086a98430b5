"""The catalogue's build, without its packages: rows, corrections, what is borrowed, and what is reported."""

import copy
import gzip
import json
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from batchmeter.pricebook.book import PriceBook

ROOT = Path(__file__).parents[2]
SCRIPTS = ("borrow", "compare", "compiled", "corrections", "fill", "litellm_rows", "quotes")
DATA = ROOT / "core" / "batchmeter" / "pricebook" / "data"


@pytest.fixture(scope="module")
def build() -> Iterator[dict[str, ModuleType]]:
    import importlib

    sys.path.insert(0, str(ROOT / ".ci" / "prices"))
    try:
        yield {name: importlib.import_module(name) for name in SCRIPTS}
    finally:
        sys.path.pop(0)
        for name in SCRIPTS:
            del sys.modules[name]


LITELLM: dict[str, Any] = {
    "m-1": {
        "litellm_provider": "openai",
        "mode": "chat",
        "supports_vision": True,
        "input_cost_per_token": Decimal("2e-06"),
        "input_cost_per_token_batches": Decimal("1.3e-06"),
        "input_cost_per_token_above_272k_tokens": Decimal("4e-06"),
        "output_cost_per_token": Decimal("8e-06"),
        "input_cost_per_token_priority": Decimal("9e-06"),
        "regional_processing_uplift_multiplier_eu": Decimal("1.1"),
    },
    "m-1-2026-01-01": {
        "litellm_provider": "openai",
        "mode": "chat",
        "supports_vision": True,
        "input_cost_per_token": Decimal("2e-06"),
        "input_cost_per_token_above_272k_tokens": Decimal("4e-06"),
        "output_cost_per_token": Decimal("8e-06"),
    },
    "xai/g": {
        "litellm_provider": "xai",
        "input_cost_per_token": Decimal("1e-06"),
        "input_cost_per_token_above_200k_tokens": Decimal("2e-06"),
    },
    "azure/eu/m-1": {"litellm_provider": "azure", "input_cost_per_token": Decimal("2.2e-06")},
    "azure/m-1": {"litellm_provider": "azure", "input_cost_per_token": Decimal("2.1e-06")},
    "azure/global/m-1": {"litellm_provider": "azure", "input_cost_per_token": Decimal("2e-06")},
    "bedrock/us-east-1/b.m": {"litellm_provider": "bedrock", "input_cost_per_token": Decimal("5e-06")},
    "bedrock/us-east-1/1-month-commitment/b.m": {"litellm_provider": "bedrock", "input_cost_per_second": Decimal(1)},
    "text-embedding-005": {
        "litellm_provider": "vertex_ai-embedding-models",
        "mode": "embedding",
        "input_cost_per_character": Decimal("2.5e-08"),
        "input_cost_per_token": Decimal("1e-07"),
    },
    "a-video": {"litellm_provider": "openai", "mode": "video_generation", "input_cost_per_token": Decimal(1)},
    "a-voice": {"litellm_provider": "openai", "mode": "audio_speech", "output_cost_per_token": Decimal(1)},
    "elsewhere": {"litellm_provider": "novita", "input_cost_per_token": Decimal(1)},
    "voyage/v-1": {"litellm_provider": "voyage", "mode": "embedding", "input_cost_per_token": Decimal("6e-08")},
    "fireworks-ai-up-to-4b": {"litellm_provider": "fireworks_ai", "input_cost_per_token": Decimal("1e-07")},
    "gemini/g-exp": {"litellm_provider": "gemini", "input_cost_per_token": 0, "output_cost_per_token": Decimal(0)},
    "g-exp": {
        "litellm_provider": "gemini",
        "input_cost_per_token": Decimal("3e-07"),
        "output_cost_per_token": Decimal(1),
    },
    "gemini/gemini-3": {
        "litellm_provider": "gemini",
        "input_cost_per_token": Decimal("1e-06"),
        "input_cost_per_audio_token_above_200k_tokens": Decimal("2e-06"),
        "output_cost_per_video_token": Decimal("9e-06"),
        "cache_read_input_token_cost": Decimal("1e-07"),
        "cache_creation_input_token_cost": 0,
        "search_context_cost_per_query": dict.fromkeys(["low", "medium", "high"], Decimal("0.014")),
        "google_maps_grounding_cost_per_query": Decimal("0.025"),
        "search_free_requests": {"count": 5000, "period": "month"},
    },
    "titan": {
        "litellm_provider": "bedrock",
        "mode": "embedding",
        "input_cost_per_token": Decimal("8e-07"),
        "input_cost_per_image": Decimal("6e-05"),
    },
    "mistral/ocr": {
        "litellm_provider": "mistral",
        "mode": "ocr",
        "ocr_cost_per_page": Decimal("0.004"),
        "ocr_cost_per_page_batches": Decimal("0.002"),
    },
    "dashscope/q": {
        "litellm_provider": "dashscope",
        "tiered_pricing": [
            {"range": [0, 32_000], "input_cost_per_token": Decimal("1e-06")},
            {"range": [32_000, 128_000], "input_cost_per_token": Decimal("2e-06")},
        ],
    },
}


def made(build: dict[str, ModuleType]) -> list[Any]:
    found = []
    for row, entry in build["litellm_rows"].rows(LITELLM):
        build["fill"].fill(row, entry)
        found.append(row)
    return found


def named(rows: list[Any], provider: str, model: str, region: str | None = None) -> Any:
    found = [row for row in rows if (row.provider, row.model, row.region) == (provider, model, region)]
    assert len(found) == 1
    return found[0]


def test_rows_of_litellms_map(build: dict[str, ModuleType]) -> None:
    rows = made(build)
    assert sorted({(row.provider, row.model, row.region) for row in rows}, key=str) == sorted(
        [
            ("azure", "m-1", "data-zone-eu"),
            ("azure", "m-1", None),
            ("bedrock", "b.m", "us-east-1"),
            ("bedrock", "titan", None),
            ("dashscope", "q", None),
            ("gemini", "gemini-3", None),
            ("mistral", "ocr", None),
            ("vertex_ai", "text-embedding-005", None),
            ("voyage", "v-1", None),
            ("openai", "m-1", None),
            ("openai", "m-1-2026-01-01", None),
            ("xai", "g", None),
        ],
        key=str,
    )
    row = named(rows, "openai", "m-1")
    assert row.tiers[0].batch == {"input": Decimal("1.3"), "image_in": Decimal("1.3")}
    assert row.tiers[0].standard == {"input": 2, "output": 8, "image_in": 2}
    assert (row.tiers[1].over, row.tiers[1].standard["input"]) == (272_000, 4)
    assert row.uplift == {"resident": ["1.1", None]}
    assert named(rows, "xai", "g").tiers[1].over == 199_999
    assert named(rows, "azure", "m-1").tiers[0].standard["input"] == 2


def test_a_model_listed_at_zero_takes_no_other_keys_price(build: dict[str, ModuleType]) -> None:
    assert not [row for row in made(build) if row.model == "g-exp"]


def test_rates_of_searches_images_pages_and_video(build: dict[str, ModuleType]) -> None:
    rows = made(build)
    grounded = named(rows, "gemini", "gemini-3")
    assert [tier.over for tier in grounded.tiers] == [0]  # a tier of audio alone is none
    assert grounded.tiers[0].standard == {
        "input": 1,
        "image_in": 1,
        "video_in": 1,
        "video_out": 9,
        "cached_input": Decimal("0.1"),
        "cached_image_in": Decimal("0.1"),
        "cached_video_in": Decimal("0.1"),
        "web_search": 14_000,
        "maps_query": 25_000,
    }
    assert grounded.assumed == ["web_search", "maps_query"]  # so many a month are free
    assert named(rows, "bedrock", "titan").tiers[0].standard["input_image"] == 60
    pages = named(rows, "mistral", "ocr").tiers[0]
    assert (pages.batch, pages.standard) == ({"page": 2000}, {"page": 4000})
    assert [(tier.over, tier.standard["input"]) for tier in named(rows, "dashscope", "q").tiers] == [
        (0, 1),
        (32_000, 2),
    ]
    assert named(rows, "vertex_ai", "text-embedding-005").assumed == ["input"]


def is_m1(row: Any) -> bool:
    return (row.provider, row.model) == ("openai", "m-1")


def correction(**fields: Any) -> dict[str, Any]:
    return {
        "provider": "openai",
        "models": ["m-1"],
        "source": "https://example.test",
        "verified": "2026-11-22",
        "reason": "because",
    } | fields


def test_a_dated_correction_splits_the_row(build: dict[str, ModuleType]) -> None:
    rows = build["corrections"].corrected(
        made(build), [correction(**{"from": "2026-02-01", "until": "2026-03-01", "batch": {"input": "0.7"}})]
    )
    spans = [(r.valid_from, r.valid_until, r.tiers[0].batch["input"], r.origin) for r in rows if is_m1(r)]
    assert spans == [
        (None, "2026-02-01", Decimal("1.3"), "litellm"),
        ("2026-02-01", "2026-03-01", Decimal("0.7"), "correction"),
        ("2026-03-01", None, Decimal("1.3"), "litellm"),
    ]


def test_corrections_scale_replace_remove_and_add(build: dict[str, ModuleType]) -> None:
    corrected = build["corrections"].corrected
    scaled = named(corrected(made(build), [correction(scale="2")]), "openai", "m-1")
    assert (scaled.tiers[0].batch["input"], scaled.tiers[1].standard["input"]) == (Decimal("2.6"), 8)
    replaced = named(corrected(made(build), [correction(replace=True, standard={"input": "1"})]), "openai", "m-1")
    assert [(tier.over, tier.batch, tier.standard) for tier in replaced.tiers] == [(0, {}, {"input": 1})]
    assert not any(map(is_m1, corrected(made(build), [correction(remove=True)])))
    added = corrected(made(build), [correction(models=["new"], batch={"input": "3"})])
    assert named(added, "openai", "new").tiers[0].batch == {"input": 3}


def test_a_term_fills_in_what_rows_do_not_say(build: dict[str, ModuleType]) -> None:
    rows = made(build)
    term = correction(
        models=["m-*"], standard={"input": "9", "container": "30000"}, assumed=["container"], factor="0.6"
    )
    build["corrections"].laid_under(rows, [term])
    row = named(rows, "openai", "m-1")
    assert (row.tiers[0].standard["input"], row.tiers[0].standard["container"]) == (2, 30_000)
    assert (row.assumed, row.factor) == (["container"], "0.6")
    assert named(rows, "azure", "m-1").factor is None


def test_scaling_leaves_tools_at_their_price(build: dict[str, ModuleType]) -> None:
    scaled = build["corrections"].corrected(
        made(build), [correction(provider="gemini", models=["gemini-3"], scale="2")]
    )
    rates = named(scaled, "gemini", "gemini-3").tiers[0].standard
    assert (rates["input"], rates["web_search"], rates["maps_query"]) == (2, 14_000, 25_000)


@pytest.mark.parametrize(
    "change",
    [
        {"source": ""},
        {"reason": ""},
        {"verified": ""},
        {"bacth": {}},
        {"batch": {"input": "0"}},
        {"tiers": [{"over": 1, "batch": {"input": "0"}}]},
    ],
)
def test_a_correction_needs_source_date_and_reason(build: dict[str, ModuleType], change: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match=r"corrections\.toml"):
        build["corrections"].corrected([], [correction(**change)])


def quote(build: dict[str, ModuleType], rate: str, **fields: Any) -> Any:
    values = {
        "source": "genai-prices",
        "provider": "openai",
        "model": "m-1",
        "region": None,
        "processing": "batch",
        "over": 0,
        "bucket": "output",
        "rate": Decimal(rate),
    }
    return build["quotes"].Quote(**(values | fields))


def test_published_batch_rates_are_borrowed_where_the_standard_rate_agrees(build: dict[str, ModuleType]) -> None:
    quotes = [
        quote(build, "4.1"),
        quote(build, "8", processing="standard"),
        quote(build, "9", bucket="input"),
        quote(build, "1", model="m-1-2026-01-01"),
        quote(build, "7", model="m-1-2026-01-01", processing="standard"),
    ]
    rows = made(build)
    build["borrow"].complete(rows, build["borrow"].indexed(quotes))
    expected = {"input": Decimal("1.3"), "image_in": Decimal("1.3"), "output": Decimal("4.1")}
    assert named(rows, "openai", "m-1").tiers[0].batch == expected
    assert (
        named(rows, "openai", "m-1-2026-01-01").tiers[0].batch == expected
    )  # its alias's, the standard price being one


def test_whole_models_are_taken_by_name_only(build: dict[str, ModuleType]) -> None:
    prices = build["borrow"].indexed([quote(build, "1", model="old"), quote(build, "2", model="old", over=1000)])
    take = {"provider": "openai", "source": "genai-prices", "ids": {"old": ["old", "old-2024-01-01"]}}
    rows = build["borrow"].taken([take], [], prices)
    assert [(row.model, [tier.over for tier in row.tiers]) for row in rows] == [
        ("old", [0, 1000]),
        ("old-2024-01-01", [0, 1000]),
    ]
    with pytest.raises(SystemExit, match="other"):
        build["borrow"].taken([{**take, "ids": {}, "models": ["other*"]}], [], prices)


@pytest.fixture
def small(build: dict[str, ModuleType], tmp_path: Path) -> PriceBook:
    path = tmp_path / "catalogue.json.gz"
    content = build["compiled"].document(
        made(build), built="2026-11-22", sources={"litellm": "x"}, factors={"openai": "0.5"}
    )
    path.write_bytes(build["compiled"].packed(content))
    return PriceBook(catalogue=path)


def test_every_disagreement_is_settled_disputed_or_open(build: dict[str, ModuleType], small: PriceBook) -> None:
    quotes = [
        quote(build, "1.3", bucket="input"),
        quote(build, "1.4", bucket="input"),
        quote(build, "9"),
        quote(build, "1", bucket="audio_in"),
        quote(build, "1", model="unheard-of"),
    ]
    dispute = {"providers": ["openai"], "models": ["m-*"], "buckets": ["audio_in"], "ours": "missing", "reason": "r1"}
    stale = {**dispute, "models": ["n-*"], "reason": "r2"}
    listed = [("gemini", "g-exp"), ("openai", "m-1"), ("azure", "m-1")]
    absences = [
        {"providers": ["gemini"], "models": ["g-exp", "g-old"], "reason": "r3"},
        {"providers": ["openai"], "models": ["m-1"], "reason": "r4"},
    ]
    report = build["compare"].compare(
        small, quotes, listed, date(2026, 11, 22), [correction(batch={"input": "1.3"})], [dispute, stale], absences
    )
    assert report.agreeing == 1
    assert [item.quote for item in report.settled] == [quotes[1]]
    assert [(item.quote, item.ours, item.estimated) for item in report.open] == [(quotes[2], 4, True)]
    assert [item.quote for item in report.disputed] == [quotes[3]]
    assert report.lacking == ["openai/unheard-of"]
    assert report.excused == ["gemini/g-exp"]
    assert report.stale == ["r2", "g-old (r3)", "m-1 (r4)"]
    text = "\n".join(build["compare"].lines(report))
    assert "OPEN: 1" in text
    assert "openai/m-1 - batch over 0 output: ours 4.0 (estimated), genai-prices 9" in text


def test_the_same_input_is_the_same_bytes(build: dict[str, ModuleType]) -> None:
    rows = made(build)

    def packed(order: list[Any]) -> bytes:
        content = build["compiled"].document(copy.deepcopy(order), built="2026-11-22", sources={})
        result: bytes = build["compiled"].packed(content)
        return result

    assert packed(rows) == packed(rows[::-1])
    assert json.loads(gzip.decompress(packed(rows)))["format"] == 1


def test_a_family_speaks_only_for_snapshots_at_its_own_price(build: dict[str, ModuleType]) -> None:
    rows = made(build)
    assert "m-1" not in build["compiled"].families(rows).get("openai", [])  # its snapshot has no residency uplift
    named(rows, "openai", "m-1").uplift.clear()
    build["borrow"].complete(rows, build["borrow"].indexed([]))
    assert "m-1" in build["compiled"].families(rows)["openai"]


def test_our_own_files_are_whole(build: dict[str, ModuleType]) -> None:
    book = tomllib.loads((DATA / "corrections.toml").read_text())
    for entry in book["correction"]:
        build["corrections"].check(entry)
        assert entry["source"].startswith("https://")
        date.fromisoformat(entry["verified"])
    for term in book["term"]:
        build["corrections"].check(term)
    disputed = tomllib.loads((DATA / "disputed.toml").read_text())
    assert all(entry["reason"] for entry in (*disputed["dispute"], *disputed["absent"]))
    assert not [entry for entry in disputed["absent"] if set("*?[") & set("".join(entry["models"]))]  # by name only


def test_a_table_of_prices_that_became_a_program_is_refused(build: dict[str, ModuleType]) -> None:
    assert build["quotes"]._data_only("x: list[int] = [Provider(price=Decimal('1'), since=datetime.date(2026, 1, 1))]")
    for text in ("import os", "x = ().__class__", "[y for y in z]", "x = f'{y}'"):
        with pytest.raises(SystemExit, match="only data"):
            build["quotes"]._data_only(text)
