"""Intents and recorded batches: nothing submitted is ever unknown, nothing is recorded twice."""

import asyncio

from batchmeter.jobs.job_batches import _parts, note_parts
from batchmeter.ledger.records import Intent, Reschedule
from batchmeter.models import FileObject


async def test_an_intent_is_kept_with_all_it_knows(ledger, make, attribution, clock):
    submission = make.submission(attribution=attribution, endpoint="/v1/x", region="eu", traceparent="00-a-b-01")
    await ledger.open_intent(Intent("i1", submission, idempotency_key="k"))
    assert await ledger.intent("i1") == Intent("i1", submission, "k", clock.now)
    assert await ledger.intent("unknown") is None


async def test_the_same_idempotency_key_gives_the_first_intent(ledger, make):
    first = await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="k"))
    assert await ledger.open_intent(Intent("i2", make.submission(), idempotency_key="k")) == first
    assert await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="other")) == first
    assert (await ledger.open_intent(Intent("i3", make.submission("azure"), idempotency_key="k"))).id == "i3"
    assert (await ledger.open_intent(Intent("i4", make.submission()))).id == "i4"
    assert (await ledger.open_intent(Intent("i5", make.submission()))).id == "i5"


async def test_an_intent_is_found_by_its_key_until_it_is_closed(ledger, make):
    first = await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="k"))
    assert await ledger.intent_of(first.submission.account, "k") == first
    assert await ledger.intent_of("another", "k") is None
    await ledger.close_intent("i1", "refused")
    assert await ledger.intent_of(first.submission.account, "k") is None


async def test_concurrent_creates_with_one_key_agree_on_one_intent(ledger, open_another, make):
    ledgers = [ledger, await open_another(), await open_another()]
    intents = await asyncio.gather(
        *(ledgers[n % 3].open_intent(Intent(f"i{n}", make.submission(), idempotency_key="k")) for n in range(12))
    )
    assert len({intent.id for intent in intents}) == 1


async def test_creates_that_share_requests_agree_on_one_intent(ledger, open_another, make):
    """Seven keys for the choices of three reasons: those with a reason in common are rivals, whoever is first."""
    keys = ["a", "b", "c", "ab", "ac", "bc", "abc"]
    rivals = {key: tuple(other for other in keys if other != key and set(other) & set(key)) for key in keys}
    ledgers = [ledger, await open_another(), await open_another()]
    wanted = [Intent(f"i{n}", make.submission(), key, rivals=rivals[key]) for n, key in enumerate(keys * 3)]
    given = await asyncio.gather(*(ledgers[n % 3].open_intent(intent) for n, intent in enumerate(wanted)))
    stored = {intent.id: intent.idempotency_key for intent in given}
    assert sorted("".join(stored.values())) == sorted(set("".join(stored.values()))), "no reason is in two of them"
    for asked, got in zip(wanted, given, strict=True):
        assert set(asked.idempotency_key) & set(got.idempotency_key)
    for intent_id in stored:
        await ledger.close_intent(intent_id, "refused")
    assert (await ledger.open_intent(Intent("last", make.submission(), "abc", rivals=rivals["abc"]))).id == "last"
    assert (await ledger.open_intent(wanted[0])).id == "last", "a rival keeps a refused one from being tried again"


async def test_parts_that_processes_note_of_one_job_are_all_kept(ledger, open_another):
    ledgers = [ledger, await open_another(), await open_another()]
    await asyncio.gather(*(note_parts(ledgers[n % 3], "openai", "job", [f"part-{n}"]) for n in range(12)))
    assert sorted(await _parts(ledger, "openai", "job")) == sorted(f"part-{n}" for n in range(12))


async def test_open_intents_are_listed_oldest_first_until_closed(ledger, make, clock):
    for name in ("b", "a", "c"):
        await ledger.open_intent(Intent(name, make.submission()))
        clock.advance(1)
    before = clock.now - 500
    assert [i.id for i in await ledger.open_intents(created_before=before)] == ["b", "a", "c"]
    assert [i.id for i in await ledger.open_intents(created_before=before, limit=1)] == ["b"]
    assert [i.id for i in await ledger.open_intents(created_before=clock.now - 1500)] == ["b", "a"]
    await ledger.close_intent("a", "no such batch after 10 minutes")
    assert [i.id for i in await ledger.open_intents(created_before=before)] == ["b", "c"]
    closed = await ledger.intent("a")
    assert (closed.state, closed.reason) == ("closed", "no such batch after 10 minutes")


async def test_no_account_s_open_intents_wait_behind_another_s(ledger, make, clock):
    for name, account in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
        await ledger.open_intent(Intent(name, make.submission(account)))
        clock.advance(1)
    assert [i.id for i in await ledger.open_intents(created_before=clock.now, limit=2)] == ["a1", "a2", "b1"]
    assert [i.id for i in await ledger.open_intents(created_before=clock.now, account="b")] == ["b1"]


