"""Whole batches at Bedrock: by OpenAI's SDK through the proxy, the tracker and the command line, to their exact cost."""

import asyncio
import json
import threading
from contextlib import contextmanager
from decimal import Decimal

import pytest
from click.testing import CliRunner
from tests.vendor_kit import client_of, sdk_of, settled

from batchmeter import errors
from batchmeter.cli import main
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import upload_of
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.wire import serving

from .conftest import settings_at
from .fake import FakeBedrock, FakeS3

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PLAIN = CallOptions()


def lines(*texts, model=CLAUDE, url=CHAT, ids=None, **body):
    named = ids or [f"r-{n}" for n in range(len(texts))]
    asked = (lambda text: {"input": text}) if url == EMBEDDINGS else _chat
    rows = [
        {"custom_id": name, "method": "POST", "url": url, "body": {"model": model, **asked(text), **body}}
        for name, text in zip(named, texts, strict=True)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _chat(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def client(account, tmp_path, monkeypatch, recorder):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "bedrock")
    async with client_of(tmp_path, "bedrock", account | {"retry_queue_full": 3600}, recorder) as opened:
        yield opened


@pytest.fixture
async def sdk(client):
    async with sdk_of(client) as opened:
        yield opened


async def submitted(client, content, url=CHAT, **more):
    file = await client.files.create(file=("in.jsonl", content))
    return await client.batches.create(input_file_id=file.id, endpoint=url, **more)


async def test_openais_sdk_runs_a_batch_through_the_proxy(bedrock, client, sdk, recorder):
    content = lines("hi", "FAIL", "ho", max_completion_tokens=9, user="u")
    file = await sdk.files.create(file=("my in.jsonl", content), purpose="batch")
    assert (file.filename, file.bytes, file.purpose) == ("my in.jsonl", len(content), "batch")
    assert (await sdk.files.content(file.id)).content == content
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"team": "sé arch"}
    )
    assert (batch.status, batch.endpoint, batch.metadata) == ("validating", CHAT, {"team": "sé arch"})
    settlement = await settled(client, batch.id)
    done = await sdk.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 2, 1)
    rows = [json.loads(line) for line in (await sdk.files.content(done.output_file_id)).content.splitlines()]
    assert {row["custom_id"] for row in rows} == {"r-0", "r-2"}
    body = rows[0]["response"]["body"]
    assert (body["choices"][0]["message"]["content"], body["usage"]["total_tokens"]) == ("écho 🎈", 15)
    (bad,) = [json.loads(line) for line in (await sdk.files.content(done.error_file_id)).content.splitlines()]
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("r-1", 400)
    # Two lines of 10 tokens at 0.55 and 5 at 2.75, USD per million: a batch, and a tenth more in the US.
    assert settlement.cost.total == Decimal("0.0000385")
    assert await client.deliverer.drain(20)
    assert [(event.type, event.metadata) for event in recorder.events] == [
        ("acreate_batch", {"team": "sé arch"}),
        ("batch_success", {"team": "sé arch"}),
    ]
    (sent,) = [json.loads(one.body) for one in bedrock.received if one.method == "POST"]
    assert sent["modelInvocationType"] == "InvokeModel"
    assert sent["jobName"] == f"batchmeter-{sent['clientRequestToken']}"[:63]


ANSWERS = {
    "amazon.nova-lite-v1:0": (CHAT, "echo", "0.0000018"),
    "meta.llama3-1-70b-instruct-v1:0": (CHAT, "echo", "0.0000108"),
    "openai.gpt-oss-120b-1:0": (CHAT, "echo", "0.0000045"),
    "amazon.titan-embed-text-v2:0": (EMBEDDINGS, [0.5, 2.0], "9E-8"),
    "cohere.embed-english-v3": (EMBEDDINGS, [0.25, 2.0], "0.000001"),
}
"""Model -> its endpoint, the first answer, USD; the tokens of Cohere's are the manifest's."""


