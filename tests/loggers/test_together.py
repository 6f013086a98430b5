"""All four loggers on one client, a batch through the sandbox: each gets the submission and the ending."""

import json
from decimal import Decimal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.ledger import open_ledger
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_file import read_events


def request_line(number: int) -> str:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": f"question {number}"}]}
    return json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


async def test_one_batch_reaches_every_logger(tmp_path, intake):
    intake.usual.status, intake.usual.body = 202, b"{}"
    intake.usual.headers = {"content-type": "application/json"}
    requests = tmp_path / "requests.jsonl"
    requests.write_text("\n".join(request_line(number) for number in range(10)))
    plugins = {
        "file": {"path": str(tmp_path / "events.jsonl")},
        "otel": {"endpoint": intake.url},
        "langfuse": {"public_key": "pk", "secret_key": "sk", "base_url": intake.url},
        "datadog": {"api_key": "key", "api_url": intake.url},
    }
    async with serve_sandbox() as sandbox:
        settings = Settings(
            ledger=str(tmp_path / "ledger.db"),
            load=tuple(plugins),
            plugins=plugins,
            accounts={"openai": {"api_key": "sk-test", "api_base": sandbox.url}},
        )
        client = AsyncClient(settings=settings, environ={})
        with requests.open("rb") as lines:
            file = await client.files.create(file=lines, purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        settlement = await client.batches.wait(batch.id, timeout=30)
        await client.aclose(timeout=20)
    ledger = open_ledger(settings.ledger)
    await ledger.open()
    states = {gauge.logger: (gauge.pending, gauge.delivered) for gauge in await ledger.gauges()}
    await ledger.aclose()
    assert states == dict.fromkeys(plugins, (0, 2))
    created, ending = read_events(tmp_path / "events.jsonl")
    assert (created.type, ending.type) == ("acreate_batch", "batch_success")
    assert ending.cost.total == settlement.cost.total > Decimal(0)
    by_path = {}
    for request in intake.requests:
        by_path.setdefault(request.path, []).append(request.body)
    otel = [ExportTraceServiceRequest.FromString(body) for body in by_path["/v1/traces"]]
    langfuse = [ExportTraceServiceRequest.FromString(body) for body in by_path["/api/public/otel/v1/traces"]]
    assert (len(otel), len(langfuse)) == (2, 2)
    assert len(by_path["/api/intake/llm-obs/v1/trace/spans"]) == 1
    counted = {series["metric"] for body in by_path["/api/v2/series"] for series in json.loads(body)["series"]}
    assert {"batchmeter.batches.submitted", "batchmeter.batches.ended"} <= counted
    assert by_path["/v1/metrics"], "the ledger's sums are exported at the latest when the client closes"