async def test_a_closed_intent_frees_its_key(ledger, make):
    await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="k"))
    await ledger.close_intent("i1", "400")
    assert (await ledger.open_intent(Intent("i2", make.submission(), idempotency_key="k"))).id == "i2"


async def test_a_closed_intent_whose_batch_turns_up_late_is_created_after_all(ledger, make):
    await ledger.open_intent(Intent("i1", make.submission(), idempotency_key="k"))
    await ledger.close_intent("i1", "not found")
    await ledger.open_intent(Intent("i2", make.submission(), idempotency_key="k"))
    batch = make.batch("late")
    await ledger.record_created(make.submission(), batch, make.created("openai", batch), next_poll_at=0, intent_id="i1")
    assert ((await ledger.intent("i1")).state, (await ledger.intent("i1")).batch_id) == ("created", "late")
    assert (await ledger.intent("i2")).state == "open"


async def test_recording_makes_batch_event_and_deliveries_at_once(ledger, make, attribution, clock):
    await ledger.open_intent(Intent("i1", make.submission()))
    submission = make.submission(attribution=attribution)
    batch = make.batch(custom={"kept": [1, None]})
    event = make.created("openai", batch)
    await make.subscribe(ledger, ["otel", "file"])
    tracked = await ledger.record_created(
        submission, batch, event, callbacks=["otel", "file"], next_poll_at=clock.now + 5, intent_id="i1"
    )
    assert tracked == await ledger.get_batch(batch.id)
    assert (tracked.submission, tracked.batch, tracked.intent_id) == (submission, batch, "i1")
    assert (tracked.recorded_at, tracked.next_poll_at, tracked.settled_at) == (clock.now, clock.now + 5, None)
    assert (await ledger.intent("i1")).state == "created"
    (stored,) = await ledger.events()
    assert stored.event == event
    assert stored.payload == event.model_dump_json().encode()
    assert [(d.logger, d.state) for d in await ledger.deliveries()] == [("file", "pending"), ("otel", "pending")]


async def test_recording_twice_changes_nothing_but_the_intent(ledger, make):
    batch = make.batch()
    first = await make.record(ledger, batch=batch, metadata={"from": "sweep"})
    await ledger.open_intent(Intent("i1", make.submission()))
    again = await ledger.record_created(
        make.submission(), batch, make.created("openai", batch), callbacks=["x"], next_poll_at=9, intent_id="i1"
    )
    assert (again.submission, again.next_poll_at) == (first.submission, first.next_poll_at)
    assert again.intent_id == "i1"
    assert (await ledger.intent("i1")).batch_id == batch.id
    assert len(await ledger.events()) == len(await ledger.deliveries()) == 1


async def test_adopted_while_its_creator_records_it_is_one_batch(ledger, open_another, make):
    other = await open_another()
    for number in range(8):
        batch, name = make.batch(f"b{number}"), f"i{number}"
        await ledger.open_intent(Intent(name, make.submission()))
        given = (batch, make.created("openai", batch))
        found = make.submission(adopted=True)
        await asyncio.gather(
            ledger.record_created(make.submission(), *given, next_poll_at=9, intent_id=name),
            *(one.record_created(found, *given, next_poll_at=9) for one in (other, ledger, other)),
        )
        assert (await ledger.get_batch(batch.id)).intent_id == name
        assert (await ledger.intent(name)).batch_id == batch.id
        assert len(await ledger.events(batch_id=batch.id)) == 1
    assert len(await ledger.list_batches()) == 8


async def test_ids_are_opaque(ledger, make):
    strange = ["a/b", "'; DROP TABLE batch --", "%", "日本 🎉", "x" * 500, " ", "a:b\nc", "%(id)s", "\\x00"]
    for account in strange:
        await make.record(ledger, account, make.batch(account))
    for account in strange:
        assert (await ledger.get_batch(account, account)).submission.account == account
    assert len(await ledger.list_batches(limit=100)) == len(strange)


async def test_lone_surrogates_from_a_provider_do_not_stop_recording(ledger, make):
    batch = make.batch(note="half an emoji: \ud83d")
    await make.record(ledger, batch=batch)
    assert (await ledger.get_batch(batch.id)).batch == batch
    assert (await ledger.events())[0].event.batch == batch


async def test_one_batch_id_may_exist_in_two_accounts(ledger, make):
    await make.record(ledger, "a", make.batch("same"))
    await make.record(ledger, "b", make.batch("same"))
    assert (await ledger.get_batch("same")).account == "b"
    assert (await ledger.get_batch("same", "a")).account == "a"
    assert await ledger.get_batch("same", "c") is None
    assert await ledger.get_batch("other") is None


