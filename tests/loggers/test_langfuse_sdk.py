"""The langfuse SDK at work in the logger, beside an application that uses the same SDK with the same key."""

import asyncio
import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from langfuse import Langfuse, get_client, propagate_attributes
from langfuse._client.resource_manager import LangfuseResourceManager
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from batchmeter.errors import BatchmeterError
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_langfuse.acknowledged import AcknowledgedExporter
from batchmeter_langfuse.logger import _refuse_older
from batchmeter_traces import BatchLine

KEYS = {"public_key": "pk-lf-1", "secret_key": "sk-lf-2"}


@pytest.fixture
def log(intake, enabled):
    intake.usual.body, intake.usual.headers = b"{}", {"content-type": "application/json"}

    def make(**settings):
        return enabled(LangfuseLogger(LangfuseSettings(**{"base_url": intake.url, **KEYS, **settings})))

    return make


class App:
    """An application's own Langfuse, with a provider and an exporter of its own."""

    def __init__(self, **changes) -> None:
        self.exported = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        settings = {**KEYS, "base_url": "http://127.0.0.1:1", "span_exporter": self.exported, **changes}
        self.client = Langfuse(**settings, tracer_provider=self.provider)

    def traced(self) -> list[str]:
        """Spans that its own exporter has got, with one more observation made here."""
        self.client.start_observation(name="theirs").end()
        self.provider.force_flush()
        return [span.name for span in self.exported.get_finished_spans()]


@pytest.fixture
def app() -> Iterator[type[App]]:
    made = []

    class Kept(App):
        def __init__(self, **changes) -> None:
            super().__init__(**changes)
            made.append(self)

    yield Kept
    for one in made:
        one.provider.shutdown()
    LangfuseResourceManager.reset()


def spans(request) -> list:
    message = ExportTraceServiceRequest.FromString(request.body)
    return [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]


def attributes(span) -> dict:
    return {item.key: item.value.string_value for item in span.attributes}


async def test_an_application_that_was_there_first_keeps_its_client(log, app, intake, events):
    theirs = app()
    await log().deliver(events.succeeded())
    assert get_client(public_key="pk-lf-1")._resources is theirs.client._resources
    assert theirs.traced() == ["theirs"]
    (request,) = intake.requests
    assert spans(request)[0].name == "batch /v1/chat/completions"


async def test_an_application_that_comes_later_is_not_given_ours(log, app, intake, events):
    logger = log()
    await logger.deliver(events.succeeded())
    assert LangfuseResourceManager._instances == {}
    theirs = app()
    assert theirs.traced() == ["theirs"]
    await logger.deliver(events.succeeded())
    await logger.shutdown()
    assert theirs.traced() == ["theirs", "theirs"]
    assert len(intake.requests) == 2
    assert intake.requests[0].body == intake.requests[1].body


async def test_two_loggers_with_one_key_go_to_their_own_addresses(log, intake, events):
    other = log(base_url="http://127.0.0.1:1", timeout=1)
    with pytest.raises(BatchmeterError):
        await other.deliver(events.created())
    await log().deliver(events.created())
    assert len(intake.requests) == 1


async def test_what_the_application_is_just_doing_does_not_mix_with_the_batch(log, app, intake, events):
    theirs = app()
    with theirs.client.start_as_current_observation(name="at work"), propagate_attributes(user_id="app", tags=["app"]):
        await log().deliver(events.succeeded())
    theirs.provider.force_flush()
    (work,) = theirs.exported.get_finished_spans()
    assert "langfuse.trace.name" not in work.attributes
    assert (work.attributes["user.id"], work.attributes["langfuse.trace.tags"]) == ("app", ("app",))
    for span in spans(intake.requests[0]):
        assert attributes(span)["user.id"] == "ada"
        assert span.trace_id.hex() == Langfuse.create_trace_id(seed="openai:batch_abc123")


async def test_names_values_and_headers_are_those_of_the_sdks_own_exporter(log, app, intake, events):
    await log(environment="prod").deliver(events.succeeded())
    theirs = app(base_url=intake.url, span_exporter=None, environment="prod")
    about = {
        "model": "gpt-4o-mini-2024-07-18",
        "model_parameters": {"service_tier": "batch"},
        "cost_details": {"total": 0.1725},
        "metadata": {"model": "gpt-4o-mini-2024-07-18", "lines": 900, "cost_usd": "0.1725"},
    }
    theirs.client.start_observation(as_type="generation", name="batch gpt-4o-mini", **about).end()
    theirs.provider.force_flush()
    ours, reference = intake.requests
    assert ours.path == reference.path
    names = {name for name in reference.headers if name.startswith("x-langfuse")}
    names |= {"authorization", "content-type", "content-encoding", "user-agent"}
    assert {name: ours.headers.get(name) for name in names} == {name: reference.headers[name] for name in names}
    (wanted,) = (attributes(span) for span in spans(reference))
    del wanted["langfuse.internal.is_app_root"]
    assert wanted.items() <= attributes(spans(ours)[1]).items()
    scopes = [
        ExportTraceServiceRequest.FromString(one.body).resource_spans[0].scope_spans[0].scope
        for one in (ours, reference)
    ]
    assert scopes[0] == scopes[1]


