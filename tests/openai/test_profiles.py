"""Compatible vendors: each row of the table runs whole batches against a server with that vendor's own shapes."""

import json
import time
from dataclasses import replace
from decimal import Decimal
from urllib.parse import urlsplit

import httpx
import httpx2
import pytest
from tests.vendor_kit import Haste, client_of, sdk_of, submit_by_command

import batchmeter
import openai
from batchmeter import AsyncClient, errors
from batchmeter.config import Settings
from batchmeter.inputs import InputChecker
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import ProviderContract, upload_of
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.wire import Received, serving
from batchmeter_openai.compatible import PROVIDERS
from batchmeter_openai.profiles import CHAT, PROFILES, RESPONSES

from .vendor_site import KEY, USAGE, Shapes, Vendor

PLAIN = CallOptions()
ROWS = {profile.name: profile for profile in PROFILES}
CLASSES = {provider.name: provider for provider in PROVIDERS}
UPPER = ("VALIDATING", "IN_PROGRESS", "COMPLETED")
VENDORS = {
    "dashscope": (Shapes("qwen-plus"), "0.001"),
    "deepinfra": (
        Shapes("meta-llama/Llama-3.3-70B-Instruct-Turbo", batch_usage=True),
        "0.000416",
    ),
    "doubleword": (Shapes("Qwen/Qwen3-VL-30B"), None),
    "groq": (
        Shapes(
            "openai/gpt-oss-120b",
            has_more=False,
            usage=USAGE | {"queue_time": 0.1, "prompt_time": 0.2, "completion_time": 0.3, "total_time": 0.5},
            body={"x_groq": {"id": "req_1"}, "usage_breakdown": None},
        ),
        "0.00045",
    ),
    "moonshot": (Shapes("kimi-k2.6", usage=USAGE | {"cached_tokens": 0}), "0.00354"),
    "nebius": (Shapes("Qwen/Qwen3-235B"), None),
    "novita": (
        Shapes(
            "deepseek/deepseek-v3",
            words=("VALIDATING", "PROGRESS", "COMPLETED"),
            cancelled="CANCELLED",
        ),
        None,
    ),
    "parasail": (Shapes("any/model"), None),
    "perplexity": (
        Shapes(
            "sonar-agent",
            usage={"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500},
            body={"object": "response", "choices": None, "output": []},
            batch_usage=True,
        ),
        None,
    ),
    "siliconflow": (
        Shapes(
            "deepseek-ai/DeepSeek-V3",
            words=("in_queue", "in_progress", "finalizing", "completed"),
            upload_data=True,
            counts=False,
            error={"code": 20012, "message": "{message}", "data": None},
        ),
        None,
    ),
    "together": (
        Shapes(
            "MiniMaxAI/MiniMax-M3",
            words=UPPER,
            cancelled="CANCELLED",
            job=True,
            bare_list=True,
            counts=False,
            iso_times=True,
            takes=frozenset({"input_file_id", "endpoint", "completion_window"}),
        ),
        "0.0018",
    ),
    "zhipu": (
        Shapes(
            "glm-4-plus",
            takes=frozenset({"input_file_id", "endpoint", "completion_window", "metadata", "auto_delete_input_file"}),
        ),
        None,
    ),
}
"""Name -> its shapes, and what two lines of 1,000 and 500 tokens cost; None: no source prices it, so nobody knows."""


@pytest.fixture
async def vendor(request):
    """The served vendor, its address ending as the real one does."""
    name = request.param
    site = Vendor(ROWS[name], VENDORS[name][0])
    async with serving(site) as url:
        site.url = url + urlsplit(ROWS[name].base).path
        yield site


def requests_of(vendor, count=2):
    url = RESPONSES if vendor.profile.name == "perplexity" else CHAT
    asked = {"input": "hi"} if url == RESPONSES else {"messages": [{"role": "user", "content": 'say "url": "/v1/x"'}]}
    rows = [
        {"custom_id": f"request-{n}", "method": "POST", "url": url, "body": {"model": vendor.shapes.model, **asked}}
        for n in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows), url


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def client(vendor, tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "openai")
    name = vendor.profile.name
    account = {"api_base": vendor.url, "api_key": KEY, "max_retries": 0}
    async with client_of(tmp_path, name, account, recorder) as opened:
        yield opened


@pytest.fixture
async def sdk(client):
    async with sdk_of(client) as opened:
        yield opened


def test_every_vendor_of_the_table_is_tested():
    assert sorted(VENDORS) == [profile.name for profile in PROFILES]


@pytest.mark.parametrize("vendor", VENDORS, indirect=True)
async def test_openais_sdk_runs_a_batch_through_the_proxy(vendor, client, sdk, recorder):
    content, url = requests_of(vendor)
    file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
    assert (await sdk.files.content(file.id)).content == content
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h", metadata={"team": "search"}
    )
    assert (batch.status, batch.endpoint) == ("validating", url)
    assert [found.id async for found in sdk.batches.list(limit=1)] == [batch.id]
    while (ended := await sdk.batches.retrieve(batch.id)).status != "completed":
        assert ended.status in ("validating", "in_progress", "finalizing")
    settlement = await client.batches.wait(batch.id, timeout=20)
    assert (ended.status, ended.created_at is not None) == ("completed", True)
    rows = [json.loads(line) for line in (await sdk.files.content(ended.output_file_id)).content.splitlines()]
    assert [row["custom_id"] for row in rows] == ["request-0", "request-1"]
    usage, cost = settlement.usage, settlement.cost
    assert (usage.input_tokens, usage.output_tokens, settlement.request_counts.succeeded) == (2000, 1000, 2)
    expected = VENDORS[vendor.profile.name][1]
    if expected is None:
        assert (cost.total, cost.unknown) == (None, {"unknown_model": 2})
    else:
        assert cost.total == Decimal(expected)
    assert await client.deliverer.drain(20)
    assert [event.type for event in recorder.events] == ["acreate_batch", "batch_success"]
    assert {event.metadata["team"] for event in recorder.events} == {"search"}


