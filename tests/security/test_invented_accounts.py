"""The sandbox exists where it is configured, and nowhere else; its storage is bounded, and its costs are in no sum."""

from functools import partial

import pytest
from tests.cases import case

from batchmeter import AsyncClient
from batchmeter.access import access_of
from batchmeter.config import Settings
from batchmeter.errors import APIStatusError, UnknownAccountError
from batchmeter.spend import check as spend_check
from batchmeter.spend import rolling
from batchmeter.spend.figures import Kind
from batchmeter.spend.prune import prune
from batchmeter.spend.spend import Spend
from batchmeter.spend.totals import Totals
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter.tracker.build_events import unreadable

CHAT = "/v1/chat/completions"
SPELLINGS = [
    ("/sandbox/v1/files", {}, {}),
    ("/v1/files", {"custom-llm-provider": "sandbox"}, {}),
    ("/v1/files?custom_llm_provider=sandbox", {}, {}),
    ("/v1/files", {}, {"provider": "sandbox"}),
]


async def test_an_unconfigured_sandbox_is_no_account(caller, lines):
    for rights in ({}, {"admin": True}):
        ada = await caller(**rights)
        for path, headers, field in SPELLINGS:
            with case(path, headers, field, rights):
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


async def run_batch(client, content, account="sandbox", script=""):
    file = await client.files.create(file=("in.jsonl", content), custom_llm_provider=account)
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint=CHAT,
        custom_llm_provider=account,
        metadata={"sandbox": script} if script else {},
    )
    return await client.batches.wait(batch.id, custom_llm_provider=account, timeout=30)


@pytest.fixture
async def both(ledger):
    """A sandbox of its own, and an account that is no sandbox as far as anybody can tell."""
    async with serve_sandbox(speed=1e9) as served:
        real = {"provider": "openai", "api_base": served.url, "api_key": "k", "max_retries": 0}
        accounts = {"openai": real, "sandbox": {"speed": 1e9}}
        settings = Settings(ledger=ledger, track=False, load=(), accounts=accounts)
        async with AsyncClient(settings=settings) as client:
            yield client


@pytest.mark.parametrize("script", ["", "outcome=failed", "outcome=cancelled done=0.5"])
async def test_a_sandbox_settlement_is_marked_however_it_ends(both, lines, script):
    settlement = await run_batch(both, lines(2), script=script)
    assert settlement.notes[-1] == "invented"
    events = await both.ledger.events(types=["batch_success", "batch_failure"], after=0, limit=10)
    assert [stored.event.invented for stored in events] == [True]


async def test_a_sandbox_whose_outputs_are_gone_is_marked(both, lines):
    file = await both.files.create(file=("in.jsonl", lines(2)), custom_llm_provider="sandbox")
    batch = await both.batches.create(input_file_id=file.id, endpoint=CHAT, custom_llm_provider="sandbox")
    (tracked,) = [await both.ledger.get_batch(batch.id, "sandbox")]
    settlement, _ = both.tracker.poller.ending(tracked, tracked.batch, unreadable(tracked.batch))
    assert settlement.notes == ("output_unavailable", "invented")


async def test_sums_and_metrics_leave_made_up_costs_out(both, lines):
    await run_batch(both, lines(5))
    access = await access_of(both)
    query = {"group_by": "account", "since": None, "until": None, "key": None, "limit": 10}
    only = await access.costs(**query)
    assert (only.total.batches, only.invented) == (1, 1), "a sandbox alone, as in a demo, shows what it would cost"
    assert only.total.known > 0

    real = await run_batch(both, lines(2), account="openai")
    mixed = await access.costs(**query)
    assert [(row.group, row.known) for row in mixed.data] == [("openai", real.cost.known)]
    assert (mixed.total.batches, mixed.invented) == (1, 1)
    gauges = await access.cost_gauges()
    assert {gauge.account: (gauge.settled, gauge.known_usd) for gauge in gauges} == {
        "openai": (1, float(real.cost.known)),
        "sandbox": (1, 0.0),
    }


async def every_row(kind, session):
    return [page async for page in rolling.stored_rows(session, kind, 0, 2**31 - 1)]


async def test_totals_leave_made_up_costs_out_pruned_or_not(both, lines):
    await run_batch(both, lines(5))
    real = await run_batch(both, lines(2), account="openai")
    expected = [("openai", real.cost.known)]
    assert await Spend(both.ledger).roll() == 2
    kind = Kind(0)
    async with both.ledger.database.snapshot() as snapshot:
        pages = await snapshot.read(partial(every_row, kind))
    assert [place[2].account for page in pages for place in page.sums] == ["openai"]
    later = both.ledger.now() + 120_000
    both.ledger.now = lambda: later
    assert [(one.account, one.known) for one in await Totals(both.ledger).read()] == expected
    assert await spend_check.check(both.ledger.database) == []
    await prune(both.ledger, settled_before=later)
    assert await spend_check.check(both.ledger.database) == []
    assert [(one.account, one.known) for one in await Totals(both.ledger).read()] == expected
