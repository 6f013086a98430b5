"""The Langfuse logger, judged by the rules that Langfuse's server applies to what it decodes."""

import base64
import json
from datetime import UTC, datetime

import pytest
from langfuse import Langfuse
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    AuthenticationError,
    InternalServerError,
    PermissionDeniedError,
    Rejected,
    RetryLater,
)
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_otel import OTelLogger, OTelSettings

KEYS = {"public_key": "pk-lf-1", "secret_key": "sk-lf-2"}
AUTHORIZATION = "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-2").decode()
OBSERVATION = "langfuse.observation."
JSON = {"content-type": "application/json"}


@pytest.fixture
def log(intake, enabled):
    intake.usual.body, intake.usual.headers = b"{}", JSON

    def make(**settings):
        return enabled(LangfuseLogger(LangfuseSettings(**{"base_url": intake.url, **KEYS, **settings})))

    return make


class Observation:
    """One span as the server reads it."""

    def __init__(self, span, scope) -> None:
        assert scope.name == "langfuse-sdk"
        self.name = span.name
        self.trace_id, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.start = datetime.fromtimestamp(span.start_time_unix_nano / 1e9, UTC)
        self.end = datetime.fromtimestamp(span.end_time_unix_nano / 1e9, UTC)
        self.raw = {item.key: _value(item.value) for item in span.attributes}
        self.type = self.raw.get(f"{OBSERVATION}type", "span")
        self.model = self.raw.get(f"{OBSERVATION}model.name")
        self.usage = self._counts("usage_details", int)
        self.cost = self._counts("cost_details", (int, float))

    def _counts(self, name, kind) -> dict:
        """One value of the wrong kind, and the server drops all of them."""
        counts = json.loads(self.raw.get(OBSERVATION + name, "{}"))
        assert all(isinstance(count, kind) for count in counts.values()), counts
        return counts

    def metadata(self, of="langfuse.observation") -> dict:
        prefix = f"{of}.metadata."
        return {
            name.removeprefix(prefix): json.loads(text) for name, text in self.raw.items() if name.startswith(prefix)
        }


def _value(item):
    kind = item.WhichOneof("value")
    return [_value(part) for part in item.array_value.values] if kind == "array_value" else getattr(item, kind)


