"""The public examples, to type-check under mypy and pyright strict; never run, and what is wrong has to stay wrong.

An ignore that is not needed is an error in both, so each of them asserts that its line is refused.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import httpx
import httpx2

import batchmeter
from batchmeter.calls.pages import AsyncPage
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

# -- LiteLLM's calls, as they are -------------------------------------------------------------------------------------


async def calls() -> None:
    file = await batchmeter.acreate_file(file=Path("in.jsonl"), purpose="batch", custom_llm_provider="openai")
    assert_type(file, batchmeter.FileObject)
    batch = await batchmeter.acreate_batch(
        completion_window="24h",
        endpoint="/v1/chat/completions",
        input_file_id=file.id,
        custom_llm_provider="openai",
        metadata={"team": "search"},
        attribution={"user": "ann"},
    )
    assert_type(batch, batchmeter.Batch)
    settlement = await batchmeter.await_batch(batch.id, on_update=lambda seen: print(seen.status))
    assert_type(settlement, batchmeter.Settlement)
    assert_type(settlement.cost, batchmeter.Cost)
    page = await batchmeter.alist_batches(limit=10)
    assert_type(page, AsyncPage[batchmeter.Batch])
    assert_type([listed.id for listed in page], list[str])
    await batchmeter.acreate_batch(endpoint=7)  # type: ignore[arg-type]


def blocking_calls() -> None:
    with open("in.jsonl", "rb") as handle:
        file = batchmeter.create_file(file=handle)
    batch = batchmeter.create_batch(input_file_id=file.id, endpoint="/v1/chat/completions")
    assert_type(batchmeter.wait_batch(batch.id, timeout=60.0), batchmeter.Settlement)
    assert_type(batchmeter.file_content(file.id).text, str)
    batchmeter.close()


async def clients() -> None:
    async with batchmeter.AsyncClient(ledger=Path("ledger.db"), track=False) as client:
        assert_type(await client.batches.retrieve("batch_1"), batchmeter.Batch)
        async with client.files.stream("file_1") as content:
            async for chunk in content.chunks:
                assert_type(chunk, bytes)
    with batchmeter.Client(ledger="ledger.db") as blocking:
        assert_type(blocking.batches.settlement("batch_1"), batchmeter.Settlement | None)


# -- in someone else's app --------------------------------------------------------------------------------------------


def observed() -> None:
    assert_type(batchmeter.observe(OpenAI()), OpenAI)
    assert_type(batchmeter.observe(AsyncOpenAI(), attribution={"team": "search"}), AsyncOpenAI)
    assert_type(batchmeter.observe(AzureOpenAI(), using=batchmeter.Client()), AzureOpenAI)
    assert_type(batchmeter.observe(AsyncAzureOpenAI(), using=batchmeter.AsyncClient()), AsyncAzureOpenAI)
    assert_type(batchmeter.observe(httpx.Client()), httpx.Client)
    assert_type(batchmeter.unobserve(httpx2.AsyncClient()), httpx2.AsyncClient)
    OpenAI(http_client=batchmeter.observe(httpx2.Client()))


async def tracked() -> None:
    batchmeter.start_tracking()
    async with batchmeter.tracking(), batchmeter.tracking(batchmeter.AsyncClient()):
        pass


@batchmeter.on("batch_success")
def succeeded(event: batchmeter.BatchSucceeded) -> None:
    print(event.cost.total, event.usage.total_tokens, event.metadata.get("job"))


@batchmeter.on("batch_success", "batch_failure")
async def ended(event: batchmeter.BatchSucceeded | batchmeter.BatchFailed) -> None:
    print(event.status, event.models)


@batchmeter.on("acreate_batch", name="created")
async def created(event: batchmeter.BatchCreated) -> None:
    print(event.traceparent)


@batchmeter.on
def anything(event: batchmeter.Event) -> None:
    print(event.id, event.time)


def wrong(event: batchmeter.BatchFailed) -> None: ...


batchmeter.on("batch_success")(wrong)  # type: ignore[type-var]
batchmeter.on("batch_succes")(succeeded)  # type: ignore[call-overload]
batchmeter.off(succeeded)


async def ran() -> None:
    results = batchmeter.run(["hello", [{"role": "user", "content": "hi"}], {"prompt": "hey"}], model="gpt-5-mini")
    assert_type(results, batchmeter.Results)
    assert_type(results["request-0"], batchmeter.Result)
    assert_type(results["request-0"].text, str | None)
    assert_type(results.cost, batchmeter.Cost)
    assert_type(results.settlement, batchmeter.Settlement)
    assert_type(list(results), list[str])
    assert_type(results.errors, dict[str, Mapping[str, Any]])
    await batchmeter.arun((f"question {number}" for number in range(9)), model="m", provider="azure-eu", timeout=60)
    batchmeter.run(["hello"], using=batchmeter.AsyncClient())  # type: ignore[arg-type]


# -- plugins ----------------------------------------------------------------------------------------------------------


class Slack:
    def __init__(self, channel: str = "#llm") -> None:
        self.channel = channel

    @batchmeter.hookimpl
    async def batch_success(self, event: batchmeter.BatchSucceeded) -> None:
        if event.cost.total is None:
            raise batchmeter.Rejected("no cost to tell")
        raise batchmeter.RetryLater("busy", after=30)


def with_plugin() -> batchmeter.AsyncClient:
    return batchmeter.AsyncClient(plugins=[Slack()])


# -- metering alone ---------------------------------------------------------------------------------------------------


async def metered() -> None:
    metering = batchmeter.meter("output.jsonl", provider="openai")
    assert_type(metering, batchmeter.Metering)
    assert_type(metering.usage + metering.usage, batchmeter.Usage)
    try:
        batchmeter.meter("missing.jsonl")
    except batchmeter.BatchmeterError as error:
        print(error)
