"""`gather`: calls of the official client inside it are lines of a batch, a round a batch; outside they go over the network."""

import asyncio

import pytest

import batchmeter
import openai
from batchmeter.config import Settings
from batchmeter.errors import UnknownAccountError, UsageError
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_adapters import gather, http_client
from batchmeter_adapters.batched import run


@pytest.fixture
async def using(tmp_path):
    sandbox = {"provider": "sandbox", "speed": 1e9}
    accounts = {"sandbox": sandbox, "shaky": {**sandbox, "script": "fail=0.5"}}
    settings = Settings(ledger=str(tmp_path / "l.db"), default_account="sandbox", accounts=accounts, load=())
    async with batchmeter.AsyncClient(settings=settings, environ={}) as client:
        yield client


@pytest.fixture
def model():
    return openai.AsyncOpenAI(api_key="not-sent", base_url="http://127.0.0.1:9/v1", http_client=http_client())


async def ask(model, text, **options):
    messages = [{"role": "user", "content": text}]
    return await model.chat.completions.create(model="gpt-5-mini", messages=messages, **options)


async def made(using) -> int:
    return len((await using.batches.list()).data)


async def test_calls_are_one_batch_with_its_cost(using, model):
    answers = await gather([ask(model, f"question {n}") for n in range(5)], using=using)
    assert [answer.object for answer in answers] == ["chat.completion"] * 5
    assert len({answer.id for answer in answers}) == 5
    assert await made(using) == 1
    assert answers.cost == answers.rounds[0].cost.total > 0

    again = await gather([ask(model, f"question {n}") for n in range(5)], using=using)
    assert [one.id for one in again] == [one.id for one in answers], "the same calls find the same batch"
    assert await made(using) == 1


async def test_each_round_of_calls_is_a_batch(using, model):
    async def twice(number):
        first = await ask(model, f"question {number}")
        if number == 2:
            return [first]
        both = await asyncio.gather(
            ask(model, first.id), model.embeddings.create(model="text-embedding-3-small", input="x")
        )
        return [first, *both]

    answers = await gather([twice(number) for number in range(3)], using=using)
    assert [len(answer) for answer in answers] == [3, 3, 1]
    assert sorted(len(one) for one in answers.rounds) == [2, 2, 3]
    assert await made(using) == 3


async def test_an_error_is_its_calls_alone_and_not_tried_again(using, model):
    calls = [ask(model, f"question {n}") for n in range(6)]
    answers = await gather(calls, provider="shaky", using=using, return_exceptions=True)
    kinds = {type(answer).__name__ for answer in answers}
    assert kinds == {"ChatCompletion", "BadRequestError"}
    assert len((await using.batches.list(custom_llm_provider="shaky")).data) == 1


async def test_a_request_that_cannot_be_sent_is_said_at_once(using, model):
    with pytest.raises(UsageError, match="cannot stream"):
        await gather([ask(model, "x", stream=True), ask(model, "y")], using=using)
    with pytest.raises(UnknownAccountError, match="nobody"):
        await gather([ask(model, "x"), ask(model, "y")], using=using, provider="nobody")
    assert await made(using) == 0


async def test_outside_it_the_client_is_an_ordinary_one():
    async with (
        serve_sandbox() as sandbox,
        openai.AsyncOpenAI(api_key="sk-any", base_url=sandbox.url, http_client=http_client()) as client,
    ):
        assert (await client.files.list()).data == []


async def test_a_cancelled_gather_cancels_its_calls(using, model):
    ended = []

    async def never():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    work = asyncio.create_task(gather([never(), never()], using=using))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert ended == [True, True]


async def test_code_without_a_loop_and_notebooks_can_run_it():
    async def five():
        return 5

    assert run(five()) == 5
    assert await asyncio.to_thread(lambda: run(five())) == 5
