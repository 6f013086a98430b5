"""Real rows that were once counted wrong, each with the value that its vendor's page gives."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchmeter import meter
from batchmeter.errors import NotAnOutputError
from batchmeter.metering import Metering

FAULTS = Path(__file__).parent.parent / "data" / "faults"


def metered(*names: str, **job: Any) -> Metering:
    return meter([FAULTS / name for name in names], **{"priced_at": "2026-11-29", **job})


PRICED: dict[str, tuple[tuple[str, ...], dict[str, Any], str, dict[str, int]]] = {
    "compaction beside the top level": (
        ("compaction.jsonl",),
        {"provider": "anthropic"},
        "0.56375",
        {"input_tokens": 203_000, "output_tokens": 4_500},
    ),
    "an advisor's own model": (
        ("advisor.jsonl",),
        {"provider": "anthropic"},
        "1.267059",
        {"input_tokens": 497_526, "output_tokens": 2_400},
    ),
    "image tokens of an embedding": (
        ("emb2_image.jsonl",),
        {"provider": "gemini", "model": "gemini-embedding-2"},
        "0.225",
        {"image_input_tokens": 1_000_000},
    ),
    "text tokens of an embedding": (
        ("emb2_text.jsonl",),
        {"provider": "gemini", "model": "gemini-embedding-2"},
        "0.1",
        {"input_tokens": 1_000_000},
    ),
    "video tokens of an embedding": (
        ("emb2_video.jsonl",),
        {"provider": "gemini", "model": "gemini-embedding-2"},
        "6",
        {"video_input_tokens": 1_000_000},
    ),
    "video that was made": (
        ("omni_video.jsonl",),
        {"provider": "gemini"},
        "8.7500075",
        {"video_output_tokens": 1_000_000},
    ),
    "unique queries of Gemini 3": (("g3_queries.jsonl",), {"provider": "gemini"}, "0.028175", {"web_searches": 2}),
    "Maps up to Gemini 2.5": (("maps.jsonl",), {"provider": "gemini"}, "0.02514", {"maps_queries": 1}),
    "Maps from Gemini 3": (("maps3.jsonl",), {"provider": "gemini"}, "0.014175", {"maps_queries": 1}),
    "an image apiece": (
        ("titan_image.jsonl",),
        {"provider": "bedrock", "model": "amazon.titan-embed-image-v1"},
        "0.0000616",
        {"input_images": 1},
    ),
    "a total is all input": (
        ("voyage.jsonl",),
        {"provider": "voyage"},
        "0.0000009648",
        {"input_tokens": 12},
    ),
    "thoughts inside the candidates": (
        ("oi3177.jsonl",),
        {"provider": "gemini"},
        "0.00425365",
        {"output_tokens": 3_362, "reasoning_tokens": 3_347},
    ),
    "thoughts inside, by the total": (
        ("incl_thoughts.jsonl",),
        {"provider": "gemini"},
        "0.001265",
        {"input_tokens": 100, "output_tokens": 1_000},
    ),
    "cache beside the prompt, by the total": (
        ("vertex_cache_excl.jsonl",),
        {"provider": "vertex_ai"},
        "0.000965",
        {"input_tokens": 8_000, "cached_input_tokens": 3_000},
    ),
    "cache in its details only": (
        ("cache_details_only.jsonl",),
        {"provider": "gemini"},
        "0.00194056",
        {"input_tokens": 4_583, "cached_input_tokens": 2_047, "output_tokens": 1_199},
    ),
    "camelCase of the compatible layer": (
        ("gemini_compat.jsonl",),
        {"provider": "gemini"},
        "0.0010512",
        {"input_tokens": 8, "output_tokens": 840},
    ),
    "searches, not pages opened": (
        ("oai_ws.jsonl",),
        {"prices": FAULTS / "ws.toml"},
        "0.01875",
        {"web_searches": 1},
    ),
    "server tools, by the vendor's amount": (
        ("xai_tools.jsonl",),
        {"provider": "xai"},
        "0.0334",
        {"web_searches": 3, "input_tokens": 10_000},
    ),
    "responses with the vendor's amount": (("xai_resp.jsonl",), {"provider": "xai"}, "0.0184", {"output_tokens": 500}),
    "an image with an amount only": (("xai_image.jsonl",), {"provider": "xai"}, "0.07", {"generated_images": 1}),
    "a router's own amount": (("openrouter.jsonl",), {"provider": "openrouter"}, "0.00001", {"input_tokens": 10}),
    "incremental and final export": (
        ("v_incr.jsonl", "v_final.jsonl"),
        {"provider": "vertex_ai"},
        "0.15",
        {"input_tokens": 1_000_000},
    ),
    "both exports in one file": (
        ("v_cat.jsonl",),
        {"provider": "vertex_ai"},
        "0.15",
        {"input_tokens": 1_000_000},
    ),
}


@pytest.mark.parametrize("name", PRICED)
def test_fault_is_priced_right(name: str):
    files, job, total, usage = PRICED[name]

    found = metered(*files, **job)

    assert (found.cost.total, found.lines.succeeded) == (Decimal(total), 1)
    assert found.usage.model_dump().items() >= usage.items()


UNKNOWN: dict[str, tuple[str, dict[str, Any], dict[str, tuple[str, ...]], str, dict[str, int]]] = {
    "audio seconds": (
        "voxtral.jsonl",
        {"provider": "mistral"},
        {"missing_rate": ("voxtral-small-2507: audio_second",)},
        "0.000021",
        {"audio_seconds": 600},
    ),
    "connectors": (
        "mistral_conv.jsonl",
        {"provider": "mistral"},
        {"unknown_model": ("no model named",)},
        "0",
        {"input_tokens": 7_300, "web_searches": 1},
    ),
    "billed units are an answer": (
        "cohere.jsonl",
        {"provider": "cohere"},
        {"unknown_model": ("no model named",)},
        "0",
        {"input_tokens": 12},
    ),
    "a model that its source lists at zero": (
        "exp.jsonl",
        {"provider": "gemini"},
        {"unknown_model": ("gemini-exp-1206",)},
        "0",
        {"input_tokens": 1_000_000, "output_tokens": 1_000_000},
    ),
    "hidden tokens that a total has": (
        "hidden_thoughts.jsonl",
        {"provider": "gemini"},
        {"usage_contradicts_total": (f"{FAULTS / 'hidden_thoughts.jsonl'} line 1",)},
        "0",
        {"input_tokens": 0},
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_fault_is_unknown_and_named(name: str):
    file, job, details, known, usage = UNKNOWN[name]

    found = metered(file, **job)

    assert (found.cost.total, found.cost.details) == (None, details)
    assert (found.cost.known, found.lines.succeeded, found.lines.failed) == (Decimal(known), 1, 0)
    assert found.usage.model_dump().items() >= usage.items()


def test_a_failed_response_inside_200_is_failed():
    found = metered("oai_failed.jsonl")

    assert (found.lines.failed, found.failures, found.cost.unknown) == (1, {"server_error": 1}, {})


@pytest.mark.parametrize(("name", "advice"), [("utf16.jsonl", "UTF-16.*iconv"), ("array.json", r"JSON array.*jq")])
def test_a_file_of_another_kind_says_how_to_mend_it(name: str, advice: str):
    with pytest.raises(NotAnOutputError, match=advice):
        metered(name)
