"""Spans of single requests, and spans as Arize Phoenix reads them: the batch's money stands in one place only."""

import json
from decimal import Decimal

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from batchmeter.models import ModelUsage, Usage
from batchmeter_otel import OTelLogger, OTelSettings
from batchmeter_traces import BatchLine, LineSample

ADDED_UP = ("gen_ai.usage", "llm.", "gen_ai.request.model", "gen_ai.operation")
"""Beginnings of names that some receiver adds up or prices."""


@pytest.fixture
def sent(intake):
    """Sends with these settings; gives the spans of each request."""

    def send(work, **settings):
        logger = OTelLogger(OTelSettings(endpoint=intake.url, logs=False, metrics=False, **settings))
        work(logger)
        logger.close()
        messages = [ExportTraceServiceRequest.FromString(request.body) for request in intake.requests]
        return [list(one.resource_spans[0].scope_spans[0].spans) for one in messages]

    return send


def attributes(span) -> dict:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def line(number, **changes) -> BatchLine:
    facts = {"id": f"line-{number}", "custom_id": f"r-{number}", "reason": "ratio", "model": "gpt-4o-mini"}
    return BatchLine(time="2026-11-22T10:00:00Z", **{**facts, **changes})


def test_lines_are_spans_in_the_batch_that_nobody_adds_up(sent, events):
    event, usage = events.succeeded(), Usage(input_tokens=12, output_tokens=3)
    lines = [
        line(1, usage=usage, cost=Decimal("0.0000001"), request={"messages": []}, response={"choices": []}),
        line(2, error_code="http_500", reason="failed", cost=Decimal(0), model=None),
        line(3, unknown_cost="not_priced"),
    ]

    def work(logger):
        logger.batch_success(event)
        logger.batch_lines(event, lines)
        logger.batch_lines(event, lines)

    (batch,), found, again = sent(work, lines=LineSample(content=True))
    assert found == again
    assert [span.name for span in found] == ["request r-1", "request r-2", "request r-3"]
    assert {(span.trace_id, span.parent_span_id) for span in found} == {(batch.trace_id, batch.span_id)}
    assert len({span.span_id for span in found}) == 3
    first, failed, unknown = (attributes(span) for span in found)
    assert first["batchmeter.line.cost_usd"] == "0.0000001"
    assert json.loads(first["batchmeter.line.tokens"])["input_tokens"] == 12
    assert (first["input.value"], first["output.value"]) == ('{"messages":[]}', '{"choices":[]}')
    assert (failed["error.type"], found[1].status.code) == ("http_500", 2)
    assert "batchmeter.line.cost_usd" not in unknown
    assert not [name for span in found for name in attributes(span) if name.startswith(ADDED_UP)]


def test_many_lines_go_in_requests_of_a_bounded_size(sent, events):
    event = events.succeeded()
    lines = [line(number, request="x" * 300_000) for number in range(10)] + [line(number) for number in range(10, 260)]
    portions = sent(lambda logger: logger.batch_lines(event, lines), lines=LineSample())
    assert [len(portion) for portion in portions] == [3, 3, 3, 200, 51]


def test_phoenix_gets_tokens_once_and_the_cost_as_a_count(sent, events):
    unknown = ModelUsage(lines=2, usage=Usage(input_tokens=7), unknown={"unknown_model": 2})
    event = events.succeeded(models={**events.succeeded().models, "mystery": unknown})

    def work(logger):
        logger.acreate_batch(events.created())
        logger.batch_success(event)
        logger.batch_lines(event, [line(1)])

    (submission,), (batch, *models), (request,) = sent(work, openinference=True, lines=LineSample())
    kind = "openinference.span.kind"
    assert [attributes(span)[kind] for span in (submission, batch, request)] == ["CHAIN"] * 3
    assert {attributes(span)[kind] for span in models} == {"LLM"}
    assert {span.parent_span_id for span in models} == {batch.span_id}
    assert json.loads(attributes(batch)["metadata"])["cost_usd"] == "0.1725015"
    mini, nano, mystery = (attributes(span) for span in models)
    assert next(span.name for span in models) == "batch gpt-4o-mini-2024-07-18"
    assert (mini["llm.token_count.prompt"], mini["llm.token_count.completion"]) == (1_000_000, 300_000)
    cost = "llm.token_count.prompt_details.nano_usd"
    assert (mini[cost], nano[cost], cost in mystery) == (172_500_000, 1500, False)
    assert [one["llm.model_name"] for one in (mini, nano, mystery)] == ["batch", "batch", "batch (cost unknown)"]
    assert not [name for name in mini if name.startswith("gen_ai")]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://localhost:6006", True),
        ("https://otlp.arize.com", True),
        ("https://app.phoenix.arize.com/s/me", True),
        ("http://localhost:4318", False),
        ("https://notarize.com", False),
        ("https://cloud.langfuse.com/api/public/otel", False),
    ],
)
def test_phoenix_is_known_by_its_address(endpoint, expected, monkeypatch):
    assert OTelSettings(endpoint=endpoint).for_phoenix is expected
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    assert OTelSettings().for_phoenix is expected
    assert OTelSettings(openinference=not expected).for_phoenix is not expected


@pytest.mark.parametrize("setting", [{"lines": {}}, {"openinference": True}])
def test_an_applications_provider_gets_neither(setting):
    with pytest.raises(ValidationError, match="need mode = 'durable'"):
        OTelSettings(mode="embedded", **setting)