async def test_shutdown_leaves_no_thread(log, events):
    before = set(threading.enumerate())
    logger = log()
    await logger.deliver(events.succeeded())
    others = ("asyncio", "process_request", "batchmeter-logger")  # the loop's own pool, the intake's, and a call's
    ours = [one for one in set(threading.enumerate()) - before if not any(name in one.name for name in others)]
    assert ours
    await logger.shutdown()
    assert [one for one in ours if one.is_alive()] == []


def test_the_sdk_is_not_imported_before_the_first_event():
    code = """
import sys, batchmeter_langfuse
batchmeter_langfuse.LangfuseLogger(batchmeter_langfuse.LangfuseSettings(public_key="pk", secret_key="sk"))
sys.exit("langfuse" in sys.modules or "opentelemetry.sdk" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("version", ["3.15.0", "4.18.0"])
def test_an_older_sdk_is_refused_with_what_to_do(version):
    with pytest.raises(ImportError, match=rf"langfuse {version} .* pip install 'batchmeter\[langfuse\]'"):
        _refuse_older(version)


async def test_the_mask_is_the_sdks(log, intake, events):
    def mask(*, data, **_):
        return {"masked": True} if isinstance(data, dict) else data

    await log(mask=mask).deliver(events.succeeded())
    for span in spans(intake.requests[0]):
        told = {name for name in attributes(span) if name.startswith("langfuse.observation.metadata.")}
        assert told == {"langfuse.observation.metadata.masked"}


def test_a_mask_is_named_in_the_configuration():
    assert LangfuseSettings(**KEYS, mask="json:dumps").mask({}) == "{}"


def line_with_an_image(event) -> tuple[BatchLine, str]:
    data = base64.b64encode(b"x" * 3000).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    asked = {"messages": [{"role": "user", "content": [part]}]}
    return BatchLine(id="l", time=event.time, custom_id="r-1", reason="ratio", request=asked, response={}), data


async def test_an_image_is_uploaded_by_the_sdk_not_put_into_the_trace(log, intake, events, answer):
    logger, event = log(), events.succeeded()
    line, data = line_with_an_image(event)
    intake.choose = lambda request: answer(status=404) if request.path == "/api/public/media" else intake.usual
    await asyncio.to_thread(logger.plugin.batch_lines, event, [line])
    await logger.shutdown()
    paths = {request.path for request in intake.requests}
    assert paths == {"/api/public/otel/v1/traces", "/api/public/media"}
    assert not [request for request in intake.requests if data.encode() in request.body]
    assert [request for request in intake.requests if b"@@@langfuseMedia:type=image/png" in request.body]


async def test_shutdown_does_not_wait_for_uploads_for_ever(log, intake, events, answer, monkeypatch, caplog):
    from batchmeter_langfuse import client

    monkeypatch.setattr(client, "LAST", 0.1)
    logger, event = log(), events.succeeded()
    line, _ = line_with_an_image(event)
    intake.choose = lambda request: answer(hang=60) if request.path == "/api/public/media" else intake.usual
    await asyncio.to_thread(logger.plugin.batch_lines, event, [line])
    await logger.shutdown()
    assert "still waited for Langfuse after 0.1 s" in caplog.text


async def test_a_langfuse_that_hangs_holds_up_nobody_else(log, intake, events, answer, monkeypatch, caplog):
    from batchmeter_langfuse import client

    monkeypatch.setattr(client, "LAST", 0.1)
    intake.usual = answer(hang=60)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    logger = log(timeout=60)
    deliveries = [asyncio.create_task(logger.deliver(events.created(f"batch_{number}"))) for number in range(2)]
    async with asyncio.timeout(30):
        with ThreadPoolExecutor(1) as waiting:
            await loop.run_in_executor(waiting, intake.wait_for, 1)
        await asyncio.to_thread(int)  # as uploads and metering do
        await logger.shutdown()
    assert "still waited for Langfuse after 0.1 s" in caplog.text
    for delivery in deliveries:
        delivery.cancel()
    await asyncio.wait(deliveries)


class Channel:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def send(self, batch) -> None:
        if self.error:
            raise self.error

    def close(self) -> None: ...


def finished(number: int) -> list:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    made = [provider.get_tracer("t").start_span(str(count)) for count in range(number)]
    for span in made:
        span.end()
    exporter.export(made)
    return list(exporter.get_finished_spans())


def test_what_the_sdk_drops_on_the_way_is_not_delivered():
    one, other = finished(2)
    exporter = AcknowledgedExporter(Channel())
    assert exporter.export([one]) is SpanExportResult.SUCCESS
    with pytest.raises(BatchmeterError, match="did not send 1 observation"):
        exporter.settle([one.context.span_id, other.context.span_id])
    with pytest.raises(BatchmeterError):  # nothing is carried over to the next delivery
        exporter.settle([one.context.span_id])


def test_a_failed_export_is_raised_past_the_sdks_queue():
    exporter = AcknowledgedExporter(Channel(OSError("gone")))
    (one,) = finished(1)
    assert exporter.export([one]) is SpanExportResult.FAILURE
    with pytest.raises(OSError, match="gone"):
        exporter.settle([one.context.span_id])
    exporter.settle([])
