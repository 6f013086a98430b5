"""A full token queue, in both of its forms: a create that is refused, and a batch that fails. Tried again when asked."""

import asyncio
from dataclasses import replace

import httpx2
import pytest

import batchmeter
from batchmeter import errors
from batchmeter.ledger import serialize
from batchmeter.models import Attribution
from batchmeter.rerun.rerun import retry
from batchmeter.testing.providers import lines_of
from batchmeter.tracker.metadata_tag import RETRY_OF
from batchmeter_proxy import create_app

from .site import Site, endings, pass_time, submitted, turn

FULL = "token_limit_exceeded"


@pytest.fixture
def site(azure, tmp_path, monkeypatch):
    monkeypatch.setenv("BATCHMETER_PLUGINS", "azure")
    return Site(azure, str(tmp_path / "ledger.db"))


async def test_a_refused_create_is_tried_again(site, azure):
    azure.full = 3
    async with site.client() as client:
        batch = await submitted(client, idempotency_key="once")
        assert batch.status == "validating"
        assert site.clock.naps == [15.0, 30.0, 60.0]
        assert len(azure.batches) == 1
        assert (await client.ledger.intent_of("azure", "once")).batch_id == batch.id
        assert (await submitted(client, idempotency_key="once")).id == batch.id


async def test_a_refused_create_is_given_up_in_the_end(site, azure):
    azure.full = 1000
    async with site.client(retry_queue_full=1000) as client:
        with pytest.raises(errors.BadRequestError, match="Enqueued token limit"):
            await submitted(client)
        assert 700 < sum(site.clock.naps) <= 1000
        assert await client.ledger.open_intents(created_before=site.clock.now + 1) == []


async def test_a_call_may_refuse_to_wait_and_the_proxys_do(site, azure):
    azure.full = 2
    async with site.client() as client:
        with pytest.raises(errors.BadRequestError, match="Enqueued token limit"):
            await submitted(client, wait_for_room=False)
        file = await client.files.create(file=("a.jsonl", lines_of(1, "batch4o")), purpose="batch")
        transport = httpx2.ASGITransport(create_app(client))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            body = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            answer = await http.post("/v1/batches", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, FULL)
            assert (await http.post("/v1/batches", json=body)).status_code == 200
    assert site.clock.naps == []


async def test_a_refused_create_is_raised_at_once_by_default(site, azure):
    azure.full = 1
    async with site.client(retry_queue_full=0) as client:
        with pytest.raises(errors.BadRequestError, match="Enqueued token limit"):
            await submitted(client)
    assert site.clock.naps == []


async def test_a_batch_that_fails_for_it_is_submitted_again_until_there_is_room(site, azure):
    azure.fails, azure.fails_left = FULL, 3
    async with site.client() as client:
        first = await submitted(
            client,
            attribution=Attribution(user="ada", tags=("nightly",)),
            traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
            output_expires_after={"anchor": "created_at", "seconds": 1_209_600},
            extra_body={"priority": 7},
        )
        await pass_time(site, client, minutes=30)
        assert site.statuses() == ["failed", "failed", "failed", "completed"]
        ids = list(azure.batches)
        assert sorted(await endings(client)) == sorted(
            [*(("batch_failure", name) for name in ids[:3]), ("batch_success", ids[3])]
        )
        created = [one.event for one in await client.ledger.events(types=["acreate_batch"])]
        assert [event.batch_id for event in created] == ids
        assert {(event.attribution.user, event.attribution.tags) for event in created} == {("ada", ("nightly",))}
        assert {event.traceparent for event in created} == {created[0].traceparent}
        assert created[0].traceparent.startswith("00-111")
    bodies = site.creates()
    assert bodies[0].pop("metadata") == {"team": "search"}
    assert all(body.pop("metadata") == {"team": "search", RETRY_OF: first.id} for body in bodies[1:])
    assert bodies[0]["priority"] == 7
    assert bodies == [bodies[0]] * 4, "the same request"


async def test_the_pauses_grow_along_the_chain(site, azure):
    azure.fails = FULL
    async with site.client() as client:
        await submitted(client)
        await pass_time(site, client, minutes=58)
        batches = await client.ledger.list_batches()
        made = sorted(one.recorded_at for one in batches)
        ended = sorted(one.settled_at for one in batches if one.settled_at is not None)  # the last may be open still
        gaps = [(later - earlier) / 1000 for earlier, later in zip(ended, made[1:], strict=False)]
        least = [15, 30, 60, 120, 240, 300, 300, 300]
        assert len(gaps) >= 6
        assert all(gap >= pause for gap, pause in zip(gaps, least, strict=False))
        assert all(gap <= pause + 120 for gap, pause in zip(gaps, least, strict=False))


