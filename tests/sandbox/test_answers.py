"""Answers of the sandbox, alone and in batches: OpenAI's shapes, and usage that adds up."""

import asyncio
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from tests.heavy import heavy

from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_sandbox.answers import answer
from batchmeter_sandbox.tokens import Dice, spent, whole

from .conftest import CHAT, jsonl, request

LONG = [{"role": "user", "content": "tell me about caches " * 300}]


async def test_chat(client):
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], n=2, max_tokens=15
    )
    assert (answer.model, len(answer.choices)) == ("gpt-4o-mini-2024-07-18", 2)
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.completion_tokens == 30
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 30
    assert answer.choices[0].message.content


async def test_reasoning_models_reason_and_newer_ones_cache(client):
    seen = [
        await client.chat.completions.create(
            model="gpt-5-mini", messages=[*LONG, {"role": "user", "content": str(one)}]
        )
        for one in range(12)
    ]
    usages = [answer.usage for answer in seen]
    assert all(0 < usage.completion_tokens_details.reasoning_tokens < usage.completion_tokens for usage in usages)
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    assert 0 in cached
    assert max(cached) >= 512
    assert all(number % 128 == 0 and number < usage.prompt_tokens for number, usage in zip(cached, usages, strict=True))
    older = await client.chat.completions.create(model="gpt-4o", messages=LONG)
    assert older.usage.prompt_tokens_details.cached_tokens == 0
    assert older.usage.completion_tokens_details.reasoning_tokens == 0


async def test_reasoning_can_use_up_the_limit(client):
    answer = await client.chat.completions.create(model="o3", messages=LONG, max_completion_tokens=10)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "length")
    assert answer.usage.completion_tokens_details.reasoning_tokens == answer.usage.completion_tokens == 10


async def test_json_is_answered_with_json(client):
    answer = await client.chat.completions.create(
        model="gpt-4o", messages=LONG, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content)["answer"]


async def test_responses(client):
    answer = await client.responses.create(model="gpt-5", input="hello", instructions="be brief")
    assert (answer.status, answer.model) == ("completed", "gpt-5-2025-08-07")
    assert answer.output_text
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    cut = await client.responses.create(model="gpt-4.1", input="hello", max_output_tokens=16)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_embeddings(client):
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=64)
    assert [len(item.embedding) for item in answer.data] == [64, 64]
    floats = await client.embeddings.create(
        model="text-embedding-3-small", input=["one", "two"], dimensions=64, encoding_format="float"
    )
    assert answer.data[1].embedding == pytest.approx(floats.data[1].embedding, abs=1e-6) or answer != floats
    assert math.hypot(*answer.data[0].embedding) == pytest.approx(1, abs=0.3)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens == 2


async def test_completions_and_moderations(client):
    text = await client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once")
    assert text.choices[0].text
    assert text.usage.total_tokens > text.usage.completion_tokens > 0
    moderation = await client.moderations.create(input=["a", "b"])
    assert len(moderation.results) == 2
    assert not moderation.results[0].flagged


BODIES = {
    CHAT: {"model": "gpt-5-mini", "messages": LONG},
    "/v1/responses": {"model": "gpt-5", "input": "hello", "messages": None},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": ["a", "bb"], "dimensions": 8, "messages": None},
    "/v1/completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", "messages": None},
    "/v1/moderations": {"model": "omni-moderation-latest", "input": "a", "messages": None},
}
SUMS = {
    "prompt_tokens": "input_tokens",
    "input_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "output_tokens": "output_tokens",
}


@pytest.mark.parametrize("endpoint", BODIES)
async def test_totals_are_those_of_the_files(sandbox, client, clock, submit, lines, endpoint):
    requests = [request(number, url=endpoint, **BODIES[endpoint]) for number in range(40)]
    batch = await submit(requests, "fail=0.25", endpoint=endpoint)
    clock.advance(2000)
    batch = await client.batches.retrieve(batch.id)
    totals = await sandbox.engine.totals(batch.id)
    output = await lines(batch.output_file_id)
    assert (totals.succeeded, totals.failed) == (30, 10) == (len(output), len(await lines(batch.error_file_id)))
    sums = {"input_tokens": 0, "output_tokens": 0}
    for line in output:
        for name, number in (line["response"]["body"].get("usage") or {}).items():
            if name in SUMS:
                sums[SUMS[name]] += number
    assert sums == {name: getattr(totals.usage, name) for name in sums}
    assert batch.usage.total_tokens == sum(sums.values())
    assert (totals.usage.input_tokens > 0) == (endpoint != "/v1/moderations")


