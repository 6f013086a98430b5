"""SQLite ledgers whose writes were cut off in the middle, and ledgers that have grown large."""

import random
import re
import shutil
import sqlite3

import pytest

from batchmeter.cli.ledger_check import check
from batchmeter.ledger import open_ledger
from batchmeter_sqlite.database import statements


async def test_a_write_cut_off_at_any_byte_leaves_a_sound_ledger(tmp_path, make):
    """The disk's contents after a power cut: the file, and the log up to some byte."""
    whole = tmp_path / "whole.db"
    ledger = open_ledger(str(whole))
    await ledger.open()
    for number in range(30):
        tracked = await make.record(ledger, batch=make.batch(f"b{number}"))
        if number % 2:
            await make.settle(ledger, tracked)
    log = whole.with_name("whole.db-wal").read_bytes()
    chance, kept = random.Random(3), []
    for number in range(12):
        cut = tmp_path / f"cut{number}.db"
        shutil.copyfile(whole, cut)
        size = len(log) if number == 0 else chance.randrange(len(log))
        cut.with_name(f"cut{number}.db-wal").write_bytes(log[:size])
        kept.append((size, await survivors(cut)))
    await ledger.aclose()
    assert kept[0][1] == 30
    counts = [count for _, count in sorted(kept)]
    assert counts == sorted(counts), "the more of the log there is, the more is known"
    assert len(set(counts)) > 3


async def survivors(path) -> int:
    ledger = open_ledger(str(path))
    await ledger.open()
    health, batches = await check(ledger), await ledger.list_batches(limit=100)
    await ledger.aclose()
    assert health.sound, health
    names = sorted((tracked.batch_id for tracked in batches), key=lambda name: int(name[1:]))
    assert names == [f"b{number}" for number in range(len(names))], "in order, without a gap"
    return len(names)


CLAIMS = {
    "due_batches": {"account": "a", "now": 1, "limit": 100},
    "claim_batches": {"pk": 1, "now": 1, "lease": 1, "owner": "w", "limit": 100},
    "claim_batch": {"account": "a", "batch_id": "b", "now": 1, "lease": 1, "owner": "w", "horizon": 1},
    "next_due": {"account": "a"},
    "renew_claims": {"account": "a", "batch_id": "b", "token": 1, "now": 1, "lease": 1},
    "settle_batch": {
        "account": "a",
        "batch_id": "b",
        "token": 1,
        "now": 1,
        "known_usd": 0,
        "unpriced_lines": 0,
        "ended": 1,
        "snapshot": "",
        "snapshot_digest": None,
        "status": "",
        "place": 0,
    },
    "owed_to": {"logger": "l"},
    "open_accounts": {},
    "claim_deliveries": {"logger": "l", "now": 1, "lease": 1, "owner": "w", "limit": 100},
    "next_delivery": {"logger": "l"},
    "put_off": {"account": "a", "batch_id": "b", "now": 1, "next_poll_at": 2, "asked": 1},
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_no_claim_reads_a_whole_table(name, tmp_path):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(str(path))
    await ledger.open()
    await ledger.aclose()
    connection = sqlite3.connect(path)
    sql = statements()[name].text(CLAIMS[name])
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", CLAIMS[name])]
    connection.close()
    assert plan
    tables = r"\b(batch|b|delivery|d|event|e|first|settlement|s)\b"
    assert [step for step in plan if re.match(rf"SCAN {tables}", step) and "USING" not in step] == []
