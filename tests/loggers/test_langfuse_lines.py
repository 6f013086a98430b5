"""Sampled request lines at Langfuse: asked for explicitly, content too, never priced twice."""

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import ValidationError

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_traces import LineSample

LINES = 40


@pytest.fixture
def requests(tmp_path):
    path = tmp_path / "requests.jsonl"
    lines = [
        {
            "custom_id": f"r-{number} ü",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"question {number}"}]},
        }
        for number in range(LINES)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.fixture
async def spans(tmp_path, requests, intake):
    """Runs a batch with this sample; the batch's own spans, and those of its lines, as Langfuse got them."""
    intake.usual.body, intake.usual.headers = b"{}", {"content-type": "application/json"}

    async def run(sample=None, **settings) -> tuple[list, list]:
        keys = {"public_key": "pk", "secret_key": "sk", "base_url": intake.url}
        log = LangfuseLogger(LangfuseSettings(**keys, **settings, lines=sample))
        async with serve_sandbox() as sandbox:
            accounts = {"openai": {"api_key": "sk-test", "api_base": sandbox.url}}
            chosen = Settings(ledger=str(tmp_path / "ledger.db"), load=(), accounts=accounts)
            client = AsyncClient(settings=chosen, plugins=[log], environ={})
            try:
                with requests.open("rb") as file:
                    uploaded = await client.files.create(file=file, purpose="batch")
                batch = await client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions")
                await client.batches.wait(batch.id, timeout=30)
            finally:
                await client.aclose(timeout=20)
        messages = [ExportTraceServiceRequest.FromString(request.body) for request in intake.requests]
        found = [span for one in messages for span in one.resource_spans[0].scope_spans[0].spans]
        lines = [span for span in found if span.name.startswith("r-")]
        return [span for span in found if span not in lines and span.name != "create_batch"], lines

    return run


def attributes(span) -> dict:
    return {item.key: item.value.string_value for item in span.attributes}


async def test_no_line_leaves_unless_asked_for(spans, intake):
    (batch, generation), lines = await spans()
    assert batch.name == "batch /v1/chat/completions"
    assert generation.name.startswith("batch gpt-5-mini")
    assert lines == []


async def test_lines_come_without_content_usage_and_cost(spans, intake):
    (batch, generation), lines = await spans(LineSample(dearest=0, ratio=1.0))
    assert sorted(span.name for span in lines) == sorted(f"r-{number} ü" for number in range(LINES))
    assert {span.parent_span_id for span in lines} == {generation.span_id}
    assert {span.trace_id for span in (batch, generation, *lines)} == {batch.trace_id}
    names = {name for span in lines for name in attributes(span)}
    assert not [name for name in names if "usage" in name or "cost_details" in name or "model.name" in name]
    assert not [name for name in names if name.endswith((".input", ".output"))]
    metadata = "langfuse.observation.metadata."
    assert {attributes(span)[f"{metadata}sampled_as"] for span in lines} == {'"ratio"'}
    costs = [json.loads(attributes(span)[f"{metadata}cost_usd"]) for span in lines]
    assert {type(cost) for cost in costs} == {str}
    assert not [request for request in intake.requests if b"question" in request.body]
    root = "langfuse.internal.is_app_root"
    assert {span.name: root in attributes(span) for span in (batch, *lines[:3])} == {
        batch.name: True,
        **dict.fromkeys([span.name for span in lines[:3]], False),
    }


async def test_content_is_sent_where_asked_for_and_masked(spans):
    def mask(*, data, **_):
        return json.loads(json.dumps(data).replace("question", "***"))

    _, lines = await spans(LineSample(dearest=3, content=True), mask=mask)
    assert len(lines) == 3
    found = [attributes(span) for span in lines]
    assert {json.loads(one["langfuse.observation.input"])[0]["content"][:4] for one in found} == {"*** "}
    assert {json.loads(one["langfuse.observation.output"])[0]["message"]["role"] for one in found} == {"assistant"}


def test_the_older_setting_says_how_it_is_written_now():
    with pytest.raises(ValidationError, match=r"is a table: \[plugins.langfuse.lines\]"):
        LangfuseSettings(public_key="pk", secret_key="sk", lines=0.01)