async def test_output_lines_read_as_the_sdks_own_types(client, clock, submit, lines):
    for endpoint, kind in ((CHAT, ChatCompletion), ("/v1/responses", Response)):
        batch = await submit([request(1, url=endpoint, **BODIES[endpoint])], endpoint=endpoint)
        clock.advance(2000)
        [line] = await lines((await client.batches.retrieve(batch.id)).output_file_id)
        answer = kind.model_validate(line["response"]["body"], strict=False)
        assert (line["response"]["status_code"], line["error"]) == (200, None)
        assert answer.usage is not None
        assert not isinstance(answer.usage, CompletionUsage) or answer.usage.prompt_tokens > 1024


@pytest.mark.parametrize("custom_id", ["ünï code 漢字 🎉", "x" * 300, 'quotes " and \\ \n', "a\u2028b", "\ud83d"])
async def test_custom_ids_are_echoed(client, clock, submit, lines, custom_id):
    batch = await submit([request(1) | {"custom_id": custom_id}])
    clock.advance(2000)
    [line] = await lines((await client.batches.retrieve(batch.id)).output_file_id)
    assert line["custom_id"] == custom_id


async def test_the_same_seed_gives_the_same_batch(clock):
    async def once(seed: int) -> bytes:
        async with serve_sandbox(seed=seed, speed=1, clock=lambda: now[0]) as sandbox:
            now[0] = 1_800_000_000.0
            engine = sandbox.engine
            receiver = engine.files.receive("in.jsonl")
            receiver.write(jsonl([request(number) for number in range(60)]))
            asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": receiver.finish("batch")["id"]}
            batch = await engine.batches.create(asked)
            now[0] += 2000
            batch = await engine.batches.retrieve(batch["id"])
            content = await engine.files.content(batch["output_file_id"])
            return json.dumps(batch).encode() + b"".join([chunk async for chunk in content.chunks()])

    now = [0.0]
    first, again, other = await once(1), await once(1), await once(2)
    assert first == again != other
    order = [line.split(b'"custom_id":"')[1].split(b'"')[0] for line in first.split(b"\n") if b"custom_id" in line]
    assert order != [f"r-{number}".encode() for number in range(60)]


async def test_many_batches_of_one_file_are_cheap(sandbox, clock):
    engine = sandbox.engine
    receiver = engine.files.receive("in.jsonl")
    receiver.write(jsonl([request(number) for number in range(10)]))
    asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": receiver.finish("batch")["id"]}
    ids = [(await engine.batches.create(asked))["id"] for _ in range(heavy(3000, 300))]
    clock.advance(2000)
    seen: list[str] = []
    more, after = True, None
    while more:
        page = await engine.batches.list(after, 100)
        seen += [batch["id"] for batch in page["data"] if batch["status"] == "completed"]
        more, after = page["has_more"], page["last_id"]
    assert seen == ids[::-1]


async def test_large_batches_leave_the_loop_free(sandbox, clock):
    engine = sandbox.engine
    receiver = engine.files.receive("in.jsonl")
    for number in range(3000):
        receiver.write(jsonl([request(number)]))
    asked = {"endpoint": CHAT, "completion_window": "24h", "input_file_id": receiver.finish("batch")["id"]}
    batch = await engine.batches.create(asked)
    clock.advance(2000)
    looking = asyncio.ensure_future(engine.batches.retrieve(batch["id"]))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert looking.result()["request_counts"]["completed"] == 3000


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "type", "format"]), inner),
    max_leaves=6,
)
names = st.sampled_from(
    ["messages", "input", "prompt", "n", "max_tokens", "dimensions", "text", "response_format", "instructions"]
)


@given(st.sampled_from(sorted(BODIES)), st.dictionaries(names, anything), st.sampled_from(["gpt-5", "gpt-4o"]))
@settings(max_examples=200, deadline=None)
def test_whatever_passed_validation_is_answered(endpoint, extra, model):
    body = {"model": model, "input": "x"} | extra
    dice = Dice(1, "r-1")
    tokens = spent(endpoint, body, dice)
    usage = answer(endpoint, body, dice, 0).get("usage", {})
    assert 0 <= tokens.cached <= tokens.input
    assert 0 <= tokens.reasoning <= tokens.output
    if usage:
        assert usage["total_tokens"] == tokens.input + tokens.output


def test_dimensions_that_are_no_number_are_the_models_own():
    assert whole({"dimensions": True}, "dimensions", 1536, 4096) == 1536
    assert whole({"dimensions": 8}, "dimensions", 1536, 4096) == 8
