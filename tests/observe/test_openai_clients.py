"""The official SDK, observed: over httpx2 and httpx, sync and async, OpenAI's and Azure's client."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

import batchmeter
import openai
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def submit(client: openai.OpenAI, requests: bytes, **arguments: Any) -> Any:
    file = client.files.create(file=("in.jsonl", requests), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **arguments
    )


def until_ended(client: openai.OpenAI, batch_id: str) -> Any:
    while (batch := client.batches.retrieve(batch_id)).status not in ("completed", "failed", "expired", "cancelled"):
        pass
    return batch


@LIBRARIES
def test_a_script_is_metered_from_create_to_end(
    sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes, library: ModuleType
) -> None:
    with openai.OpenAI(api_key="sk-test", base_url=sandbox.url, http_client=library.Client()) as client:
        assert batchmeter.observe(client, using=meter, attribution={"team": "search"}) is client
        batch = submit(client, requests, metadata={"run": "7"})
        tracked = meter.engine.call(lambda inner: inner.ledger.get_batch(batch.id))
        assert tracked is not None, "recorded before the app gets the answer"
        assert until_ended(client, batch.id).status == "completed"
    settlement = meter.batches.wait(batch.id)
    meter.close()
    assert settlement.usage.total_tokens > 0
    assert settlement.cost.total is not None
    assert settlement.cost.total > Decimal(0)
    assert log.types == ["acreate_batch", "batch_success"]
    assert [event.metadata for event in log.events] == [{"run": "7"}] * 2
    assert [event.attribution.team for event in log.events] == ["search"] * 2
    assert [event.adopted for event in log.events] == [False] * 2


@LIBRARIES
async def test_an_async_app_is_metered(
    sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes, library: ModuleType
) -> None:
    http = library.AsyncClient()
    async with batchmeter.observe(
        openai.AsyncOpenAI(api_key="sk-test", base_url=sandbox.url, http_client=http), using=meter
    ) as client:
        file = await client.files.create(file=("in.jsonl", requests), purpose="batch")
        batches = await asyncio.gather(
            *(
                client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
                for _ in range(8)
            )
        )
        page = await client.batches.list(limit=100)
        assert {batch.id for batch in page.data} == {batch.id for batch in batches}
    for batch in batches:
        assert (await asyncio.to_thread(meter.batches.wait, batch.id)).status == "completed"
    await asyncio.to_thread(meter.close)
    assert sorted(log.types) == ["acreate_batch"] * 8 + ["batch_success"] * 8
    assert {event.batch_id for event in log.endings} == {batch.id for batch in batches}


async def test_the_client_of_the_app_s_own_loop(
    sandbox: Sandbox, log: Recorder, requests: bytes, tmp_path: Any
) -> None:
    async with batchmeter.AsyncClient(ledger=tmp_path / "own.db", plugins=[log], track=False) as mine:
        async with batchmeter.observe(
            openai.AsyncOpenAI(api_key="sk-test", base_url=sandbox.url), using=mine
        ) as client:
            file = await client.files.create(file=("in.jsonl", requests), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
        assert await mine.ledger.get_batch(batch.id) is not None
        # A sync client in the loop's own thread cannot wait for that loop, nor hold it up.
        with batchmeter.observe(openai.OpenAI(api_key="sk-test", base_url=sandbox.url), using=mine) as blocking:
            second = submit(blocking, requests)
        assert (await mine.batches.wait(batch.id)).status == "completed"
        assert (await mine.batches.wait(second.id)).status == "completed"
    assert sorted(log.types) == ["acreate_batch"] * 2 + ["batch_success"] * 2


def test_the_default_client_is_used_where_none_is_named(
    sandbox: Sandbox, requests: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with batchmeter.observe(openai.OpenAI(api_key="sk-test", base_url=sandbox.url)) as client:
        batch = submit(client, requests)
    try:
        assert batchmeter.wait_batch(batch.id).status == "completed"
    finally:
        batchmeter.close()


def test_the_http_client_may_be_observed_alone(
    sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes
) -> None:
    http = batchmeter.observe(httpx2.Client(), using=meter)
    with openai.OpenAI(api_key="sk-test", base_url=sandbox.url, http_client=http) as client:
        batch = submit(client, requests)
        copy = batchmeter.observe(client.with_options(max_retries=0), using=meter)
        assert until_ended(copy, batch.id).status == "completed"
    meter.batches.wait(batch.id)
    meter.close()
    assert log.types == ["acreate_batch", "batch_success"], "observed twice, counted once"


def test_a_retried_create_is_counted_once(
    sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes
) -> None:
    sandbox.engine.faults.add("server_error*2 POST /v1/batches retry_after=0.01")
    with batchmeter.observe(openai.OpenAI(api_key="sk-test", base_url=sandbox.url), using=meter) as client:
        batch = submit(client, requests)
    meter.batches.wait(batch.id)
    meter.close()
    assert log.types == ["acreate_batch", "batch_success"]


def test_a_cancel_is_seen(sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes) -> None:
    with batchmeter.observe(openai.OpenAI(api_key="sk-test", base_url=sandbox.url), using=meter) as client:
        batch = submit(client, requests, metadata={"sandbox": "outcome=cancelled"})
        assert until_ended(client, batch.id).status == "cancelled"
    assert meter.batches.wait(batch.id).status == "cancelled"
    meter.close()
    assert log.types == ["acreate_batch", "batch_failure"]


def test_errors_reach_the_app_as_without_us(sandbox: Sandbox, meter: batchmeter.Client, log: Recorder) -> None:
    plain = openai.OpenAI(api_key="sk-test", base_url=sandbox.url)
    seen = []
    for client in (plain, batchmeter.observe(plain.copy(), using=meter)):
        with pytest.raises(openai.BadRequestError) as refused:
            client.batches.create(input_file_id="file-x", endpoint="/v1/chat/completions", completion_window="7d")  # type: ignore[arg-type]
        with pytest.raises(openai.NotFoundError) as missing:
            client.batches.retrieve("batch_none")
        seen.append((str(refused.value), refused.value.body, str(missing.value), missing.value.response.content))
    plain.close()
    meter.close()
    assert seen[0] == seen[1]
    assert log.types == []


def test_unobserve_undoes_it(sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes) -> None:
    http = httpx2.Client(event_hooks={"response": [lambda _: None], "request": []})
    before = {name: list(hooks) for name, hooks in http.event_hooks.items()}
    with openai.OpenAI(api_key="sk-test", base_url=sandbox.url, http_client=http) as client:
        batchmeter.observe(client, using=meter)
        assert len(http.event_hooks["response"]) == 2
        batchmeter.unobserve(client)
        assert http.event_hooks == before
        submit(client, requests)
    meter.close()
    assert log.types == []


def test_streamed_and_raw_answers_are_byte_identical(
    sandbox: Sandbox, meter: batchmeter.Client, log: Recorder, requests: bytes
) -> None:
    with openai.OpenAI(api_key="sk-test", base_url=sandbox.url) as client:
        batchmeter.observe(client, using=meter)
        batch_id = submit(client, requests).id
        until_ended(client, batch_id)
        raw = client.batches.with_raw_response.retrieve(batch_id)
        with client.batches.with_streaming_response.retrieve(batch_id) as streamed:
            observed = b"".join(streamed.iter_bytes())
            elapsed = streamed.elapsed
        batchmeter.unobserve(client)
        plain = client.batches.with_raw_response.retrieve(batch_id)
    assert raw.content == observed == plain.content
    assert raw.parse() == plain.parse()
    assert elapsed.total_seconds() > 0
    assert raw.elapsed.total_seconds() > 0


@pytest.mark.parametrize("version", ["2024-10-21", "preview"])
def test_azure_is_recognised(
    meter: batchmeter.Client, log: Recorder, requests: bytes, version: str, azure: Callable[..., Any]
) -> None:
    base, batch = azure()
    with batchmeter.observe(
        openai.AzureOpenAI(api_key="az-key", azure_endpoint=base, api_version=version), using=meter
    ) as client:
        assert (
            client.batches.create(input_file_id="file-1", endpoint="/chat/completions", completion_window="24h").id
            == batch
        )
    tracked = meter.engine.call(lambda inner: inner.ledger.get_batch(batch))
    assert tracked is not None
    assert tracked.submission.provider == "azure"
    assert tracked.account.startswith("azure@127.0.0.1")
    assert "az-key" not in repr(tracked)