@pytest.mark.parametrize("name", VENDORS)
def test_the_key_goes_to_the_vendors_own_hosts_only(name, monkeypatch):
    profile = ROWS[name]
    monkeypatch.setenv(profile.env[-1], " the-key\n")
    made = CLASSES[name].Settings
    assert made().api_key.get_secret_value() == "the-key"
    for host in (profile.base, *profile.hosts):
        assert made(api_base=host).api_key is not None
    for elsewhere in (
        "https://gateway.example/v1",
        profile.base.replace("https://", "https://evil."),
        "http://127.0.0.1/v1",
    ):
        assert made(api_base=elsewhere).api_key is None
        assert made(api_base=elsewhere, api_key="own").api_key.get_secret_value() == "own"


@pytest.mark.parametrize("vendor", ["groq"], indirect=True)
async def test_a_name_and_its_variable_are_enough(vendor, tmp_path, monkeypatch):
    """No section: the provider's name, GROQ_API_KEY, and the vendor's own address."""
    monkeypatch.setenv("BATCHMETER_PLUGINS", "openai")
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    asked = []

    class ToLoopback(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            asked.append(str(request.url))
            served = urlsplit(vendor.url)
            request.url = request.url.copy_with(scheme="http", host=served.hostname, port=served.port)
            return await super().handle_async_request(request)

    content, url = requests_of(vendor)
    settings, haste = Settings(track=False), Haste(tmp_path)
    opened = AsyncClient(settings=settings, ledger=haste.ledger, plugins=[haste])
    async with httpx.AsyncClient(transport=ToLoopback()) as http, opened as client:
        where = {"custom_llm_provider": "groq", "http_client": http}
        file = await client.files.create(file=("in.jsonl", content), **where)
        batch = await client.batches.create(input_file_id=file.id, endpoint=url, **where)
        settlement = await client.batches.wait(batch.id, timeout=20, **where)
    assert (settlement.provider, settlement.cost.total) == ("groq", Decimal("0.00045"))
    assert asked[0] == "https://api.groq.com/openai/v1/files"
    assert {urlsplit(one).hostname for one in asked} == {"api.groq.com"}


@pytest.mark.parametrize("vendor", ["together", "dashscope", "perplexity"], indirect=True)
async def test_a_lost_create_is_found(vendor, client):
    """By its tag; at Together, which keeps no metadata, by its input file."""
    content, url = requests_of(vendor)
    file = await client.files.create(file=("in.jsonl", content))
    vendor.lost = 1
    if vendor.profile.metadata:
        batch = await client.batches.create(input_file_id=file.id, endpoint=url)
        assert batch.id in vendor.batches
    else:
        with pytest.raises(errors.CreateUnknownError):
            await client.batches.create(input_file_id=file.id, endpoint=url)
    creates = [one for one in vendor.received if (one.method, one.path[-8:]) == ("POST", "/batches")]
    assert len(creates) == len(vendor.batches) == 1
    tag = json.loads(creates[0].body).get("metadata", {}).get("batchmeter_id")
    assert creates[0].headers.get("idempotency-key") == (tag if vendor.profile.idempotent else None)


@pytest.mark.parametrize("vendor", ["together"], indirect=True)
async def test_a_lost_create_is_found_by_its_input(vendor, client, recorder, monkeypatch):
    """Neither a stranger's batch of the same second is taken for it, nor the earlier batch over the same file."""
    monkeypatch.setattr("batchmeter.rounds.lost_creates.GRACE_SECONDS", -1.0)
    content, url = requests_of(vendor)
    vendor.now = int(time.time())
    file, theirs = [await client.files.create(file=("in.jsonl", content)) for _ in range(2)]
    earlier = await client.batches.create(input_file_id=file.id, endpoint=url)
    asked = {"endpoint": url, "completion_window": "24h", "input_file_id": theirs.id}
    vendor.create(Received("POST", "/", {}, json.dumps(asked).encode()))
    vendor.lost = 1
    with pytest.raises(errors.CreateUnknownError):
        await client.batches.create(input_file_id=file.id, endpoint=url, metadata={"run": "7"}, idempotency_key="once")
    vendor.create(Received("POST", "/", {}, json.dumps(asked).encode()))
    assert await client.tracker.rounds["lost_creates"]() == 1
    again = {"input_file_id": file.id, "endpoint": url, "metadata": {"run": "7"}, "idempotency_key": "once"}
    found = await client.batches.create(**again)
    ours = [one for one in vendor.batches.values() if one["input_file_id"] == file.id]
    assert [one["id"] for one in ours] == [earlier.id, found.id]
    await client.deliverer.drain(20)
    created = {event.batch_id: event.metadata or {} for event in recorder.events}
    assert created == {earlier.id: {}, found.id: {"run": "7"}}


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [
        ("zhipu", {"custom_id": "short"}, "invalid_custom_id"),
        ("moonshot", {"body": {"model": "kimi-k2.6", "messages": [], "temperature": 0}}, "unsupported_parameter"),
        ("perplexity", {}, "invalid_url"),
        ("novita", {"url": "/v1/embeddings"}, "invalid_url"),
    ],
)
def test_lines_that_the_vendor_refuses_are_refused_here(name, line, code):
    good = {"custom_id": "request-1", "method": "POST", "url": CHAT, "body": {"model": "m", "messages": []}}
    limits = CLASSES[name].input_limits
    checker = InputChecker(None, limits)
    if name != "perplexity":
        checker.feed(json.dumps(good | {"custom_id": "request-0"}).encode() + b"\n")
    checker.feed(json.dumps(good | line).encode() + b"\n")
    (problem,) = [one for one in checker.close().problems if one.code != "mismatched_model"]
    assert (problem.code, problem.line) == (code, 1 if name == "perplexity" else 2)


