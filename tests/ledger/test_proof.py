"""The promise in small: benchmarks/proof.py with 150 batches (BATCHMETER_PROOF_BATCHES for more)."""

import importlib.util
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from tests.warm_python import WARM

PROOF = Path(__file__).parents[2] / "benchmarks" / "proof.py"
BATCHES = int(os.environ.get("BATCHMETER_PROOF_BATCHES", "150"))


@pytest.fixture
def proof(monkeypatch):
    spec = importlib.util.spec_from_file_location("proof", PROOF)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "proof", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


async def test_killed_workers_and_a_restarted_database_leave_one_ending_a_batch(
    proof, postgres_cluster, emptied, tmp_path
):
    prove = partial(proof.prove, emptied(), batches=BATCHES, folder=str(tmp_path), lease=1.0, python=WARM)
    report = await prove(kills=6, restart=postgres_cluster.restart, every=(0.1, 0.5))
    assert (report.kills, report.restarts) == (6, 1)
    assert report.ended_once == BATCHES
    assert report.events == {
        "acreate_batch": BATCHES,
        "batch_success": BATCHES * 3 // 5,
        "batch_failure": BATCHES * 2 // 5,
    }
    assert (report.wrong, report.differing) == ({}, 0)
    assert report.owed == {"a": 2 * BATCHES, "b": 2 * BATCHES}
    assert report.usage == report.expected
    assert report.usage.output_tokens > BATCHES
    again = await prove(workers=1, kills=0)
    assert (again.holds, again.events) == (True, report.events), "going on from a whole one adds nothing"
