"""Clocks that jump by days leave no lease stuck and settle nothing twice."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchmeter.cli.ledger_check import check
from batchmeter.ledger import open_ledger
from batchmeter.ledger.records import Intent, Reschedule

DAYS = 5 * 24 * 3600.0


async def test_what_a_fast_clock_leased_is_found_when_it_is_set_back(ledger, make, clock):
    planned, held = await make.record(ledger), await make.record(ledger)
    clock.advance(DAYS)
    claims = await ledger.claim_due(owner="fast", limit=2, lease_seconds=60)
    await ledger.reschedule([Reschedule(claims[0], clock.now + 60_000)])
    assert len(await ledger.claim_deliveries("file", owner="fast", limit=9, lease_seconds=60)) == 2
    clock.advance(-DAYS)
    assert await ledger.claim_due(owner="w", limit=9, lease_seconds=60) == []
    assert await ledger.correct_times() == 4
    found = await ledger.claim_due(owner="w", limit=9, lease_seconds=60)
    assert {claim.tracked.batch_id for claim in found} == {planned.batch_id, held.batch_id}
    assert len(await ledger.claim_deliveries("file", owner="w", limit=9, lease_seconds=60)) == 2
    assert await make.settle_claim(ledger, claims[1]) is False, "the fast clock's holder has lost it"
    assert [await make.settle_claim(ledger, claim) for claim in found] == [True, True]
    assert await ledger.correct_times() == 0
    assert (await check(ledger)).sound


async def test_a_jump_ahead_lets_one_of_two_holders_settle(ledger, make, clock):
    await make.record(ledger)
    (slow,) = await ledger.claim_due(owner="slow", limit=1, lease_seconds=60)
    clock.advance(DAYS)
    (other,) = await ledger.claim_due(owner="other", limit=1, lease_seconds=60)
    assert [await make.settle_claim(ledger, claim) for claim in (slow, other, other)] == [False, True, False]
    assert len(await ledger.events(types=["batch_success"])) == 1


async def test_one_batch_is_claimed_though_its_lease_ends_in_days(ledger, make, clock):
    tracked = await make.record(ledger)
    clock.advance(DAYS)
    await ledger.claim_due(owner="fast", limit=1, lease_seconds=60)
    clock.advance(-DAYS)
    assert await ledger.claim(tracked.account, tracked.batch_id, owner="w", lease_seconds=60) is not None


async def test_creates_and_answers_of_a_fast_clock_are_found(ledger, make, clock):
    clock.advance(DAYS)
    await ledger.open_intent(Intent("i1", make.submission()))
    assert (await ledger.reserve_answer("key", "name", lease_seconds=60)).state == "mine"
    clock.advance(-DAYS)
    assert [intent.id for intent in await ledger.open_intents(created_before=clock.now)] == ["i1"]
    assert (await ledger.reserve_answer("key", "name", lease_seconds=60)).state == "mine"
    assert (await ledger.reserve_answer("key", "name", lease_seconds=60)).state == "busy"


FAST = """
import asyncio, os, sys
from batchmeter.ledger import open_ledger

async def main():
    ledger = open_ledger(sys.argv[1])
    await ledger.open()
    assert await ledger.claim_due(owner="fast", limit=9, lease_seconds=60)
    os._exit(9)  # killed with its lease

asyncio.run(main())
"""


async def test_a_worker_killed_under_a_fast_clock_is_replaced(tmp_path, make):
    program = shutil.which("faketime")
    if program is None:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    path = tmp_path / "ledger.db"
    ledger = open_ledger(str(path))
    await ledger.open()
    tracked = await make.record(ledger)
    environ = {**os.environ, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": str(Path.cwd())}
    command = [program, "-f", "+5d", sys.executable, "-c", FAST, str(path)]
    done = await asyncio.to_thread(subprocess.run, command, env=environ, check=False)
    assert done.returncode == 9
    held = await ledger.get_batch(tracked.batch_id)
    assert held.next_poll_at > ledger.now() + DAYS * 900
    await ledger.correct_times()
    (claim,) = await ledger.claim_due(owner="w", limit=9, lease_seconds=60)
    assert await make.settle_claim(ledger, claim)
    await ledger.aclose()