async def test_batches_are_listed_newest_first_in_pages(ledger, make):
    for number in range(5):
        await make.record(ledger, "even" if number % 2 == 0 else "odd", make.batch(f"b{number}"))
    await make.settle(ledger, await ledger.get_batch("b4"))
    await ledger.observe("odd", make.batch("b3", "expired"))

    async def listed(**filters):
        return [tracked.batch_id for tracked in await ledger.list_batches(**filters)]

    assert await listed() == ["b4", "b3", "b2", "b1", "b0"]
    assert await listed(limit=2) == ["b4", "b3"]
    assert await listed(after="b3", limit=2) == ["b2", "b1"]
    assert await listed(account="even", after="b4") == ["b2", "b0"]
    assert await listed(settled=True) == ["b4"]
    assert await listed(settled=False, limit=2) == ["b3", "b2"]
    assert await listed(statuses=["expired", "completed"]) == ["b4", "b3"]
    assert await listed(statuses=[]) == []
    assert await listed(after="unknown") == []


async def test_files_belong_to_accounts_and_people(ledger, make, attribution):
    await ledger.record_file("openai", FileObject(id="file_in"), attribution=attribution)
    await ledger.record_file("openai", FileObject(id="file_in", bytes=7))
    assert await ledger.account_of("file_in") == "openai"
    owner = await ledger.owner_of("file_in")
    assert (owner.account, owner.attribution) == ("openai", attribution)
    assert await ledger.owner_of("file_in", "azure") is None
    await ledger.forget_file("azure", "file_in")
    assert await ledger.account_of("file_in") == "openai"
    await ledger.forget_file("openai", "file_in")
    assert await ledger.account_of("file_in") is None
    assert await ledger.account_of("nothing") is None


async def test_output_files_belong_to_their_batch_s_submitter(ledger, make, attribution):
    await make.record(ledger, "azure", make.batch("b1"), attribution=attribution)
    assert await ledger.account_of("b1") == "azure"
    await ledger.observe("azure", make.batch("b1", "completed", output_file_id="out", error_file_id="err"))
    assert await ledger.account_of("out") == "azure"
    assert (await ledger.owner_of("err")).attribution == attribution
    assert (await ledger.owner_of("b1")).attribution == attribution


async def test_an_id_is_found_under_every_account_that_has_it_newest_first(ledger, make):
    batch = make.batch()
    for account in ("openai", "gateway"):
        await make.record(ledger, account, batch)
    await make.record(ledger)
    assert [tracked.account for tracked in await ledger.batches_of_id(batch.id)] == ["gateway", "openai"]
    assert await ledger.batches_of_id("unknown") == []


async def record_again(ledger, make, batch):
    """As a server does that counts its ids from 1 again."""
    event = make.created("openai", batch)
    return await ledger.record_created(make.submission(), batch, event, next_poll_at=ledger.now())


async def test_two_that_record_a_reused_id_keep_both_batches(ledger, make, open_another):
    ledgers = [ledger, await open_another()]
    for number in range(4):
        first = make.batch(f"b{number}", created_at=1, input_file_id="in-1")
        second = make.batch(f"b{number}", created_at=2, input_file_id="in-2")
        await record_again(ledger, make, first)
        recorded = await asyncio.gather(*(record_again(one, make, second) for one in ledgers * 3))
        assert {tracked.batch.created_at for tracked in recorded} == {2}
        known = [one for one in await ledger.list_batches() if one.batch.id == f"b{number}"]
        assert sorted((one.batch.created_at, one.batch_id == one.batch.id) for one in known) == [(1, False), (2, True)]
        events = await ledger.events(types=["acreate_batch"])
        assert len(events) == len({stored.event.id for stored in events}) == 2 * (number + 1)


async def test_a_claim_of_an_earlier_batch_settles_none_with_its_id(ledger, make):
    await record_again(ledger, make, make.batch("b1", created_at=1, input_file_id="in-1"))
    old = await ledger.claim("openai", "b1", owner="w", lease_seconds=60)
    await record_again(ledger, make, make.batch("b1", created_at=2, input_file_id="in-2"))
    new = await ledger.claim("openai", "b1", owner="v", lease_seconds=60)
    assert (old.tracked.batch.created_at, new.tracked.batch.created_at) == (1, 2)
    assert await ledger.renew([old], lease_seconds=60) == []
    assert await ledger.reschedule([Reschedule(old, ledger.now() + 1000)]) == 0
    assert not await make.settle_claim(ledger, old)
    assert (await ledger.get_batch("b1")).settled_at is None
    assert await make.settle_claim(ledger, new)