@pytest.mark.parametrize("model", ANSWERS)
async def test_each_family_answers_in_openais_shape(model, bedrock, client):
    """Claude is above; Converse jobs and OpenAI's own bodies, Nova's, one text a record, several texts a record."""
    url, said, cost = ANSWERS[model]
    asked = ["hi", "ho"] if url == CHAT else ["hi", ["ab", "abc"]]
    batch = await submitted(client, lines(*asked, model=model, url=url), url)
    assert batch.endpoint == url
    settlement = await settled(client, batch.id)
    done = await client.batches.retrieve(batch.id)
    rows = {
        row["custom_id"]: row
        for row in map(json.loads, (await client.files.content(done.output_file_id)).text.splitlines())
    }
    body = rows["r-0"]["response"]["body"]
    assert (body["choices"][0]["message"]["content"] if url == CHAT else body["data"][0]["embedding"]) == said
    (job,) = bedrock.jobs.values()
    assert job["modelInvocationType"] == ("Converse" if "llama" in model else "InvokeModel")
    if url == EMBEDDINGS:
        assert [one["index"] for one in rows["r-1"]["response"]["body"]["data"]] == [0, 1]
        assert [one["embedding"][1] for one in rows["r-1"]["response"]["body"]["data"]] == [2.0, 3.0]
    assert str(settlement.cost.total) == cost


async def test_long_and_odd_ids_come_back(client):
    ids = ["a b", "x" * 64, "y" * 300, "é🎈", "bmx1", "bml7", "bmp0o1fx", "-", "Z9"]
    batch = await submitted(client, lines(*ids, ids=ids))
    await settled(client, batch.id)
    done = await client.batches.retrieve(batch.id)
    rows = map(json.loads, (await client.files.content(done.output_file_id)).text.splitlines())
    assert sorted(row["custom_id"] for row in rows) == sorted(ids)


async def test_vectors_in_base64_and_of_long_ids(client):
    ids = ["k" * 70, "short"]
    content = lines(
        ["a", "b"], ["c"], model="amazon.titan-embed-text-v2:0", url=EMBEDDINGS, ids=ids, encoding_format="base64"
    )
    batch = await submitted(client, content, EMBEDDINGS)
    await settled(client, batch.id)
    done = await client.batches.retrieve(batch.id)
    rows = {
        row["custom_id"]: row
        for row in map(json.loads, (await client.files.content(done.output_file_id)).text.splitlines())
    }
    assert [len(rows[name]["response"]["body"]["data"]) for name in ids] == [2, 1]
    assert rows["short"]["response"]["body"]["data"][0]["embedding"] == "AAAAPwAAgD8="
    assert rows["short"]["response"]["body"]["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    ("end", "counted", "status", "counts", "total"),
    [
        (("PartiallyCompleted", 1), True, "completed", (3, 1, 0), "0.00001925"),
        (("Stopped", 2), True, "cancelled", (3, 2, 0), "0.0000385"),
        (("Stopped", 2), False, "cancelled", (3, 2, 0), "0.0000385"),
        (("Expired", None), True, "expired", None, None),
        (("Failed", None), True, "failed", None, "0"),
    ],
)
async def test_jobs_that_end_otherwise(end, counted, status, counts, total, bedrock, client):
    """With the job's own counters, or with those of its manifest."""
    bedrock.end, bedrock.counts = end, counted
    batch = await submitted(client, lines("a", "b", "c"))
    settlement = await settled(client, batch.id)
    found = (await client.batches.retrieve(batch.id)).request_counts
    assert (settlement.status, found and (found.total, found.completed, found.failed)) == (status, counts)
    assert str(settlement.cost.total) == str(total)


