"""The three loggers with a network keep the contract that every logger keeps (the file logger: tests/testing)."""

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from batchmeter.testing import LoggerContract
from batchmeter_datadog import DatadogLogger, DatadogSettings
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_otel import OTelLogger, OTelSettings


class Network(LoggerContract):
    """A logger that posts to the intake."""

    secrets = ("s3cret-of-mine",)

    @pytest.fixture
    def logger(self, intake):
        self.intake = intake
        intake.usual.body, intake.usual.headers = b"{}", {"content-type": "application/json"}
        return self.make(intake.url)

    @pytest.fixture
    def broken(self, logger, intake):
        intake.usual.status = 500
        return logger

    def make(self, url):
        raise NotImplementedError

    def spans(self) -> list:
        """(attributes by name, request body) of each first span."""
        found = []
        for request in self.intake.requests:
            message = ExportTraceServiceRequest.FromString(request.body)
            span = message.resource_spans[0].scope_spans[0].spans[0]
            found.append(({item.key: item.value.string_value for item in span.attributes}, request.body))
        return found


class TestOTel(Network):
    module = "batchmeter_otel"

    def make(self, url):
        headers = {"authorization": "Bearer s3cret-of-mine"}
        return OTelLogger(OTelSettings(endpoint=url, headers=headers, logs=False, metrics=False))

    def received(self, logger):
        return [(attributes["batchmeter.event.id"], body) for attributes, body in self.spans()]


class TestLangfuse(Network):
    module = "batchmeter_langfuse"

    def make(self, url):
        return LangfuseLogger(LangfuseSettings(public_key="pk", secret_key="s3cret-of-mine", base_url=url))

    def received(self, logger):
        name = "langfuse.observation.metadata.event_id"
        return [(json.loads(attributes[name]), body) for attributes, body in self.spans()]


class TestDatadog(Network):
    module = "batchmeter_datadog"

    def make(self, url):
        """Without metrics, which tell of no single batch."""
        return DatadogLogger(DatadogSettings(api_key="s3cret-of-mine", api_url=url, metrics=False))

    def wants(self, event) -> bool:
        return event.type != "acreate_batch"

    def received(self, logger):
        bodies = [request.body for request in self.intake.requests if request.path.endswith("/trace/spans")]
        batches = [json.loads(body)["data"]["attributes"]["spans"][0] for body in bodies]
        return [(batch["meta"]["metadata"]["event_id"], batch) for batch in batches]