def observations(request) -> list[Observation]:
    assert request.path == "/api/public/otel/v1/traces"
    assert request.headers["authorization"] == AUTHORIZATION
    assert request.headers["x-langfuse-ingestion-version"] == "4"
    message = ExportTraceServiceRequest.FromString(request.body)
    return [
        Observation(span, scope.scope)
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_one_trace_a_batch_and_one_generation_a_model(log, intake, events):
    logger = log()
    await logger.deliver(events.created())
    await logger.deliver(events.succeeded())
    (submitted,), (batch, mini, nano) = (observations(request) for request in intake.requests)
    assert {one.trace_id for one in (submitted, batch, mini, nano)} == {
        Langfuse.create_trace_id(seed="openai:batch_abc123")
    }
    assert [one.type for one in (submitted, batch, mini, nano)] == ["event", "span", "generation", "generation"]
    assert batch.parent == ""
    assert {submitted.parent, mini.parent, nano.parent} == {batch.id}
    assert len({submitted.id, batch.id, mini.id, nano.id}) == 4
    assert (batch.start, batch.end) == (events.succeeded().times.created_at, events.succeeded().times.ended_at)
    assert (mini.start, mini.end) == (batch.start, batch.end)
    assert (mini.model, nano.model) == ("gpt-4o-mini-2024-07-18", "gpt-4.1-nano-2025-04-14")


async def test_usage_is_disjoint_and_cost_explicit(log, intake, events):
    await log().deliver(events.succeeded())
    batch, mini, nano = observations(intake.requests[0])
    assert mini.usage == {
        "input": 800_000,
        "input_cached_tokens": 200_000,
        "output": 250_000,
        "output_reasoning_tokens": 50_000,
        "total": 1_300_000,
    }
    assert (mini.cost, nano.cost) == ({"total": 0.1725}, {"total": 0.0000015})
    assert (batch.usage, batch.cost, batch.model) == ({}, {}, None)
    assert not [name for name in mini.raw if name.startswith("gen_ai.")]
    assert batch.metadata()["cost"]["total"] == "0.1725015"


async def test_unknown_cost_sends_neither_model_nor_number(log, intake, events):
    models = {"mystery-1": {"lines": 2, "usage": {"input_tokens": 5, "output_tokens": 5}, "cost": None}}
    cost = {"total": None, "known": "0", "unknown": {"unknown_model": 2}}
    await log().deliver(events.succeeded(models=models, cost=cost))
    _, generation = observations(intake.requests[0])
    assert (generation.model, generation.cost) == (None, {})
    assert generation.usage["total"] == 10
    assert generation.metadata()["model"] == "mystery-1"
    assert generation.raw[f"{OBSERVATION}level"] == "WARNING"
    assert generation.raw[f"{OBSERVATION}status_message"] == "cost unknown: unknown_model (2 lines)"


async def test_a_free_batch_is_known_to_be_free(log, intake, events):
    models = {"gpt-4o-mini": {"lines": 1, "cost": "0"}}
    await log().deliver(events.succeeded(models=models))
    assert observations(intake.requests[0])[1].cost == {"total": 0}


async def test_who_and_where_is_on_every_observation(log, intake, events):
    await log(environment="prod", release="1.2.3").deliver(events.succeeded())
    for one in observations(intake.requests[0]):
        assert one.raw["user.id"] == "ada"
        assert one.raw["session.id"] == "nightly-7"
        assert one.raw["langfuse.trace.tags"] == ["nightly", "prod"]
        assert one.raw["langfuse.trace.name"] == "batch /v1/chat/completions"
        assert (one.raw["langfuse.environment"], one.raw["langfuse.release"]) == ("prod", "1.2.3")
        assert one.metadata("langfuse.trace") == {"team": "search", "batch_id": "batch_abc123", "account": "openai"}


async def test_a_correction_replaces_and_a_redelivery_repeats(log, intake, events):
    logger = log()
    first = events.succeeded()
    await logger.deliver(first)
    await logger.deliver(type(first).model_validate_json(first.model_dump_json()))
    await logger.deliver(events.succeeded(revision=2, time=datetime(2026, 12, 1, tzinfo=UTC)))
    once, again, corrected = (observations(request) for request in intake.requests)
    assert intake.requests[0].body == intake.requests[1].body
    assert [(one.id, one.start) for one in corrected] == [(one.id, one.start) for one in once]
    assert corrected[0].metadata()["revision"] == 2
    assert len(again) == 3


async def test_failed_batches_are_errors_and_embeddings_are_embeddings(log, intake, events):
    await log().deliver(events.failed(endpoint="/v1/embeddings"))
    batch, one, _ = observations(intake.requests[0])
    assert batch.raw[f"{OBSERVATION}level"] == "ERROR"
    assert batch.raw[f"{OBSERVATION}status_message"] == "batch expired"
    assert one.type == "embedding"
    assert one.cost == {"total": 0.1725}


async def test_a_child_hangs_in_the_callers_trace(log, intake, events):
    await log(trace_parenting="child").deliver(events.succeeded())
    batch, *_ = observations(intake.requests[0])
    assert (batch.trace_id, batch.parent) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


async def test_otel_and_langfuse_show_one_batch_under_one_trace_id(log, intake, events):
    await log().deliver(events.succeeded())
    otel = OTelLogger(OTelSettings(endpoint=intake.url, logs=False, metrics=False))
    otel.batch_success(events.succeeded())
    otel.close()
    spans = [
        ExportTraceServiceRequest.FromString(request.body).resource_spans[0].scope_spans[0].spans
        for request in intake.requests
    ]
    assert spans[0][0].trace_id == spans[1][0].trace_id


@pytest.mark.parametrize(
    ("answer_with", "error"),
    [
        ({"status": 302, "headers": {"location": "/login"}}, APIResponseError),
        ({"status": 304}, APIResponseError),
        ({"body": b"<html>", "headers": {"content-type": "text/html"}}, APIResponseError),
        ({"status": 401, "body": f"no such key: {AUTHORIZATION}".encode()}, AuthenticationError),
        ({"status": 403}, PermissionDeniedError),
        ({"status": 413}, Rejected),
        ({"status": 429, "headers": {"retry-after": "7"}}, RetryLater),
        ({"status": 503, "headers": {"retry-after": "7"}}, RetryLater),
        ({"body": b'{"partialSuccess": {"rejectedSpans": "1"}}', "headers": JSON}, Rejected),
        ({"status": 500}, InternalServerError),
        ({"cut": True}, APIConnectionError),
    ],
)
async def test_what_is_no_acknowledgement_raises(log, intake, events, answer, answer_with, error):
    intake.usual = answer(**answer_with)
    with pytest.raises(error) as caught:
        await log().deliver(events.succeeded())
    assert len(intake.requests) == (2 if intake.usual.cut else 1)  # a stale connection is tried once more
    assert AUTHORIZATION[8:] not in f"{caught.value}{caught.value!r}"


async def test_the_sdks_variables_are_honoured_and_no_one_elses_leak(intake, events, enabled, monkeypatch):
    variables = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": "sk-lf-2",
        "LANGFUSE_BASE_URL": f"{intake.url}/",
        "LANGFUSE_TRACING_ENVIRONMENT": "staging",
        "LANGFUSE_RELEASE": "abc",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-other-vendor=s3cret",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-other-vendor=s3cret,authorization=Bearer%20theirs",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "5",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=theirs",
        "OTEL_SERVICE_NAME": "billing",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    logger = enabled(LangfuseLogger())
    await logger.deliver(events.succeeded())
    await logger.shutdown()
    (request,) = intake.requests
    batch, generation, _ = observations(request)
    assert batch.raw["langfuse.environment"] == "staging"
    assert batch.metadata()["cost"]["total"] == "0.1725015"
    assert generation.cost == {"total": 0.1725}
    assert "x-other-vendor" not in request.headers
    assert b"theirs" not in request.body
    assert request.headers["content-encoding"] == "gzip"


async def test_tracing_can_be_switched_off(log, intake, events, monkeypatch):
    monkeypatch.setenv("LANGFUSE_TRACING_ENABLED", "false")
    await log().deliver(events.succeeded())
    assert intake.requests == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"public_key": "pk"}, "LANGFUSE_SECRET_KEY"),
        ({**KEYS, "environment": "langfuse-prod"}, "environment"),
        ({**KEYS, "timeout": 0}, "timeout"),
    ],
)
def test_wrong_settings_are_refused(settings, text):
    with pytest.raises(ValidationError, match=text):
        LangfuseSettings(**settings)