async def test_a_failed_job_runs_anew_once_it_is_asked_for_again(bedrock, client, tmp_path):
    """`retry_queue_full` is about refused creates: no plugin submits a job again that failed."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines("a"))
    bedrock.least = 100
    (first,) = (await client.batches.create_many(path, CHAT)).batches
    await settled(client, first.id)
    (second,) = (await client.batches.create_many(path, CHAT)).batches
    assert first.id != second.id
    assert len(bedrock.jobs) == 2


async def test_a_job_with_too_few_records_fails_with_its_reason(bedrock, client):
    bedrock.least = 100
    batch = await submitted(client, lines("a"))
    await settled(client, batch.id)
    done = await client.batches.retrieve(batch.id)
    assert (done.status, done.errors.data[0].message) == ("failed", "the file has too few records")


async def test_a_lost_create_is_found_by_its_token(bedrock, client):
    await submitted(client, lines("a"))
    bedrock.lose = 1
    batch = await submitted(client, lines("a"))
    assert (batch.id, len(bedrock.jobs)) == (f"{1:012d}", 2)


async def test_the_same_token_makes_one_job(bedrock, make):
    provider = make()
    file = await provider.create_file(upload_of(lines("a")), PLAIN)
    request = BatchRequest(file.id, CHAT, metadata={"batchmeter_id": "outer", "batchmeter_id_2": "mine-1"})
    made = {(await provider.create_batch(request, PLAIN)).id for _ in range(3)}
    assert (len(made), len(bedrock.jobs)) == (1, 1)
    (job,) = bedrock.jobs.values()
    assert job["clientRequestToken"] == "mine-1"


async def test_a_full_queue_is_waited_for(bedrock, client):
    naps = []

    async def nap(seconds):
        naps.append(seconds)

    (await client.ready()).sleep = nap
    bedrock.refuse = [
        (400, "ServiceQuotaExceededException", "too many jobs", {}),
        (429, "ThrottlingException", "slow down", {"retry-after": "7"}),
    ]
    assert (await submitted(client, lines("a"))).id == f"{0:012d}"
    assert naps == [60.0, 7.0]


REFUSALS = {
    (400, "ValidationException"): (errors.BadRequestError, 400),
    (400, "ConflictException"): (errors.ConflictError, 409),
    (400, "ServiceQuotaExceededException"): (errors.RateLimitError, 429),
    (403, "AccessDeniedException"): (errors.PermissionDeniedError, 403),
    (403, "ExpiredTokenException"): (errors.AuthenticationError, 401),
    (429, "ThrottlingException"): (errors.RateLimitError, 429),
    (418, "SomethingNewException"): (errors.APIStatusError, 418),
}


@pytest.mark.parametrize("said", REFUSALS)
async def test_refusals_are_named_by_their_exception(said, bedrock, make):
    provider = make()
    file = await provider.create_file(upload_of(lines("a")), PLAIN)
    bedrock.refuse = [(*said, "no", {"retry-after": "9"})]
    with pytest.raises(errors.APIStatusError) as caught:
        await provider.create_batch(BatchRequest(file.id, CHAT), PLAIN)
    kind, status = REFUSALS[said]
    assert (type(caught.value), caught.value.status_code, caught.value.code) == (kind, status, said[1])
    assert caught.value.retry_after == 9


BAD = {
    "tools": (
        lines("a", model="meta.llama3-1-70b-instruct-v1:0", tools=[{"type": "function", "function": {"name": "f"}}]),
        "line 1.*fails every record with tools",
    ),
    "image": (lines("a", model="stability.stable-image-core-v1:0"), "no translation for"),
    "profile": (
        lines("a", model="arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"),
        "under `models`",
    ),
    "endpoint": (lines("a", url=EMBEDDINGS), "answers /v1/chat/completions"),
    "sampling": (lines("a", model="anthropic.claude-haiku-4-5-v1:0", n=2), "one answer per request"),
    "tokens": (lines([1, 2], model="amazon.titan-embed-text-v2:0", url=EMBEDDINGS), "no token numbers"),
    "dimensions": (lines("a", model="amazon.titan-embed-text-v1", url=EMBEDDINGS, dimensions=3), "one size"),
    "url": (
        lines([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], model="amazon.nova-lite-v1:0"),
        "fetches nothing",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_cannot_be_said_is_refused_at_the_upload(name, bedrock, make):
    content, message = BAD[name]
    with pytest.raises(errors.InvalidInputError, match=message):
        await make().create_file(upload_of(content), PLAIN)
    assert (bedrock.storage.objects, bedrock.storage.uploads) == ({}, {})


@pytest.mark.parametrize(
    ("settings", "content", "message"),
    [
        ({"min_records": 3}, lines("a", "b"), "2 requests; a job takes 3 or more"),
        ({"max_records": 1}, lines("a", "b"), "more than 1"),
        ({"format": "native"}, b'{"recordId": "a-b", "modelInput": {"x": 1}}\n', "letters and digits"),
        ({"format": "native"}, b'{"recordId": "a"}\n', "no `modelInput`"),
        ({"format": "native"}, b'{"recordId": "a", "modelInput": {"x": 1}}\n' * 2, "already used on line 1"),
        ({"format": "native"}, b"", "0 requests"),
    ],
)
async def test_quotas_and_native_rows_are_checked(settings, content, message, bedrock, make):
    with pytest.raises(errors.InvalidInputError, match=message):
        await make(**settings).create_file(upload_of(content), PLAIN)
    assert bedrock.storage.objects == {}


async def test_a_name_of_the_account_s_own_is_its_model(bedrock, account, client):
    """An application inference profile: its rows are its model's, and so is its price."""
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    client.settings.accounts["bedrock"]["models"] = {profile: CLAUDE}
    batch = await submitted(client, lines("a", model=profile))
    (job,) = bedrock.jobs.values()
    assert job["modelId"] == profile
    settlement = await settled(client, batch.id)
    assert settlement.cost.total == Decimal("0.00001925")


