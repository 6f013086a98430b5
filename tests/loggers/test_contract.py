"""The three loggers with a network keep the contract that every logger keeps (the file logger: tests/testing)."""

import json
import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from batchmeter.testing import LoggerContract
from batchmeter_datadog import DatadogLogger, DatadogSettings
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_otel import OTelLogger, OTelSettings


class Network(LoggerContract):
    """A logger that posts to the intake."""

    secrets = ("s3cret-of-mine",)
    test_it_is_fast_to_import = None

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


# Processor time of an import in a fork of one process, which batchmeter itself has imported and no other logger.
IMPORTS = """
import importlib, os, sys, time
import batchmeter.events, batchmeter.faces.client, batchmeter.http, batchmeter.plugins
for module in sys.argv[1:]:
    if os.fork() == 0:
        started = time.process_time()
        importlib.import_module(module)
        print(module, (time.process_time() - started) * 1000, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def test_they_are_fast_to_import():
    """The contract's own test of it, for all three in one process; tests/testing runs that one for the file logger."""
    modules = [each.module for each in (TestOTel, TestLangfuse, TestDatadog)]
    done = subprocess.run([sys.executable, "-c", IMPORTS, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    took = dict(line.split() for line in done.stdout.splitlines())
    assert list(took) == modules
    assert {module: ms for module, ms in took.items() if float(ms) >= LoggerContract.import_ms} == {}


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
