"""The sandbox exists where it is configured, and nowhere else; what it stores is bounded."""

import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import APIStatusError, UnknownAccountError

CHAT = "/v1/chat/completions"
SPELLINGS = [
    ("/sandbox/v1/files", {}, {}),
    ("/v1/files", {"custom-llm-provider": "sandbox"}, {}),
    ("/v1/files?custom_llm_provider=sandbox", {}, {}),
    ("/v1/files", {}, {"provider": "sandbox"}),
]


@pytest.mark.parametrize(("path", "headers", "field"), SPELLINGS)
@pytest.mark.parametrize("rights", [{}, {"admin": True}], ids=["plain", "admin"])
async def test_an_unconfigured_sandbox_is_no_account(caller, lines, rights, path, headers, field):
    ada = await caller(**rights)
    answer = await ada.http.post(
        path,
        data={"purpose": "batch", **field},
        files={"file": ("in.jsonl", lines(1))},
        headers={"authorization": f"Bearer {ada.secret}", **headers},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_account")


@pytest.mark.parametrize(
    "named",
    [{"accounts": {"sandbox": {}}}, {"default_account": "sandbox"}, {"models": {"gpt-4o-mini": "sandbox"}}],
    ids=lambda named: next(iter(named)),
)
async def test_a_sandbox_that_the_settings_name_answers(lines, named):
    async with AsyncClient(settings=Settings(ledger=":memory:", track=False, load=(), **named)) as client:
        file = await client.files.create(file=("in.jsonl", lines(1)), custom_llm_provider="sandbox")
        assert (await client.files.retrieve(file.id)).bytes == len(lines(1))


async def test_an_unconfigured_sandbox_answers_no_call_of_the_sdk(lines):
    async with AsyncClient(settings=Settings(ledger=":memory:", track=False, load=())) as client:
        with pytest.raises(UnknownAccountError, match=r"add \[accounts.sandbox\]"):
            await client.files.create(file=("in.jsonl", lines(1)), custom_llm_provider="sandbox")


async def test_a_full_sandbox_refuses_uploads(lines):
    size = len(lines(100))
    settings = Settings(
        ledger=":memory:",
        track=False,
        load=(),
        default_account="sandbox",
        accounts={"sandbox": {"max_bytes": 2 * size}},
    )
    async with AsyncClient(settings=settings) as client:
        first = await client.files.create(file=("in.jsonl", lines(100)))
        with pytest.raises(APIStatusError) as caught:
            await client.files.create(file=("in.jsonl", lines(100)))
        assert (caught.value.status_code, caught.value.code) == (413, "storage_full")
        assert [file.id for file in await client.files.list()] == [first.id], "nothing is left of it"
        await client.files.delete(first.id)
        await client.files.create(file=("in.jsonl", lines(100)))
