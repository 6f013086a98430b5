"""Sampled request lines at Langfuse: asked for explicitly, read from the provider, never priced twice."""

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from batchmeter.client import AsyncClient
from batchmeter.config import Settings
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_langfuse import LangfuseLogger, LangfuseSettings
from batchmeter_langfuse.records import lines_of

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
    """Runs a batch with these settings, and gives what Langfuse got for its ending, by request."""
    intake.usual.body, intake.usual.headers = b"{}", {"content-type": "application/json"}

    async def run(**settings) -> list[list]:
        keys = {"public_key": "pk", "secret_key": "sk", "base_url": intake.url}
        log = LangfuseLogger(LangfuseSettings(**keys, **settings))
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
        return [list(one.resource_spans[0].scope_spans[0].spans) for one in messages][1:]

    return run


def attributes(span) -> dict:
    return {item.key: item.value.string_value for item in span.attributes}


async def test_no_prompt_leaves_unless_asked_for(spans, intake):
    ((batch, generation),) = await spans()
    assert batch.name == "batch /v1/chat/completions"
    assert generation.name.startswith("batch gpt-5-mini")
    assert not [request for request in intake.requests if b"question" in request.body or b"messages" in request.body]


async def test_every_line_with_input_and_output(spans):
    (_, generation), lines = await spans(lines=1.0)
    assert sorted(span.name for span in lines) == sorted(f"r-{number} ü" for number in range(LINES))
    assert {span.parent_span_id for span in lines} == {generation.span_id}
    first = next(attributes(span) for span in lines if span.name == "r-0 ü")
    assert json.loads(first["langfuse.observation.input"]) == [{"role": "user", "content": "question 0"}]
    assert json.loads(first["langfuse.observation.output"])[0]["message"]["role"] == "assistant"
    assert not [name for span in lines for name in attributes(span) if "usage" in name or "cost" in name]


async def test_lines_are_masked_by_the_function_the_settings_name(spans):
    def mask(*, data, **_):
        return json.loads(json.dumps(data).replace("question", "***"))

    _, lines = await spans(lines=1.0, lines_limit=3, mask=mask)
    assert {json.loads(attributes(span)["langfuse.observation.input"])[0]["content"][:4] for span in lines} == {"*** "}


async def test_lines_are_no_roots_of_their_trace(spans):
    (batch, _), lines = await spans(lines=1.0, lines_limit=3)
    name = "langfuse.internal.is_app_root"
    assert [name in attributes(span) for span in (batch, *lines)] == [True, False, False, False]


async def test_a_sample_is_bounded(spans):
    _, lines = await spans(lines=0.5, lines_limit=5)
    assert len(lines) == 5


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_lines_survive_any_chunking(size):
    text = b'{"a":1}\n{"b":2}\n\n{"c":3}'

    async def chunks():
        for start in range(0, len(text), size):
            yield text[start : start + size]

    assert [line async for line in lines_of(chunks())] == text.split(b"\n")
