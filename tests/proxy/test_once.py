"""Idempotency keys: held while their work goes on, free soon after a process died over it."""

import asyncio
import time

import pytest

import openai
from batchmeter.errors import LedgerError
from batchmeter_proxy import idempotency
from batchmeter_proxy.reservation import LEASE, held


async def test_a_process_that_died_mid_upload_frees_its_key_within_seconds(sdk, lines, client, monkeypatch):
    monkeypatch.setattr(idempotency, "_LOOKS", 1)
    monkeypatch.setattr(idempotency, "_LOOK_SECONDS", 0)
    now = [time.time_ns() // 1_000_000]
    monkeypatch.setattr(client.ledger.database, "_clock", lambda: now[0])
    await client.ledger.reserve_answer("files openai", "a", lease_seconds=LEASE)
    upload = {"file": ("in.jsonl", lines(1)), "purpose": "batch", "extra_headers": {"Idempotency-Key": "a"}}
    with pytest.raises(openai.ConflictError) as caught:
        await sdk.files.create(**upload)
    assert caught.value.code == "idempotency_key_in_use"
    now[0] += 16_000
    assert (await sdk.files.create(**upload)).bytes > 0


class Kept:
    """A ledger that counts, and fails at first."""

    def __init__(self):
        self.renewed, self.often = [], asyncio.Event()

    async def renew_answer(self, scope, name, *, lease_seconds):
        self.renewed.append((scope, name, lease_seconds))
        if len(self.renewed) == 1:
            raise LedgerError("away for a moment")
        if len(self.renewed) == 3:
            self.often.set()


async def test_a_reservation_is_renewed_as_long_as_the_work_takes():
    ledger = Kept()
    async with held(lambda seconds: ledger.renew_answer("files ", "a", lease_seconds=seconds), lease=0.03):
        await asyncio.wait_for(ledger.often.wait(), 10)
    count = len(ledger.renewed)
    await asyncio.sleep(0)
    assert ledger.renewed == [("files ", "a", 0.03)] * count
