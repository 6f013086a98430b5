"""Recorded traffic of Azure through an Azure account: the official SDK makes the same of the same bytes."""

import json
from dataclasses import replace

import pytest

import batchmeter
import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import APIStatusError, AuthenticationError, NotFoundError
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.recorder import Recorder
from batchmeter_azure import AzureProvider, AzureSettings

from .conftest import exchanges_of

PLAIN = CallOptions()
STORIES = (
    "azure-01-chat-completed",
    "azure-03-cancel",
    "azure-06-delete-false",
    "azure-07-files-list",
    "azure-08-iso-times",
)


def version(name):
    query = exchanges_of(name)[0].query
    return query.partition("api-version=")[2].partition("&")[0]


def account(playing, name):
    given = {"endpoint": playing.url, "api_key": "azure-key-0123456789", "api_version": version(name)}
    return AzureProvider("azure", AzureSettings(**given, max_retries=0))


async def ours(provider, exchange):  # noqa: PLR0911 - a table of calls
    """The call that a recorded request was, made of us; None for those that are made of nobody (uploads)."""
    parts = exchange.path.removeprefix("/openai/").split("/")
    match (exchange.method, *parts):
        case ("POST", "batches"):
            return await provider.create_batch(BatchRequest(None, "/chat/completions"), PLAIN)
        case ("GET", "batches", batch):
            return await provider.retrieve_batch(batch, PLAIN)
        case ("POST", "batches", batch, "cancel"):
            return await provider.cancel_batch(batch, PLAIN)
        case ("GET", "files"):
            return await provider.list_files(purpose=None, after=None, limit=None, order=None, options=PLAIN)
        case ("DELETE", "files", file):
            return await provider.delete_file(file, PLAIN)
        case ("GET", "files", file, "content"):
            async with provider.file_content(file, PLAIN) as content:
                return b"".join([chunk async for chunk in content.chunks])
    return None


