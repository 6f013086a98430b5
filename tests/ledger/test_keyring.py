"""The proxy's keyring on both engines: keys by their hash, limits counted exactly, places of open batches."""

import asyncio

import pytest

from batchmeter.access import Access
from batchmeter_proxy.keyring import KeyLimits, Keyring, ProxyKey

STORES = ("proxy",)

KEY = ProxyKey(
    id="key_1",
    name="nightly",
    owner="ada",
    team="search",
    tags=("eval",),
    accounts=("openai",),
    models=("gpt-5-mini",),
    limits=KeyLimits(requests_per_minute=60, open_batches=2, lines_per_day=1000),
    hint="wxyz",
    expires_at=1_900_000_000_000,
)


async def keyring_on(ledger):
    return await Keyring.open(Access(ledger))


@pytest.fixture
async def keyring(ledger):
    return await keyring_on(ledger)


async def test_a_key_comes_back_whole_by_its_hash(keyring, clock):
    assert await keyring.has_keys() is False
    stored = await keyring.add_key(KEY, secret_sha256="aa")
    assert stored == KEY.model_copy(update={"created_at": clock.now})
    assert await keyring.find_key("aa") == stored
    assert await keyring.find_key("ab") is None
    assert await keyring.keys() == [stored]
    assert await keyring.has_keys() is True


async def test_a_revoked_key_is_still_found_and_says_so(keyring, clock):
    await keyring.add_key(KEY, secret_sha256="aa")
    assert (await keyring.find_key("aa")).state(clock.now) == "active"
    assert (await keyring.find_key("aa")).state(KEY.expires_at) == "expired"
    assert await keyring.revoke_key("key_1") is True
    assert await keyring.revoke_key("key_1") is False
    assert await keyring.revoke_key("key_2") is False
    assert (await keyring.find_key("aa")).state(clock.now) == "revoked"
    assert await keyring.has_keys() is True, "revoking the last key opens nothing"


async def test_a_limit_is_counted_by_period_and_kind(keyring):
    await keyring.add_key(KEY, secret_sha256="aa")

    async def use(amount, period=1, what="lines_per_day", most=10):
        return await keyring.use_key("key_1", what, period=period, amount=amount, most=most)

    assert await use(11) is False
    assert [await use(6), await use(5), await use(4), await use(1)] == [True, False, True, False]
    assert await use(1, what="requests_per_minute") is True
    assert [await use(10, period=2), await use(1, period=2)] == [True, False]
    assert await use(5, period=2, most=15) is True


async def test_a_limit_holds_however_many_count_at_once(keyring, open_another):
    await keyring.add_key(KEY, secret_sha256="aa")
    both = (keyring, await keyring_on(await open_another()))
    tries = [both[n % 2].use_key("key_1", "requests_per_minute", period=7, amount=1, most=13) for n in range(40)]
    assert sum(await asyncio.gather(*tries)) == 13


async def test_what_is_counted_once_is_counted_once_and_given_back_once(keyring, open_another):
    await keyring.add_key(KEY, secret_sha256="aa")
    limit = {"period": 1, "most": 10}

    async def use(amount, once=None, by=keyring):
        return await by.use_key("key_1", "lines_per_day", amount=amount, once=once, **limit)

    other = await keyring_on(await open_another())
    assert all(await asyncio.gather(*(use(6, "a", by) for by in (keyring, other) * 5)))
    assert await use(5, "b") is False
    assert await use(4, "c") is True, "what was refused was not noted as counted"
    assert await use(1) is False
    back = {"period": 1, "amount": 6, "once": "a"}
    for _ in range(2):
        await keyring.return_key("key_1", "lines_per_day", **back)
    assert await use(6) is True
    assert await use(1) is False
    await keyring.return_key("key_1", "lines_per_day", period=9, amount=6)
    assert await use(1) is False, "another period's"


async def test_places_are_never_more_than_there_are(ledger, keyring, open_another, make, attribution, clock):
    await keyring.add_key(KEY, secret_sha256="aa")
    both = (keyring, await keyring_on(await open_another()))
    lease = {"most": 3, "lease_seconds": 15}
    got = await asyncio.gather(*(both[n % 2].take_place("key_1", f"p{n}", **lease) for n in range(12)))
    assert sorted(got) == ["mine"] * 3 + ["wait"] * 9
    assert await keyring.take_place("key_2", "p", **lease) == "mine", "each key has its own"
    clock.advance(10)
    kept = f"p{got.index('mine')}"
    await keyring.renew_place("key_1", kept, lease_seconds=15)
    clock.advance(10)
    assert await keyring.take_place("key_1", "q1", **lease) == "mine", "whoever had the others is gone"
    for number in range(2):
        await make.record(ledger, attribution=attribution, batch=make.batch(f"b{number}"))
    assert await keyring.take_place("key_1", "q2", **lease) == "wait"
    await keyring.leave_place("key_1", kept)
    await keyring.leave_place("key_1", "q1")
    assert await keyring.take_place("key_1", "q2", **lease) == "mine"
    await make.record(ledger, attribution=attribution)
    assert await keyring.take_place("key_1", "q3", **lease) == "full"
