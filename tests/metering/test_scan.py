"""Lines of every kind, counted and named; none is fatal, none is free that is not known to be."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from batchmeter import meter
from batchmeter.metering import repeats
from batchmeter.metering import scan as scanning
from batchmeter.metering.result import Job

from . import lines_of
from .prices import FLAT, RATES

SAMPLES = Path(__file__).parent.parent / "data/outputs"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
GOOD = lines_of.openai("m", USAGE)
COST = (10 * RATES["input"] + 5 * RATES["output"]) / 1_000_000


def test_the_shape_people_read():
    data = lines_of.dump(GOOD, lines_of.openai_failed(), lines_of.openai("unpriced", USAGE, "r-2")) + b"nonsense\n"

    shown = meter([data], prices=FLAT, priced_at="2026-11-22").model_dump(mode="json")

    usage = {"input_tokens": 20, "output_tokens": 10}
    assert shown["lines"] == {"total": 4, "succeeded": 2, "failed": 1, "malformed": 1, "unpriced": 1}
    assert shown["usage"].items() >= usage.items()
    assert shown["cost"] == {
        "total": None,
        "known": f"{COST}",
        "currency": "USD",
        "unknown": {"lines_malformed": 1, "unknown_model": 1},
        "details": {"lines_malformed": ["line 4"], "unknown_model": ["unpriced"]},
        "estimated": False,
        "flags": [],
        "price_book": "flat",
        "priced_at": "2026-11-22",
    }
    assert {name: (model["lines"], model["cost"]) for name, model in shown["models"].items()} == {
        "m": (1, f"{COST}"),
        "unpriced": (1, None),
    }
    assert shown["failures"] == {"batch_expired": 1}
    assert shown["malformed_lines"] == [{"file": None, "line": 4, "reason": "invalid_json", "sample": "nonsense"}]
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.parametrize(
    ("name", "provider", "lines", "tokens"),
    [
        ("azure_output_line_chat", "azure", (1, 1, 0), (27, 24)),
        ("openai_output_line_2024-08", "openai", (1, 1, 0), (24, 8)),
        ("mistral_batch_output_pixtral_2024-11", "mistral", (10, 10, 0), (24812, 845)),
        ("vertex_output_line_doc_2024-11", "vertex_ai", (2, 1, 1), (0, 0)),
    ],
)
def test_real_samples(name: str, provider: str, lines: tuple[int, ...], tokens: tuple[int, int]):
    found = meter(SAMPLES / f"{name}.jsonl", provider=provider, prices=FLAT)

    assert (found.lines.total, found.lines.succeeded, found.lines.failed) == lines
    assert (found.usage.input_tokens, found.usage.output_tokens) == tokens


def body_error(**error: Any) -> dict[str, Any]:
    return {"custom_id": "a", "response": {"status_code": 400, "body": {"error": error}}, "error": None}


FAILED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": (lines_of.openai_failed(), "batch_expired"),
    "cancelled": (lines_of.openai_failed("batch_cancelled"), "batch_cancelled"),
    "400 with type": (body_error(type="invalid_request_error", code=None), "invalid_request_error"),
    "400 with code": (
        body_error(type="invalid_request_error", code="context_length_exceeded"),
        "context_length_exceeded",
    ),
    "content filter": (body_error(code="content_filter"), "content_filter"),
    "500 without a body": ({"custom_id": "a", "response": {"status_code": 500, "body": None}}, "http_500"),
    "status as text": ({"custom_id": "a", "response": {"status_code": "429", "body": {}}}, "http_429"),
    "failed inside HTTP 200": (
        lines_of.openai(
            "m",
            None,
            object="response",
            status="failed",
            error={"code": "server_error", "message": "x"},
        ),
        "server_error",
    ),
    "cancelled inside HTTP 200": (lines_of.openai("m", None, object="response", status="cancelled"), "cancelled"),
    "mistral, body as text": (
        {"custom_id": "a", "response": {"status_code": 400, "body": '{"object":"error","message":"x"}'}, "error": None},
        "http_400",
    ),
    "mistral, error as text": ({"custom_id": "a", "response": None, "error": "Something went wrong"}, "error"),
    "together": ({"custom_id": "a", "error": {"code": "batch_client_error", "message": "x"}}, "batch_client_error"),
    "nothing at all": ({"custom_id": "a", "response": None, "error": None}, "no_response"),
    "anthropic errored": (lines_of.anthropic(None, None, "errored"), "invalid_request_error"),
    "anthropic canceled": (lines_of.anthropic(None, None, "canceled"), "canceled"),
    "anthropic expired": (lines_of.anthropic(None, None, "expired"), "expired"),
    "bedrock": (
        {"recordId": "a", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "bad request"}},
        "400",
    ),
    "vertex": (
        lines_of.gemini(
            None, None, 'Bad Request: {"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}'
        ),
        "INVALID_ARGUMENT",
    ),
    "vertex, only a code": (lines_of.gemini(None, None, '{"error": {"code": 429}}'), "429"),
    "vertex, free text": (lines_of.gemini(None, None, "Internal error: try again"), "internal_error"),
    "vertex, no response": ({"status": "", "request": {}, "response": {}}, "no_response"),
    "gemini api": ({"key": "a", "error": {"code": 3, "message": "x"}}, "3"),
    "xai": ({"batch_request_id": "a", "batch_result": {"error": "no capacity left"}}, "error"),
}


@pytest.mark.parametrize("name", FAILED)
def test_failed_lines_are_named_and_cost_nothing(name: str):
    line, code = FAILED[name]

    found = meter([lines_of.dump(line)], prices=FLAT)

    assert found.failures == {code: 1}
    assert (found.lines.total, found.lines.failed, found.lines.unpriced) == (1, 1, 0)
    assert found.cost.total == 0


BILLED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "incomplete": (
        lines_of.openai("m", {"input_tokens": 10, "output_tokens": 5}, object="response", status="incomplete"),
        {},
    ),
    "refusal": (lines_of.openai("m", USAGE, choices=[{"message": {"refusal": "no"}, "finish_reason": "stop"}]), {}),
    "empty error object": ({**GOOD, "error": {}}, {}),
    "error of nulls": ({**GOOD, "error": {"code": None, "message": None}}, {}),
    "no status code": ({"custom_id": "a", "response": {"body": {"model": "m", "usage": USAGE}}}, {}),
    "blocked prompt": (
        {
            "status": "",
            "response": {
                "promptFeedback": {"blockReason": "SAFETY"},
                "modelVersion": "m",
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5},
            },
        },
        {"provider": "vertex_ai"},
    ),
}


@pytest.mark.parametrize("name", BILLED)
def test_answers_are_billed_whatever_they_say(name: str):
    line, job = BILLED[name]

    found = meter([lines_of.dump(line)], prices=FLAT, **job)

    assert (found.lines.succeeded, found.cost.total) == (1, COST)


def test_a_blocked_prompt_without_usage_is_unknown():
    line = {"status": "", "response": {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "m"}}

    assert meter([lines_of.dump(line)], provider="vertex_ai", prices=FLAT).cost.unknown == {"usage_missing": 1}


@pytest.mark.parametrize("how", [{"endpoint": "/v1/moderations"}, {}])
def test_moderations_are_free(how: dict[str, str]):
    line = lines_of.openai("omni-moderation-latest", None)

    found = meter([lines_of.dump(line)], prices=FLAT, **how)

    assert found.cost.total == 0
    assert (found.lines.succeeded, found.lines.unpriced) == (1, 0)
    assert found.models["omni-moderation-latest"].cost == 0


def test_only_openais_moderations_are_free():
    data = lines_of.dump(lines_of.openai("mistral-moderation-latest", None))

    assert meter([data], provider="mistral", endpoint="/v1/moderations", prices=FLAT).cost.total is None


def test_no_final_newline_bom_crlf_and_gzip_change_nothing():
    plain = lines_of.dump(GOOD, lines_of.openai("m", USAGE, "r-2"))
    variants = [
        plain,
        plain.rstrip(b"\n"),
        b"\xef\xbb\xbf" + plain,
        plain.replace(b"\n", b"\r\n"),
        plain.replace(b"\n", b"\n\n"),
        gzip.compress(plain),
        gzip.compress(plain.rstrip(b"\n")),
    ]

    found = [meter([data], prices=FLAT, priced_at="2026-11-22") for data in variants]

    assert all(one == found[0] for one in found)
    assert found[0].cost.total == 2 * COST


def test_one_line_of_25_megabytes():
    line = lines_of.openai("m", USAGE, choices=[{"message": {"content": "x" * 25_000_000}}])

    found = meter([lines_of.dump(line, lines_of.openai("m", USAGE, "r-2"))], prices=FLAT)

    assert (found.lines.succeeded, found.cost.total) == (2, 2 * COST)


def test_duplicates_are_counted_and_billed():
    found = meter([lines_of.dump(GOOD, GOOD, GOOD)], prices=FLAT)

    assert (found.lines.succeeded, found.duplicates, found.cost.total) == (3, 2, 3 * COST)
    assert "duplicate_custom_ids" in found.notes


def test_ids_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repeats, "MAX_IDS", 10)
    lines = lines_of.numbered([GOOD] * 20)

    found = meter([lines_of.dump(*lines, *lines)], prices=FLAT)

    assert found.duplicates == 10
    assert "duplicates_not_checked" in found.notes


def files(*contents: bytes, job: Job) -> scanning.Scanner:
    scanner = scanning.Scanner(job)
    for number, content in enumerate(contents):
        scanner.start_file(f"file-{number}")
        scanner.feed(content)
        scanner.end_file()
    return scanner


def test_vertex_rows_in_two_files_count_once():
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5}
    rows = [lines_of.gemini("m", usage, custom_id=f"r-{n}") for n in range(3)]
    labelled = {**rows[0], "custom_id": None, "request": {"labels": {"batchmeter_cid": "x", "batchmeter_cid_1": "y"}}}

    tally = files(
        lines_of.dump(rows[0], rows[1], labelled),
        lines_of.dump(rows[1], rows[2], labelled),
        job=Job(provider="vertex_ai", prices=FLAT),
    ).tally

    assert (tally.total, tally.succeeded, tally.repeated, tally.duplicates) == (4, 4, 2, 0)


@pytest.mark.parametrize(
    ("labels", "repeated"),
    [
        ({"team": "search", "cid": "customer-42", "cidade": "sp", "custom_id_group": "a"}, 0),
        ({"custom_id": "a"}, 3),
        ({"litellm_custom_id": "a", "litellm_custom_id_raw": "b", "litellm_custom_id_raw_1": "c"}, 3),
    ],
)
def test_only_a_label_with_an_id_makes_vertex_rows_the_same(labels: dict[str, str], repeated: int):
    row = lines_of.gemini("m", {"promptTokenCount": 10}) | {"custom_id": None, "request": {"labels": labels}}

    tally = files(lines_of.dump(row), lines_of.dump(row, row, row), job=Job(provider="vertex_ai", prices=FLAT)).tally

    assert (tally.succeeded, tally.repeated) == (4 - repeated, repeated)


def test_a_vertex_row_that_failed_and_was_answered_later_is_an_answer():
    failed = lines_of.gemini(None, None, "Internal error")
    answered = lines_of.gemini("m", {"promptTokenCount": 10})

    tally = files(
        lines_of.dump(failed),
        lines_of.dump(answered),
        lines_of.dump(failed),
        job=Job(provider="vertex_ai", prices=FLAT),
    ).tally

    assert (tally.total, tally.succeeded, tally.failed, tally.repeated) == (1, 1, 0, 1)
    assert not tally.failures


def test_other_vendors_bill_what_comes_twice():
    tally = files(lines_of.dump(GOOD), lines_of.dump(GOOD), job=Job(provider="mistral", prices=FLAT)).tally

    assert (tally.succeeded, tally.duplicates, tally.repeated) == (2, 1, 0)


def test_the_jobs_model_serves_lines_without_one():
    data = lines_of.dump(lines_of.openai(None, USAGE), lines_of.openai("own", USAGE, "r-2"))

    assert set(meter([data], model="job", prices=FLAT).models) == {"job", "own"}
    assert meter([data], prices=FLAT).cost.unknown == {"unknown_model": 1}
    assert set(meter([data], prices=FLAT).models) == {"unknown", "own"}


def test_bedrock_is_priced_by_the_jobs_model():
    data = lines_of.dump(lines_of.bedrock(lines_of.message("claude-x", {"input_tokens": 1, "output_tokens": 1})))

    found = meter([data], provider="bedrock", model="us.anthropic.claude-x-v1:0", prices=FLAT)

    assert list(found.models) == ["us.anthropic.claude-x-v1:0"]
