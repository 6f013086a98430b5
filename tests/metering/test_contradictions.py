"""Rows that contradict themselves, or leave something out, are unknown by reason; none of them is free or exact."""

from decimal import Decimal
from typing import Any

import pytest

from batchmeter import meter
from batchmeter.models import ReportedCost

from . import lines_of
from .prices import FLAT, RATES

Json = dict[str, Any]
CHAT = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
MESSAGE = {"input_tokens": 10, "output_tokens": 5}
GEMINI = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
CONVERSE = {"inputTokens": 9, "outputTokens": 2}
XAI_TOOLS = "server_side_tool_usage_details"


def chat(usage: Json, provider: str = "openai") -> tuple[Json, str]:
    return lines_of.openai("m", usage), provider


def response(**body: Any) -> tuple[Json, str]:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    return lines_of.openai("m", usage, object="response", **body), "openai"


def iterations(*entries: Any, **more: Any) -> tuple[Json, str]:
    return lines_of.anthropic("m", {**MESSAGE, **more, "iterations": list(entries)}), "anthropic"


def message(**words: str) -> tuple[Json, str]:
    return lines_of.anthropic("m", {**MESSAGE, **words}), "anthropic"


def pages(**body: Any) -> tuple[Json, str]:
    return lines_of.openai("m", None, usage_info={"pages_processed": 3}, **body), "mistral"


def gemini(usage: Json, model: str = "m") -> tuple[Json, str]:
    return lines_of.gemini_api(model, usage), "gemini"


def tokens(**kinds: int) -> list[Json]:
    return [{"modality": kind, "tokenCount": count} for kind, count in kinds.items()]


def bedrock(output: Json) -> tuple[Json, str]:
    return lines_of.bedrock(output), "bedrock"