def theirs(client, exchange):  # noqa: PLR0911
    parts = exchange.path.removeprefix("/openai/").split("/")
    match (exchange.method, *parts):
        case ("POST", "batches"):
            return client.batches.create(input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h")
        case ("GET", "batches", batch):
            return client.batches.retrieve(batch)
        case ("POST", "batches", batch, "cancel"):
            return client.batches.cancel(batch)
        case ("GET", "files"):
            return client.files.list()
        case ("DELETE", "files", file):
            return client.files.delete(file)
        case ("GET", "files", file, "content"):
            return client.files.content(file).content
    return None


def facts(made):
    """Members that both have to agree on: ids, status, counts; times are compared where the SDK has numbers, too."""
    if isinstance(made, bytes) or made is None:
        return made
    if hasattr(made, "data"):
        return [row.id for row in made.data]
    if hasattr(made, "deleted"):
        return (made.id, made.deleted)
    counts = made.request_counts
    numbers = None if counts is None else [int(getattr(counts, name) or 0) for name in ("total", "completed", "failed")]
    files = [getattr(made, name) or None for name in ("input_file_id", "output_file_id", "error_file_id")]
    return (made.id, Batch(id="-", status=made.status).status, files, numbers)


@pytest.mark.parametrize("name", STORIES)
async def test_the_official_sdk_makes_the_same_of_it(replay, name):
    playing, again = replay(name), replay(name)
    provider = account(playing, name)
    asked = {"azure_endpoint": again.url, "api_key": "k", "api_version": version(name), "max_retries": 0}
    with openai.AzureOpenAI(**asked) as client:
        for exchange in playing.exchanges:
            assert facts(await ours(provider, exchange)) == facts(theirs(client, exchange))
    await provider.aclose()
    assert playing.strangers == again.strangers == []


OBSERVED = (
    *STORIES,
    "azure-05-upload-expires-delete",
    "azure-09-404-deployment",
    "azure-10-401",
    "azure-12-output-lines",
)


def outcome(client, exchange):
    """Of the recorded request made by the official SDK: what it returns or raises, as plain data."""
    try:
        if exchange.method == "POST" and exchange.path == "/openai/files":
            answer = client.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        else:
            answer = theirs(client, exchange)
    except openai.APIStatusError as error:
        return type(error).__name__, error.status_code, error.body, dict(error.response.headers).get("apim-request-id")
    return answer.to_dict(mode="json", warnings=False) if hasattr(answer, "to_dict") else answer


@pytest.mark.parametrize("name", OBSERVED)
def test_an_observed_azure_sdk_sees_what_an_unobserved_one_sees(replay, tmp_path, name):
    playing, plain = replay(name), replay(name)
    settings = Settings(ledger=str(tmp_path / "l.db"), track=False, load=())
    keys = {"api_key": "azure-key-0123456789", "api_version": version(name), "max_retries": 0}
    with (
        batchmeter.Client(settings=settings, environ={}) as meter,
        openai.AzureOpenAI(azure_endpoint=playing.url, **keys) as observed,
        openai.AzureOpenAI(azure_endpoint=plain.url, **keys) as unobserved,
    ):
        batchmeter.observe(observed, using=meter)
        for exchange in playing.exchanges:
            assert outcome(observed, exchange) == outcome(unobserved, exchange), f"{exchange.method} {exchange.path}"
    asked = [(one.method, one.path) for one in playing.requests if one.headers["user-agent"].startswith("AzureOpenAI/")]
    assert asked == [(one.method, one.path) for one in plain.requests]


def test_recorded_output_lines_are_metered():
    body = exchanges_of("azure-12-output-lines")[0].answer.body
    usages = [json.loads(line)["response"]["body"]["usage"] for line in body.splitlines()]
    found = batchmeter.meter([body], provider="azure", region="global")
    read, written = (sum(usage[name] for usage in usages) for name in ("prompt_tokens", "completion_tokens"))
    assert (found.lines.succeeded, found.lines.unpriced) == (len(usages), 0)
    assert (found.usage.input_tokens, found.usage.output_tokens) == (read, written)
    rates = found.rates[0].usd_per_million
    assert found.cost.total == (rates["input"] * read + rates["output"] * written) / 1_000_000


async def test_a_batch_is_settled_with_an_error_file_that_nothing_needs(replay, tmp_path):
    """Nothing failed, an error file is named all the same, and its content is 404 (it was never recorded)."""
    name = "azure-01-chat-completed"

    def without_processing(exchange):
        """The last poll first: the story's times are its own."""
        if exchange.method == "GET" and "/batches/" in exchange.path and exchange.answer.json["status"] != "completed":
            return None
        return exchange

    playing, log = replay(name, edit=without_processing), Recorder()
    file = json.loads(exchanges_of(name)[0].answer.body)["id"]
    playing.exchanges.append(
        replace(playing.exchanges[0], method="GET", path=f"/openai/files/{file}", answer=playing.exchanges[0].answer)
    )
    section = {
        "provider": "azure",
        "endpoint": playing.url,
        "api_version": version(name),
        "api_key": "k",
        "max_retries": 0,
    }
    settings = Settings(
        ledger=str(tmp_path / "l.db"), accounts={"azure": section}, default_account="azure", track=False, load=()
    )
    async with AsyncClient(settings=settings, plugins=[log], environ={}) as client:
        batch = await client.batches.create(input_file_id=file, endpoint="/v1/chat/completions")
        settled = await client.batches.wait(batch.id, timeout=20)
    assert (settled.status, settled.request_counts.succeeded, settled.request_counts.failed) == ("completed", 2, 0)
    assert settled.cost.total is not None
    assert log.types == ["acreate_batch", "batch_success"]


@pytest.mark.parametrize(
    ("name", "error", "code"),
    [("azure-09-404-deployment", NotFoundError, "DeploymentNotFound"), ("azure-10-401", AuthenticationError, "401")],
)
async def test_an_error_is_the_official_sdk_s_error(replay, name, error, code):
    playing = replay(name)
    provider = account(playing, name)
    with pytest.raises(error) as caught:
        await ours(provider, playing.exchanges[0])
    await provider.aclose()
    asked = {"azure_endpoint": replay(name).url, "api_key": "k", "api_version": version(name), "max_retries": 0}
    with openai.AzureOpenAI(**asked) as client, pytest.raises(openai.APIStatusError) as known:
        theirs(client, playing.exchanges[0])
    assert isinstance(caught.value, APIStatusError)
    assert (caught.value.status_code, caught.value.code) == (known.value.status_code, code)
    assert caught.value.body["error"] == known.value.body
    assert known.value.body["message"] in str(caught.value)