def test_limits_of_the_table_reach_the_checker():
    checker = InputChecker(None, replace(CLASSES["siliconflow"].input_limits, lines=2))
    for n in range(3):
        row = {"custom_id": f"r-{n}", "method": "POST", "url": CHAT, "body": {"model": "m", "messages": []}}
        checker.feed(json.dumps(row).encode() + b"\n")
    assert [problem.code for problem in checker.close().problems] == ["too_many_lines"]
    assert CLASSES["siliconflow"].input_limits.lines == 5_000


class TestContract(ProviderContract):
    """The vendors that are least like OpenAI."""

    checks_keys = True

    @pytest.fixture(params=["novita", "siliconflow", "together", "zhipu"])
    async def site(self, request):
        site = Vendor(ROWS[request.param], replace(VENDORS[request.param][0], counts=True))
        async with serving(site) as url:
            site.url = url + urlsplit(site.profile.base).path
            yield site

    async def open(self, site, key):
        provider = CLASSES[site.profile.name]
        return provider(site.profile.name, provider.Settings(api_base=site.url, api_key=key, max_retries=0))

    @pytest.fixture
    async def provider(self, site):
        made = await self.open(site, KEY)
        self.lists_files = site.shapes.has_more and not site.shapes.bare_list
        yield made
        await made.aclose()

    @pytest.fixture
    async def locked_out(self, site):
        made = await self.open(site, "wrong-key-0123456789")
        yield made
        await made.aclose()