UNKNOWN: dict[str, tuple[tuple[Json, str], str]] = {
    "chat without an output": (chat({"prompt_tokens": 10}), "usage_missing"),
    "chat with a null output": (chat({"prompt_tokens": 10, "completion_tokens": None}), "usage_missing"),
    "chat with an empty counter": (chat({"prompt_tokens": "", "completion_tokens": 5}), "usage_invalid"),
    "mistral without an output": (chat({"prompt_tokens": 10}, "mistral"), "usage_missing"),
    "two cached counters that differ": (
        chat(CHAT | {"cached_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}),
        "usage_invalid",
    ),
    "responses without an output": (
        (lines_of.openai("m", {"input_tokens": 10}, object="response"), "openai"),
        "usage_missing",
    ),
    "an item without a type": (response(output=[{"status": "completed"}]), "unknown_counter"),
    "an item that is null": (response(output=[None]), "unknown_counter"),
    "a tool that only tool_usage names": (response(tool_usage={"video_gen": {"seconds": 3}}), "unknown_counter"),
    "a message without an output": ((lines_of.anthropic("m", {"input_tokens": 10}), "anthropic"), "usage_missing"),
    "an iteration of an unknown type": (iterations({"type": "teleport", **MESSAGE}), "unknown_counter"),
    "an advisor that names no model": (iterations({"type": "advisor_message", **MESSAGE}), "unknown_counter"),
    "an iteration with iterations": (
        iterations({"type": "compaction", **MESSAGE, "iterations": [{"type": "compaction", **MESSAGE}]}),
        "unknown_counter",
    ),
    "messages that the top level does not sum": (
        iterations({"type": "message", "input_tokens": 99, "output_tokens": 5}),
        "unknown_counter",
    ),
    "a fallback that the top level does not have": (
        iterations({"type": "fallback_message", "input_tokens": 99, "output_tokens": 5}),
        "unknown_counter",
    ),
    "a result that is no object": (({"custom_id": "a", "result": "done"}, "anthropic"), "usage_missing"),
    "gemini without an output": (gemini({"promptTokenCount": 10}), "usage_missing"),
    "gemini details over the prompt": (gemini(GEMINI | {"promptTokensDetails": tokens(TEXT=30)}), "usage_invalid"),
    "gemini kinds that are new": (gemini(GEMINI | {"promptTokensDetails": tokens(SMELL=10)}), "unknown_counter"),
    "gemini cache details that differ": (
        gemini(GEMINI | {"cachedContentTokenCount": 4, "cacheTokensDetails": tokens(TEXT=8)}),
        "usage_invalid",
    ),
    "an embedding's details under the prompt": (
        (
            {
                "key": "a",
                "response": {
                    "embedding": {},
                    "usageMetadata": {"promptTokenCount": 10, "promptTokensDetails": tokens(TEXT=3)},
                },
            },
            "gemini",
        ),
        "usage_invalid",
    ),
    "a response that no table reads": (({"key": "a", "response": {"new": {"x": 1}}}, "gemini"), "usage_missing"),
    "a response that is text": (({"custom_id": "a", "response": "hello"}, "openai"), "usage_missing"),
    "a response that is a list": (({"custom_id": "a", "response": [1]}, "openai"), "usage_missing"),
    "llama without an output": (bedrock({"prompt_token_count": 5}), "usage_missing"),
    "titan results without a count": (
        bedrock({"inputTextTokenCount": 5, "results": [{"outputText": "x"}]}),
        "usage_missing",
    ),
    "a cache of an unknown lifetime": (
        bedrock({"usage": CONVERSE | {"cacheWriteInputTokens": 3, "cacheDetails": [{"ttl": "24h", "inputTokens": 3}]}}),
        "unknown_counter",
    ),
    "a total of zero": (chat(CHAT | {"total_tokens": 0}), "usage_contradicts_total"),
    "a length with its unit": (chat(CHAT | {"audio": "12.5s"}), "unknown_counter"),
    "a number with commas": (chat(CHAT | {"premium_tokens": "1,000"}), "unknown_counter"),
    "an amount of money": (chat(CHAT | {"fee": "$0.02"}), "unknown_counter"),
    "a tier that batches do not have": (message(service_tier="priority"), "unknown_counter"),
    "a speed that costs more": (message(speed="fast"), "unknown_counter"),
    "traffic that was paid otherwise": (gemini(GEMINI | {"trafficType": "PROVISIONED_THROUGHPUT"}), "unknown_counter"),
    "gemini at another tier": (gemini(GEMINI | {"serviceTier": "priority"}), "unknown_counter"),
    "an image model without kinds of output": (gemini(GEMINI, "gemini-2.5-flash-image"), "unknown_counter"),
    "an audio model without kinds of output": ((lines_of.openai("gpt-audio-mini", CHAT), "openai"), "unknown_counter"),
    "an annotated document": (pages(document_annotation="{}"), "unknown_counter"),
    "an annotated image": (pages(pages=[{"images": [{"image_annotation": "{}"}]}]), "unknown_counter"),
    "xai tools under two names": (
        (lines_of.xai("m", CHAT | {XAI_TOOLS: {"file_search_calls": 1, "collections_search_calls": 2}}), "xai"),
        "usage_invalid",
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_row_that_contradicts_itself_is_unknown(name: str):
    (line, provider), reason = UNKNOWN[name]

    found = meter([lines_of.dump(line)], provider=provider, model="gemini-embedding-2", prices=FLAT)

    assert (found.cost.total, found.cost.unknown) == (None, {reason: 1})
    assert (found.lines.succeeded, found.lines.failed) == (1, 0)


FAILED: dict[str, tuple[Json, str]] = {
    "an error beside the answer": (chat(CHAT)[0] | {"error": {"code": "x", "message": "m"}}, "openai"),
    "an HTTP error with a usage": (
        {"custom_id": "a", "response": {"status_code": 500, "body": {"model": "m", "usage": CHAT}}},
        "openai",
    ),
    "a response that failed": response(status="failed", error={"code": "server_error", "message": "m"}),
    "a response that was cancelled": response(status="cancelled"),
    "a message that errored": (
        {"custom_id": "a", "result": {"type": "errored", "message": lines_of.message("m", MESSAGE)}},
        "anthropic",
    ),
    "a status of Vertex AI": (lines_of.gemini("m", GEMINI) | {"status": "Internal: m"}, "vertex_ai"),
    "an error of Bedrock": (bedrock({"usage": CONVERSE})[0] | {"error": {"errorCode": 500}}, "bedrock"),
}


@pytest.mark.parametrize("name", FAILED)
def test_a_failed_row_that_used_tokens_is_not_free(name: str):
    line, provider = FAILED[name]

    found = meter([lines_of.dump(line)], provider=provider, model="m", prices=FLAT)

    assert (found.cost.total, found.cost.unknown) == (None, {"failed_with_usage": 1})
    assert (found.lines.succeeded, found.lines.failed, found.lines.unpriced) == (0, 1, 1)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": None, "details": {"kinds": []}}])
def test_a_failed_row_that_used_nothing_is_free(usage: Json | None):
    line = chat(CHAT)[0] | {"response": {"status_code": 400, "body": {"usage": usage}}}

    found = meter([lines_of.dump(line)], prices=FLAT)

    assert (found.cost.total, found.lines.failed) == (0, 1)


@pytest.mark.parametrize("word", ["2026-11-10", "v2", "gpt-5", "high", "0.0s", "$0", "req_12", "12:30"])
def test_a_word_is_no_amount(word: str):
    assert meter([lines_of.dump(lines_of.openai("m", CHAT | {"new": word}))], prices=FLAT).cost.unknown == {}


ROUTER: dict[str, tuple[Json, str, str | None]] = {
    "its own amount": ({"cost": "0.02"}, "unpriced", "0.02"),
    "zero for a model it marks as free": ({"cost": 0}, "unpriced:free", "0"),
    "zero for any other": ({"cost": 0}, "unpriced", None),
    "a fee beside another vendor's bill": (
        {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}},
        "unpriced",
        None,
    ),
    "not paid elsewhere": ({"cost": 0.02, "is_byok": False}, "unpriced", "0.02"),
    "a negative amount": ({"cost": -1}, "unpriced", None),
}


@pytest.mark.parametrize("name", ROUTER)
def test_a_routers_amount_is_used_where_it_is_the_whole_bill(name: str):
    more, model, total = ROUTER[name]

    lines = [lines_of.openai(model, CHAT | more, f"r-{n}") for n in range(2)]

    found = meter([lines_of.dump(*lines)], provider="openrouter", prices=FLAT).cost.total

    assert found == (None if total is None else 2 * Decimal(total))


@pytest.mark.parametrize(
    ("line", "provider", "buckets"),
    [
        (lines_of.openai("m", {"prompt_tokens": 8, "total_tokens": 8}), "openai", {"input": 8}),
        (pages()[0], "mistral", {"page": 3}),
        (pages(pages=[{"images": None}, {"images": [{}]}], document_annotation=None)[0], "mistral", {"page": 3}),
        (
            {"custom_id": "a", "response": {"status_code": 0, "body": {"usage": CHAT}}},
            "openai",
            {"input": 10, "output": 5},
        ),
        (
            {"custom_id": "a", "result": {"type": "paused", "message": lines_of.message("m", MESSAGE)}},
            "anthropic",
            {"input": 10, "output": 5},
        ),
        (
            response(output=[{"type": "image_generation_call"}], tool_usage={"image_gen": {"output_tokens": 9}})[0],
            "openai",
            {"input": 10, "image_generation": 1, "output": 5},
        ),
        (
            response(tool_usage={"image_gen": {"output_tokens": 9}})[0],
            "openai",
            {"input": 10, "image_generation": 1, "output": 5},
        ),
    ],
)
def test_a_row_that_is_odd_but_whole_is_counted(line: Json, provider: str, buckets: dict[str, int]):
    found = meter([lines_of.dump(line)], provider=provider, prices=FLAT)

    assert [group.counts for group in found.groups.values()] == [buckets]


def test_a_model_with_moderation_in_its_name_is_not_free():
    own = [lines_of.openai("omni-moderation-latest", None)]
    tuned = [lines_of.openai("ft:gpt-4o:my-moderation", None)]

    assert meter([lines_of.dump(*own)]).cost.total == 0
    assert meter([lines_of.dump(*tuned)]).cost.unknown == {"usage_missing": 1}


@pytest.mark.parametrize(
    ("factor", "notes"), [("1.004", ()), ("1.006", ("reported_cost_differs",)), ("0.9", ("reported_cost_differs",))]
)
def test_amounts_on_some_of_the_rows_are_compared_with_ours(factor: str, notes: tuple[str, ...]):
    usage = {"prompt_tokens": 1_000, "completion_tokens": 0, "total_tokens": 1_000}
    ours = RATES["input"] / 1_000
    amount = str(ours * Decimal(factor))
    rows = [lines_of.openai("m", usage, f"r-{number}") for number in range(9)]
    named = lines_of.openai("m", {**usage, "cost": amount}, "named")

    found = meter([lines_of.dump(*rows[:5], named, *rows[5:])], prices=FLAT)

    assert found.notes == notes
    assert found.reported_cost == ReportedCost(total=Decimal(amount), lines=1)
    assert found.cost.total == 10 * ours
