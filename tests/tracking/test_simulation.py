"""The simulation of a million open batches, small: one account of a thousand, for ten minutes."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

OPEN, SECONDS, WARM = 1000, 600.0, 600.0


@pytest.fixture(scope="module")
def simulation():
    path = Path(__file__).parents[2] / "benchmarks" / "simulation.py"
    spec = importlib.util.spec_from_file_location("simulation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulation"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulation"]


@pytest.fixture(scope="module")
def ours(simulation):
    return simulation.follow(simulation.OURS, OPEN, SECONDS, 3, WARM)


def requests(account):
    return account.lists + account.looks


def share(account, part):
    return sorted(account.waits)[int(len(account.waits) * part)]


def test_endings_are_known_soon_and_cost_few_requests(ours):
    assert len(ours.waits) > 30
    assert share(ours, 0.5) < 40
    assert share(ours, 0.99) < 300
    assert requests(ours) < OPEN * SECONDS / 60 / 8, "an eighth of asking for each batch every minute"


def test_history_saves_requests_at_no_loss_of_time(simulation, ours):
    without = simulation.follow(replace(simulation.OURS, history=False), OPEN, SECONDS, 3, WARM)
    assert requests(ours) * share(ours, 0.9) < requests(without) * share(without, 0.9)


def test_webhooks_tell_at_once_and_spare_most_requests(simulation, ours):
    hooked = simulation.follow(simulation.WITH_WEBHOOKS, OPEN, SECONDS, 3, WARM)
    assert share(hooked, 0.5) < 4
    assert requests(hooked) < requests(ours) * 0.7


def test_the_verdict_can_fail(simulation, ours, capsys):
    options = argparse.Namespace(open=OPEN, accounts=1, minutes=SECONDS / 60, sample=1)
    row = simulation.report("ours", [ours], options) | {"p99_s": 100.0}

    def run(policy):
        rate, p50, p99 = row["requests_per_s"], row["p50_s"], row["p99_s"]
        return {"requests_per_s": rate * policy.pace.shortest / 100, "p50_s": p50, "p99_s": p99}

    hooked = row | {"requests_per_s": 0.1, "p50_s": 1.5}
    assert simulation.verdict(row, hooked, options, run)
    assert not simulation.verdict(row | {"p99_s": row["p99_s"] * 1.5}, hooked, options, run)
    assert not simulation.verdict(row, hooked | {"p50_s": 5.0}, options, run)
    assert "MISSES" in capsys.readouterr().out


def test_what_lies_between_two_paces_is_read_off_a_straight_line(simulation):
    rows = [{"requests_per_s": 100.0, "p50_s": 40.0}, {"requests_per_s": 400.0, "p50_s": 10.0}]
    assert simulation.between(rows, 200.0, "p50_s") == pytest.approx(20.0)
