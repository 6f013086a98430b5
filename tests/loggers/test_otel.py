"""The OpenTelemetry logger: what it sends, and what it takes for an acknowledgement."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from langfuse import Langfuse
from opentelemetry import trace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    BatchmeterError,
    InternalServerError,
    NotFoundError,
    Rejected,
    RetryLater,
)
from batchmeter_otel import OTelLogger, OTelSettings
from batchmeter_otel.installed import require

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BATCH_TRACE = Langfuse.create_trace_id(seed="openai:batch_abc123")
JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def log(intake):
    loggers = []

    def make(**settings) -> OTelLogger:
        chosen = {"endpoint": intake.url, "logs": False, "metrics": False, **settings}
        loggers.append(OTelLogger(OTelSettings(**chosen)))
        return loggers[-1]

    yield make
    for logger in loggers:
        logger.close()


def span_in(request):
    message = ExportTraceServiceRequest.FromString(request.body)
    (resource_spans,) = message.resource_spans
    (scope_spans,) = resource_spans.scope_spans
    (span,) = scope_spans.spans
    return span


def attributes(holder) -> dict:
    return {item.key: value(item.value) for item in holder.attributes}


def value(item):
    kind = item.WhichOneof("value")
    return [value(part) for part in item.array_value.values] if kind == "array_value" else getattr(item, kind)


def moment(nanoseconds) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000)


def test_the_ending_is_one_span_with_the_providers_times(log, intake, events):
    event = events.succeeded()
    log().batch_success(event)
    assert intake.requests[0].path == "/v1/traces"
    span = span_in(intake.requests[0])
    assert span.name == "batch gpt-4o-mini"
    assert (moment(span.start_time_unix_nano), moment(span.end_time_unix_nano)) == (
        event.times.created_at,
        event.times.ended_at,
    )
    assert [(one.name, moment(one.time_unix_nano)) for one in span.events] == [
        ("batch.in_progress", event.times.in_progress_at),
        ("batch.finalizing", event.times.finalizing_at),
    ]
    found = attributes(span)
    assert found["gen_ai.usage.input_tokens"] == 1_000_010
    assert found["gen_ai.usage.cache_read.input_tokens"] == 200_000
    assert found["gen_ai.usage.reasoning.output_tokens"] == 50_000
    assert found["gen_ai.usage.cost"] == 0.1725015
    assert found["batchmeter.cost.usd"] == "0.1725015"
    assert (found["gen_ai.batch.id"], found["gen_ai.batch.status"]) == ("batch_abc123", "completed")
    assert (found["gen_ai.batch.request_counts.total"], found["gen_ai.batch.request_counts.failed"]) == (1000, 2)
    assert found["batchmeter.event.id"] == event.id
    assert (found["user.id"], found["session.id"], found["batchmeter.team"]) == ("ada", "nightly-7", "search")
    assert found["batchmeter.tags"] == ["nightly", "prod"]
    assert found["batchmeter.metadata.team"] == "search"
    assert json.loads(found["batchmeter.models"])["gpt-4.1-nano-2025-04-14"]["cost"] == "0.0000015"
    assert "gen_ai.usage.cost.amount" not in found
    assert span.status.code == 0


def test_submission_and_ending_link_to_each_other_and_to_the_caller(log, intake, events):
    logger = log()
    logger.acreate_batch(events.created())
    logger.batch_success(events.succeeded())
    submission, batch = (span_in(request) for request in intake.requests)
    assert submission.name == "create_batch gpt-4o-mini"
    assert (submission.trace_id.hex(), submission.parent_span_id.hex()) == (CALLER_TRACE, CALLER_SPAN)
    assert "gen_ai.usage.input_tokens" not in attributes(submission)
    assert batch.trace_id.hex() == BATCH_TRACE
    assert batch.parent_span_id == b""
    assert [(link.trace_id, link.span_id) for link in submission.links] == [(batch.trace_id, batch.span_id)]
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in batch.links] == [
        (CALLER_TRACE, submission.span_id.hex()),
        (CALLER_TRACE, CALLER_SPAN),
    ]


@pytest.mark.parametrize(("parenting", "traceparent"), [("child", "given"), ("link", None), ("link", "garbage")])
def test_in_one_trace_the_submission_is_the_parent(log, intake, events, parenting, traceparent):
    changes = {} if traceparent == "given" else {"traceparent": traceparent}
    logger = log(trace_parenting=parenting)
    logger.acreate_batch(events.created(**changes))
    logger.batch_success(events.succeeded(**changes))
    submission, batch = (span_in(request) for request in intake.requests)
    assert batch.trace_id == submission.trace_id
    assert batch.trace_id.hex() == (CALLER_TRACE if traceparent == "given" else BATCH_TRACE)
    assert batch.parent_span_id == submission.span_id
    assert len(batch.links) == 0


def test_an_adopted_batch_was_not_an_hour_long_call(log, intake, events):
    log().acreate_batch(events.created(adopted=True))
    span = span_in(intake.requests[0])
    assert span.start_time_unix_nano == span.end_time_unix_nano
    assert attributes(span)["batchmeter.adopted"] is True


def test_a_redelivery_is_the_same_bytes(log, intake, events):
    logger = log()
    logger.batch_success(events.succeeded())
    logger.batch_success(type(events.succeeded()).model_validate_json(events.succeeded().model_dump_json()))
    assert intake.requests[0].body == intake.requests[1].body


def test_unknown_cost_is_no_number(log, intake, events):
    cost = {"total": None, "known": "0.05", "unknown": {"unknown_model": 3, "usage_missing": 1}}
    log().batch_success(events.succeeded(cost=cost))
    found = attributes(span_in(intake.requests[0]))
    assert not {"gen_ai.usage.cost", "batchmeter.cost.usd"} & set(found)
    assert found["batchmeter.cost.known_usd"] == "0.05"
    assert found["batchmeter.cost.unknown"] == ["unknown_model:3", "usage_missing:1"]


def test_the_proposed_cost_names_are_opt_in(log, intake, events, monkeypatch):
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_latest_experimental")
    log().batch_success(events.succeeded())
    found = attributes(span_in(intake.requests[0]))
    assert (found["gen_ai.usage.cost.amount"], found["gen_ai.usage.cost.currency"]) == (0.1725015, "USD")


def test_a_batch_that_expired_is_an_error_with_its_usage(log, intake, events):
    errors = {"data": [{"code": "batch_expired", "message": "not done in time"}]}
    event = events.failed()
    log().batch_failure(
        event.model_copy(update={"batch": event.batch.model_validate({**dict(event.batch), "errors": errors})})
    )
    span = span_in(intake.requests[0])
    assert (span.status.code, span.status.message) == (2, "batch expired: not done in time")
    assert attributes(span)["error.type"] == "batch_expired"
    assert attributes(span)["gen_ai.usage.cost"] == 0.1725015


def test_log_events_carry_the_spans_ids(log, intake, events):
    log(logs=True).batch_failure(events.failed())
    span = span_in(intake.requests[0])
    assert intake.requests[1].path == "/v1/logs"
    message = ExportLogsServiceRequest.FromString(intake.requests[1].body)
    record = message.resource_logs[0].scope_logs[0].log_records[0]
    assert record.event_name == "batchmeter.batch_failure"
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.severity_text == "ERROR"
    assert record.body.string_value == "openai batch batch_abc123 expired: 998 of 1000 lines, 0.1725015 USD"


PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
)


@pytest.mark.parametrize(
    ("answer_with", "error", "text"),
    [
        ({"status": 302, "headers": {"location": "http://127.0.0.1:9/login"}}, APIResponseError, "redirect"),
        ({"body": b"<html>log in", "headers": {"content-type": "text/html"}}, APIResponseError, "text/html"),
        ({"body": b"\xff\xff\xff", "headers": PROTOBUF}, APIResponseError, "DecodeError"),
        ({"body": b"not json", "headers": JSON}, APIResponseError, "JSONDecodeError"),
        ({"body": PARTIAL.SerializeToString(), "headers": PROTOBUF}, Rejected, "refused 1 item.*too old"),
        ({"body": b'{"partialSuccess":{"rejectedSpans":"1"}}', "headers": JSON}, Rejected, "refused 1 item"),
        ({"status": 400, "body": b'{"message":"bad span"}', "headers": JSON}, Rejected, "bad span"),
        ({"status": 401}, AuthenticationError, "401"),
        ({"status": 404}, NotFoundError, "404"),
        ({"status": 500}, InternalServerError, "500"),
        ({"status": 503}, InternalServerError, "503"),
        ({"cut": True}, APIConnectionError, "127.0.0.1"),
    ],
)
def test_what_is_no_acknowledgement_raises(log, intake, events, answer, answer_with, error, text):
    intake.usual = answer(**answer_with)
    with pytest.raises(error, match=text):
        log().batch_success(events.succeeded())


@pytest.mark.parametrize(
    ("status", "headers"), [(403, {}), (400, {}), (200, JSON), (302, {"location": "/h0neycomb-team"})]
)
def test_no_header_that_was_set_is_told(log, intake, events, answer, monkeypatch, status, headers):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-honeycomb-team=h0neycomb-team")
    told = b"you sent x-honeycomb-team: h0neycomb-team, cookie: a=b-c; sid=s3ss1on, user: Token an0ther-s3cret"
    body = json.dumps({"partialSuccess": {"rejectedSpans": "1", "errorMessage": told.decode()}}).encode()
    intake.usual = answer(status, body if headers is JSON else told, headers)
    with pytest.raises(BatchmeterError, match="127.0.0.1") as caught:
        log(headers={"x-other": "Token an0ther-s3cret", "cookie": "a=b-c; sid=s3ss1on"}).batch_success(
            events.succeeded()
        )
    for secret in ("h0neycomb", "s3ss1on", "an0ther"):
        assert secret not in f"{caught.value!r} {caught.value} {getattr(caught.value, 'body', '')}"


def test_a_header_that_cannot_be_sent_is_not_told(log, intake, events):
    with pytest.raises(BatchmeterError, match="InvalidHeader") as caught:
        log(headers={"x-honeycomb-team": "h0neycomb\nteam"}).batch_success(events.succeeded())
    assert "h0neycomb" not in str(caught.value)
    assert intake.requests == []


@pytest.mark.parametrize(
    "answer_with",
    [
        {"body": ExportTraceServiceResponse().SerializeToString(), "headers": PROTOBUF},
        {"body": b"{}", "headers": JSON},
        {"body": b"null", "headers": JSON},
        {"status": 202},
    ],
)
def test_what_is_an_acknowledgement_returns(log, intake, events, answer, answer_with):
    intake.usual = answer(**answer_with)
    log().batch_success(events.succeeded())
    assert len(intake.requests) == 1


def test_a_full_receivers_own_time_is_kept(log, intake, events, answer):
    intake.usual = answer(status=429, headers={"retry-after": "17"})
    with pytest.raises(RetryLater) as caught:
        log().batch_success(events.succeeded())
    assert caught.value.after == 17


def test_a_connection_closed_meanwhile_is_tried_once_more(log, intake, events, answer):
    intake.answers = [answer(cut=True)]
    log().batch_success(events.succeeded())
    assert len(intake.requests) == 2


def test_a_failure_leaves_the_next_delivery_alone(log, intake, events, answer):
    intake.answers = [answer(status=500)]
    logger = log()
    with pytest.raises(InternalServerError):
        logger.batch_success(events.succeeded())
    logger.batch_success(events.succeeded())


def test_a_receiver_that_hangs_times_out(events, monkeypatch):
    import socket

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}"
        logger = OTelLogger(OTelSettings(endpoint=endpoint, logs=False, metrics=False))
        with pytest.raises(APITimeoutError) as caught:
            logger.batch_success(events.succeeded())
        logger.close()
    assert "secret" not in str(caught.value)


def test_standard_variables_are_honoured(intake, events, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{intake.url}/custom/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "billing")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=prod")
    logger = OTelLogger()
    assert [signal for signal in ("traces", "metrics", "logs") if logger.settings.sends(signal)] == ["traces"]
    logger.batch_success(events.succeeded())
    logger.close()
    (request,) = intake.requests
    assert request.path == "/custom/traces"
    assert (request.headers["x-tenant"], request.headers["content-encoding"]) == ("ours", "gzip")
    resource = attributes(ExportTraceServiceRequest.FromString(request.body).resource_spans[0].resource)
    assert (resource["service.name"], resource["deployment.environment"]) == ("billing", "prod")


def test_the_sdk_can_be_switched_off(intake, events, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", intake.url)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    OTelLogger().batch_success(events.succeeded())
    assert intake.requests == []


def test_a_receiver_without_logs_still_gets_spans(log, intake, events, answer, caplog):
    logger = log(logs=True)
    for _ in range(2):
        intake.answers = [answer(), answer(status=404)]
        logger.batch_success(events.succeeded())
    assert [request.path for request in intake.requests] == ["/v1/traces", "/v1/logs", "/v1/traces"]
    assert "takes no log events" in caplog.text


@pytest.mark.parametrize("module", ["opentelemetry.no_such_thing", "no_such_thing.at_all"])
def test_a_missing_sdk_is_said_at_the_start(module):
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        require("json", module)


def test_settings_show_no_secret():
    assert "s3cret" not in repr(OTelSettings(headers={"authorization": "s3cret"}))


@pytest.fixture
def application(monkeypatch):
    """An application that has set up OpenTelemetry and samples nothing."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield kept
    provider.shutdown()