@pytest.mark.parametrize("vendor", ["siliconflow"], indirect=True)
async def test_an_error_in_the_vendors_own_shape_is_told(vendor):
    provider = CLASSES["siliconflow"](
        "siliconflow", CLASSES["siliconflow"].Settings(api_base=vendor.url, api_key=KEY, max_retries=0)
    )
    with pytest.raises(errors.BadRequestError, match="no such input") as caught:
        await provider.create_batch(BatchRequest("file-none", CHAT), PLAIN)
    assert caught.value.body["code"] == 20012
    await provider.create_file(upload_of(requests_of(vendor)[0]), PLAIN)
    await provider.aclose()


@pytest.mark.parametrize("vendor", ["together"], indirect=True)
@pytest.mark.parametrize(
    "place", ["http://10.0.0.7", "https://localhost:8", "https://169.254.169.254", "ftp://a.example"]
)
async def test_an_upload_goes_into_no_private_network(vendor, place):
    """Its bytes are the user's: an answer cannot send them to a host inside."""
    vendor.storage = place
    made = CLASSES["together"]
    provider = made("together", made.Settings(api_base=vendor.url, api_key=KEY, max_retries=0))
    with pytest.raises(errors.APIResponseError, match="which is refused") as caught:
        await provider.create_file(upload_of(requests_of(vendor)[0]), PLAIN)
    assert "secret" not in str(caught.value)
    await provider.aclose()


async def test_an_observed_client_at_a_vendor_is_that_vendors(tmp_path, monkeypatch):
    """OpenAI's SDK with Groq's address: the batch is Groq's, and priced so."""
    monkeypatch.setenv("BATCHMETER_PLUGINS", "openai")
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    site = Vendor(ROWS["groq"], VENDORS["groq"][0])

    class ToSite(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raw = Received(
                request.method,
                request.url.raw_path.decode(),
                dict(request.headers.items()),
                await request.aread(),
            )
            made = await site(raw)
            return httpx2.Response(made.status, headers=made.headers, content=made.body, request=request)

    settings = Settings(ledger=str(tmp_path / "ledger.db"), track=False)
    async with AsyncClient(settings=settings) as client, httpx2.AsyncClient(transport=ToSite()) as http:
        sdk = openai.AsyncOpenAI(base_url="https://api.groq.com/openai/v1", api_key=KEY, http_client=http)
        batchmeter.observe(sdk, using=client)
        content, url = requests_of(site)
        file = await sdk.files.create(file=("in.jsonl", content), purpose="batch")
        batch = await sdk.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
        (tracked,) = [await client.ledger.get_batch(batch.id)]
    assert (tracked.submission.provider, tracked.submission.account) == ("groq", "groq")


async def test_the_command_line_submits_and_waits(tmp_path):
    site = Vendor(ROWS["groq"], replace(VENDORS["groq"][0], words=("validating", "completed")))
    async with serving(site) as url:
        account = {"api_base": f"{url}/openai/v1", "api_key": KEY}
        settlement = await submit_by_command(tmp_path, "groq", account, requests_of(site)[0])
    assert (settlement["status"], settlement["cost"]["total"]) == ("completed", "0.00045")