def test_settings_show_no_secret():
    assert "sk-lf-2" not in repr(LangfuseSettings(**KEYS))


async def test_the_batch_alone_is_the_root_of_its_trace(log, intake, events):
    await log().deliver(events.succeeded())
    roots = [one.raw.get("langfuse.internal.is_app_root") for one in observations(intake.requests[0])]
    assert roots == [True, None, None]


async def test_long_metadata_is_cut_in_the_trace_and_whole_on_the_batch(log, intake, events, caplog):
    long = 'é"' * 250
    await log().deliver(events.succeeded(metadata={"note": long}))
    batch, *_ = observations(intake.requests[0])
    found = batch.metadata("langfuse.trace")["note"]
    assert long.startswith(found)
    assert 190 <= len(json.dumps(found, ensure_ascii=False)) <= 200
    assert batch.metadata()["metadata"] == {"note": long}
    assert not caplog.records


async def test_a_batch_of_many_models_comes_in_portions(log, intake, events):
    models = {f"m-{number}": {"lines": 1, "cost": "0.1"} for number in range(450)}
    await log().deliver(events.succeeded(models=models))
    portions = [observations(request) for request in intake.requests]
    assert [len(portion) for portion in portions] == [200, 200, 51]
    assert {one.model for portion in portions for one in portion} == {None, *models}


async def test_no_global_provider_is_set(log, events):
    await log().deliver(events.succeeded())
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