def test_embedded_uses_the_applications_provider(application, events):
    logger = OTelLogger(OTelSettings(mode="embedded"))
    logger.acreate_batch(events.created())
    logger.batch_success(events.succeeded())
    submission, batch = application.get_finished_spans()
    assert f"{submission.context.trace_id:032x}" == CALLER_TRACE
    assert f"{batch.context.trace_id:032x}" == BATCH_TRACE
    assert batch.end_time - batch.start_time == 3600 * 10**9
    assert batch.attributes["batchmeter.event.id"] == events.succeeded().id
    assert [moment.name for moment in batch.events] == ["batch.in_progress", "batch.finalizing"]


def test_embedded_without_a_provider_waits_and_sets_none(events):
    with pytest.raises(RetryLater, match="no tracer provider"):
        OTelLogger(OTelSettings(mode="embedded")).batch_success(events.succeeded())
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_decimal_cost_survives_as_text(log, intake, events):
    cost = {"total": Decimal("0.000000000123456789"), "known": Decimal("0.000000000123456789")}
    log().batch_success(events.succeeded(cost=cost))
    assert attributes(span_in(intake.requests[0]))["batchmeter.cost.usd"] == "0.000000000123456789"


def test_a_failure_is_told_once(log, intake, events, answer, caplog):
    intake.usual = answer(status=500)
    with pytest.raises(InternalServerError):
        log().batch_success(events.succeeded())
    assert caplog.text == ""


def test_an_echoed_key_is_blanked(log, intake, events, answer):
    intake.usual = answer(401, b"no such key: s3cret-of-mine")
    with pytest.raises(AuthenticationError) as caught:
        log(headers={"Authorization": "Bearer s3cret-of-mine"}).batch_success(events.succeeded())
    assert "s3cret" not in f"{caught.value!r}"


def test_nobody_listening_is_said_plainly(events):
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        logger = OTelLogger(
            OTelSettings(endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}", logs=False, metrics=False)
        )
        with pytest.raises(APIConnectionError, match=r"/v1/traces: ConnectionError: \[Errno \d+\] Connection refused$"):
            logger.batch_success(events.succeeded())
        logger.close()
