"""Repricing from the ledger's groups equals metering the file again."""

from typing import Any

import pytest

from batchmeter import meter
from batchmeter.events import Outcome
from batchmeter.metering import Job, Metering
from batchmeter.pricing.groups import Rates
from batchmeter.reports.price_again import reprice

from . import lines_of
from .prices import FLAT, RATES, Flat

USAGE = {"prompt_tokens": 2_000, "completion_tokens": 5}
LINES = lines_of.numbered(
    [
        lines_of.openai("m", USAGE),
        lines_of.openai("m", {"completion_tokens": 0, "prompt_tokens": 1}),
        lines_of.openai("unpriced-1", USAGE),
        lines_of.openai(None, USAGE),
        lines_of.openai("m", None),
        lines_of.openai("n", {"completion_tokens": 0, "prompt_tokens": -1}),
        lines_of.openai("omni-moderation-latest", None),
        lines_of.openai_failed(),
    ]
)


class Dear(Flat):
    """Everything is known, at twice the price."""

    def rates(self, query: Any) -> Rates | None:
        return Rates({bucket: 2 * rate for bucket, rate in RATES.items()})


def outcome(metering: Metering) -> Outcome:
    return Outcome(
        status="completed",
        request_counts=metering.lines,
        usage=metering.usage,
        cost=metering.cost,
        models=metering.models,
        notes=metering.notes,
        rates=metering.rates,
    )


@pytest.mark.parametrize("prices", [FLAT, Dear()])
def test_reprice_equals_metering_again(prices: Flat):
    first = meter([lines_of.dump(*LINES)], prices=FLAT, priced_at="2026-11-10")
    again = meter([lines_of.dump(*LINES)], prices=prices, priced_at="2026-11-10")

    found = reprice(outcome(first), first.groups, Job(prices=prices, priced_at=again.cost.priced_at))

    assert first.cost.unknown == {"unknown_model": 2, "usage_invalid": 1, "usage_missing": 1}
    assert (found.cost, found.lines, found.usage) == (again.cost, again.lines, again.usage)
    assert found.models == again.models


def test_a_batch_that_could_not_be_read_stays_unknown():
    lost = meter([], prices=FLAT).cost.model_copy(update={"total": None, "unknown": {"output_unavailable": 3}})

    found = reprice(Outcome(status="completed", cost=lost), {}, Job(prices=FLAT))

    assert found.cost.total is None
    assert found.cost.unknown == {"output_unavailable": 3}


def test_what_is_in_no_file_is_no_unpriced_line():
    first = meter([lines_of.dump(*LINES)], prices=FLAT, priced_at="2026-11-10")
    settled = outcome(first)
    unknown = {**settled.cost.unknown, "lines_missing": 3, "lines_malformed": 2}
    settled = settled.model_copy(update={"cost": settled.cost.model_copy(update={"unknown": unknown})})

    same = reprice(settled, first.groups, Job(prices=FLAT, priced_at=first.cost.priced_at))
    dear = reprice(settled, first.groups, Job(prices=Dear(), priced_at=first.cost.priced_at))

    assert (same.cost, same.lines) == (settled.cost, settled.request_counts)
    assert dear.lines.unpriced == 3
    assert dear.cost.unknown == {
        "unknown_model": 1,
        "usage_invalid": 1,
        "usage_missing": 1,
        "lines_missing": 3,
        "lines_malformed": 2,
    }


class Dropped(Flat):
    """A newer book, which knows one model no longer, and of the other no output."""

    def rates(self, query: Any) -> Rates | None:
        return Rates({"input": RATES["input"] * 3}) if query.model == "m" else None


def test_what_the_book_has_dropped_keeps_the_settlements_rates():
    lines = [lines_of.openai(model, {"prompt_tokens": 10, "completion_tokens": 5}) for model in ("m", "n")]
    first = meter([lines_of.dump(*lines)], prices=FLAT)

    found = reprice(outcome(first), first.groups, Job(prices=Dropped()))

    new, old = 3 * 10 * RATES["input"] + 5 * RATES["output"], 10 * RATES["input"] + 5 * RATES["output"]
    assert found.cost.total == (new + old) / 1_000_000
    assert found.cost.flags == ("rates_kept",)
    assert (
        reprice(outcome(first).model_copy(update={"rates": ()}), first.groups, Job(prices=Dropped())).cost.total is None
    )