async def test_lists_page_by_ids_over_empty_pages(bedrock, client, sdk):
    made = [(await submitted(client, lines("a"))).id for _ in range(5)]
    assert [batch.id async for batch in sdk.batches.list(limit=2)] == made[::-1]
    bedrock.empty_pages = 1
    page = await client.accounts.get("bedrock").list_batches(after=None, limit=2, options=PLAIN)
    assert [batch.id for batch in page] == made[:2:-1]


async def test_native_rows_of_llama_are_metered(bedrock, make, account, tmp_path):
    row = b'{"recordId": "A1", "modelInput": {"prompt": "hi", "max_gen_len": 9}}\n'
    async with client_of(tmp_path, "bedrock", account | {"format": "native"}) as client:
        file = await client.files.create(file=("in.jsonl", row))
        model = "meta.llama3-1-70b-instruct-v1:0"
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, extra_body={"model": model})
        settlement = await settled(client, batch.id)
        done = await client.batches.retrieve(batch.id)
        (said,) = map(json.loads, (await client.files.content(done.output_file_id)).text.splitlines())
    assert (said["recordId"], said["modelOutput"]["generation"]) == ("A1", "echo")
    assert settlement.cost.total == Decimal("0.0000054")


@contextmanager
def served_beside(fake):
    """A fake and its bucket on a loop of another thread: the command line runs one of its own."""
    loop, started, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve():
        async with serving(fake.storage) as fake.storage.url, serving(fake) as fake.url:
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    started.wait(20)
    yield
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


def test_the_command_line_submits_and_waits(tmp_path):
    fake = FakeBedrock(FakeS3())
    fake.looks = 1
    path, config = tmp_path / "in.jsonl", tmp_path / "batchmeter.toml"
    path.write_bytes(lines("hi"))
    with served_beside(fake):
        rows = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings_at(fake).items())
        config.write_text(f'ledger = "{tmp_path / "cli.db"}"\n[accounts.bedrock]\n{rows}')
        arguments = ["--config", str(config), "submit", str(path), "--provider", "bedrock", "--wait", "--json"]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["status"], said["cost"]["total"]) == ("completed", "0.00001925")