async def test_when_the_time_is_used_up_it_stays_failed(site, azure):
    azure.fails = FULL
    async with site.client(retry_queue_full=600) as client:
        await submitted(client)
        await pass_time(site, client, minutes=11)
        tries = len(azure.batches)
        assert 3 <= tries <= 6
        await pass_time(site, client, minutes=60)
        assert len(azure.batches) == tries
        assert site.statuses() == ["failed"] * tries
        assert len(await endings(client)) == tries
        assert await client.ledger.open_intents(created_before=site.clock.now + 1) == []


async def test_nothing_of_it_by_default(site, azure):
    azure.fails = FULL
    async with site.client(retry_queue_full=0) as client:
        batch = await submitted(client)
        await pass_time(site, client, minutes=30)
        assert await endings(client) == [("batch_failure", batch.id)]
        assert (await client.ledger.get_batch(batch.id)).submission.again is None
    assert len(azure.batches) == 1


async def test_a_batch_that_fails_for_another_reason_stays_failed(site, azure):
    azure.fails = "invalid_json_line"
    async with site.client() as client:
        await submitted(client)
        await pass_time(site, client, minutes=30)
    assert len(azure.batches) == 1


async def test_a_restart_goes_on_where_it_stopped(site, azure):
    azure.fails, azure.fails_left = FULL, 2
    async with site.client() as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        assert len(azure.batches) == 1
    site.clock.now += 300_000
    async with site.client() as client:
        await turn(client)
        assert len(azure.batches) == 2
    async with site.client() as client:
        await turn(client)
        assert len(azure.batches) == 2, "it has its successor"
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "failed", "completed"]


async def test_two_trackers_make_one_successor(site, azure):
    azure.fails, azure.fails_left = FULL, 2
    async with site.client() as one, site.client() as other:
        await submitted(one)
        await pass_time(site, one, other, minutes=20)
        assert site.statuses() == ["failed", "failed", "completed"]
        assert len(await endings(one)) == 3


async def test_a_successor_that_is_refused_is_tried_again(site, azure):
    azure.fails, azure.fails_left = FULL, 1
    async with site.client() as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        azure.full = 2
        await pass_time(site, client, minutes=20)
        assert azure.full == 0
        assert site.statuses() == ["failed", "completed"]


async def test_a_successor_whose_input_is_gone_is_given_up(site, azure, caplog):
    azure.fails = FULL
    async with site.client() as client:
        batch = await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        azure.files.clear()
        await pass_time(site, client, minutes=20)
        assert list(azure.batches) == [batch.id]
        assert await client.ledger.open_intents(created_before=site.clock.now + 1) == []
    assert caplog.text.count("not submitted again, it stays failed") == 1


async def test_a_successor_whose_answer_was_lost_is_found_not_made_again(site, azure, monkeypatch):
    azure.fails, azure.fails_left = FULL, 1
    async with site.client(max_retries=0) as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        provider = client.accounts.get("azure")
        create = provider.create_batch

        async def lost(request, options):
            await create(request, options)
            raise errors.APITimeoutError("no answer in time")

        monkeypatch.setattr(provider, "create_batch", lost)
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "completed"]
        assert len(await endings(client)) == 2


async def test_metadata_without_room_goes_as_it_was(site, azure):
    azure.fails, azure.fails_left = FULL, 1
    metadata = {f"key-{number}": "x" for number in range(16)}
    async with site.client() as client:
        first = await submitted(client, metadata=metadata)
        await pass_time(site, client, minutes=20)
        *_, created = await client.ledger.events(types=["acreate_batch"])
        assert created.event.metadata == {**metadata, RETRY_OF: first.id}, "the ledger has room"
    assert [body["metadata"] for body in site.creates()] == [metadata, metadata]


async def test_a_run_waits_for_room(site, azure):
    azure.fails, azure.fails_left = FULL, 2
    requests = {"a": "one", "b": "two"}
    async with site.client() as client:
        results = await batchmeter.arun(requests, model="batch4o", using=client)
        assert site.statuses() == ["failed", "failed", "completed"]
        assert {name: result.text for name, result in results.items()} == {"a": "ok", "b": "ok"}
        await batchmeter.arun(requests, model="batch4o", using=client)
    assert len(azure.batches) == 3, "the same run finds the batch that ran"


async def test_a_run_says_that_it_found_no_room(site, azure):
    azure.fails = FULL
    async with site.client(retry_queue_full=100) as client:
        results = await batchmeter.arun(["one"], model="batch4o", using=client)
        assert results.settlement.status == "failed"
        assert len(azure.batches) == 3


async def test_a_worker_that_dies_before_its_create_costs_a_while_not_the_batch(site, azure, monkeypatch):
    azure.fails, azure.fails_left = FULL, 1
    async with site.client() as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        reached = asyncio.Event()

        async def dying(request, options):
            reached.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(client.accounts.get("azure"), "create_batch", dying)
        site.clock.now += 60_000
        work = asyncio.create_task(turn(client))
        await reached.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    async with site.client() as client:
        await pass_time(site, client, minutes=10)
        assert len(azure.batches) == 1, "it may still turn up"
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "completed"]


async def test_what_a_tracker_has_submitted_again_is_not_retried(site, azure):
    azure.fails, azure.fails_left = FULL, 2
    async with site.client() as client:
        first = await submitted(client)
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "failed", "completed"]
        *_, last = azure.batches
        made = await retry(client, first.id)
        assert (made.new, made.batch.id, set(made.before.values())) == (False, last, {last})
        assert len(azure.batches) == 3


async def test_what_was_retried_is_not_submitted_again_by_a_tracker(site, azure):
    azure.fails, azure.fails_left = FULL, 2
    async with site.client() as client:
        first = await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        made = await retry(client, first.id)
        assert (made.requests, made.new) == (3, True)
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "failed", "completed"], "its own queue was full once more"
        *_, last = azure.batches
        assert (await retry(client, first.id)).batch.id == last
        assert len(azure.batches) == 3


class Guard:
    """Refuses what `refusals` holds, in turn."""

    def __init__(self):
        self.asked, self.dropped, self.refusals = [], [], []

    @batchmeter.hookimpl
    async def before_submit(self, submission, estimate):
        self.asked.append(submission)
        if self.refusals:
            raise self.refusals.pop(0)

    @batchmeter.hookimpl
    async def submit_dropped(self, submission, reason):
        self.dropped.append((submission.id, reason))


async def test_plugins_are_asked_before_each_successor(site, azure):
    """One that is refused for now is tried again; what was reserved for a create that the full queue refused is free."""
    azure.fails, azure.fails_left = FULL, 2
    guard = Guard()
    async with site.client(plugins=[guard]) as client:
        first = await submitted(client, attribution=Attribution(team="search"))
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        guard.refusals = [errors.SubmissionRefusedError("no more today"), RuntimeError("a bug")]
        azure.full = 1
        await pass_time(site, client, minutes=20)
        assert site.statuses() == ["failed", "failed", "completed"]
        made = [(await client.ledger.get_batch(name)).intent_id for name in azure.batches]
    ids = [one.id for one in guard.asked]
    assert (len(ids), len(set(ids))) == (6, 6), "each try is a submission of its own"
    assert {one.attribution.team for one in guard.asked} == {"search"}
    assert [one.metadata.get(RETRY_OF) for one in guard.asked] == [None] + [first.id] * 5
    assert set(made) < set(ids)
    ((dropped, reason),) = guard.dropped
    assert dropped in set(ids) - set(made)
    assert "Enqueued token limit" in reason


async def test_a_successor_is_owed_to_the_first_ones_callbacks(site, azure):
    azure.fails, azure.fails_left = FULL, 1
    async with site.client() as client:
        first = await submitted(client)
        assert "azure" in (await client.ledger.get_batch(first.id)).submission.callbacks
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        known = await client.ledger.get_batch(first.id)
        kept = replace(known.submission, callbacks=("on:app.tell",))
        await client.ledger.database.write(
            lambda session: session.run(
                session.statement("UPDATE batchmeter.batch SET submission = %(text)s WHERE batch_id = %(id)s"),
                text=serialize.dump_submission(kept),
                id=first.id,
            )
        )
        await pass_time(site, client, minutes=5)
        *_, last = azure.batches
        assert "on:app.tell" in (await client.ledger.get_batch(last)).submission.callbacks


async def test_a_failure_found_too_late_stays_failed(site, azure):
    azure.fails = FULL
    async with site.client() as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        site.clock.now += 2 * 3600 * 1000
        await pass_time(site, client, minutes=5)
    assert len(azure.batches) == 1


async def test_another_process_goes_on_where_the_account_is_missing(site, azure):
    azure.fails, azure.fails_left = FULL, 1
    async with site.client() as client:
        await submitted(client)
        while not await endings(client):
            await pass_time(site, client, minutes=1)
        async with site.client() as elsewhere:
            elsewhere.accounts.get = lambda name: (_ for _ in ()).throw(errors.UnknownAccountError("not here"))
            await elsewhere.deliverer.drain(60)
            site.clock.now += 60_000
            await elsewhere.deliverer.drain(60)
            assert len(azure.batches) == 1
        await pass_time(site, client, minutes=5)
        assert site.statuses() == ["failed", "completed"]
