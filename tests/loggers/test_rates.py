"""Every logger tells what lines were priced at, why a cost is unknown, and the vendor's own amounts."""

import json
from decimal import Decimal
from typing import Any

import pytest

from batchmeter.events import BatchSucceeded
from batchmeter.models import Cost, ModelUsage, RatesUsed, ReportedCost, Usage
from batchmeter_datadog.spans import spans_of
from batchmeter_file.cloudevent import to_line
from batchmeter_langfuse.about import outcome
from batchmeter_langfuse.observations import rates_of
from batchmeter_langfuse.usage import cost_details
from batchmeter_otel.attributes import attributes_of
from batchmeter_webhook.logger import payload

RATES = RatesUsed(
    model="gpt-5-mini",
    lines=2,
    units={"input": 1_000_000, "cached_input": 400_000, "output": 300_000, "web_search": 2},
    usd_per_million={name: Decimal(rate) for name, rate in {"input": "0.125", "cached_input": "0.0125", "output": "1", "web_search": "10000"}.items()},
    origin="litellm",
    cost=Decimal("0.45"),
)  # fmt: skip
HOUSE = RatesUsed(model=None, lines=1, units={"input": 5}, origin="vendor_reported", cost=Decimal("0.01"))
DETAILS = {"missing_rate": ("house: video_out",), "usage_missing": ("file-abc line 7", "file-abc line 9")}


@pytest.fixture
def event(events) -> BatchSucceeded:
    return events.succeeded(
        region="eu",
        usage=Usage(input_tokens=1_400_000, output_tokens=300_000, web_searches=2),
        models={
            "gpt-5-mini": ModelUsage(lines=2, cost=Decimal("0.45"), known=Decimal("0.45")),
            "unknown": ModelUsage(lines=3, cost=None, known=Decimal("0.01"), unknown={"usage_missing": 2}),
        },
        cost=Cost(total=None, known=Decimal("0.46"), unknown={"missing_rate": 1, "usage_missing": 2}, details=DETAILS,
                  estimated=True, flags=("vendor_reported",)),
        rates=(RATES, HOUSE),
        reported_cost=ReportedCost(total=Decimal("0.01"), lines=1),
        reported_usage=Usage(input_tokens=7),
        missing=4,
        duplicates=1,
    )  # fmt: skip


def test_file_and_webhook_carry_the_whole_event(event):
    whole = json.loads(event.model_dump_json())
    assert whole["rates"][0]["usd_per_million"]["input"] == "0.125"
    assert json.loads(to_line(event))["data"] == whole
    posted = json.loads(payload(event))
    assert posted.get("data", posted) == whole


def test_otel_attributes_carry_all_that_the_event_tells(event):
    found = attributes_of(event, "batch")
    assert [RatesUsed(**used) for used in json.loads(str(found["batchmeter.cost.rates"]))] == [RATES, HOUSE]
    assert found["batchmeter.cost.details"] == (
        "missing_rate: house: video_out",
        "usage_missing: file-abc line 7",
        "usage_missing: file-abc line 9",
    )
    assert json.loads(str(found["batchmeter.usage"]))["web_searches"] == 2
    assert json.loads(str(found["batchmeter.reported_usage"])) == {"input_tokens": 7, "total_tokens": 7}
    names = ("region", "cost.reported_usd", "cost.reported_lines", "cost.flags", "cost.estimated")
    assert [found[f"batchmeter.{name}"] for name in names] == ["eu", "0.01", 1, ("vendor_reported",), True]
    assert [found[f"batchmeter.request_counts.{name}"] for name in ("missing", "duplicates")] == [4, 1]
    assert "batchmeter.cost.usd" not in found


def test_langfuse_has_the_rates_and_costs_by_part(event):
    about: dict[str, Any] = outcome(event)
    assert about["reported_cost"] == {"total": "0.01", "lines": 1}
    assert [used["model"] for used in about["rates"]] == ["gpt-5-mini", None]
    assert about["cost"]["details"]["missing_rate"] == ["house: video_out"]
    assert rates_of(event, "unknown") == [HOUSE]
    parts = {"input": 0.125, "input_cached_tokens": 0.005, "output": 0.3, "web_search": 0.02}
    assert cost_details(Decimal("0.45"), [RATES]) == {**parts, "total": 0.45}


@pytest.mark.parametrize("rates", [[], [HOUSE], [RATES, HOUSE]])
def test_langfuse_gets_no_parts_that_leave_some_of_the_cost_out(rates: list[RatesUsed]):
    assert cost_details(Decimal("0.46"), rates) == {"total": 0.46}


def test_datadog_spans_have_rates_and_reasons_in_bounded_text(event):
    root, mini, unknown = (span["meta"]["metadata"] for span in spans_of(event, event.time))
    assert root["cost_details"] == "missing_rate: house: video_out; usage_missing: file-abc line 7, file-abc line 9"
    assert (root["cost_flags"], root["reported_cost_usd"]) == ("vendor_reported", "0.01")
    assert mini["usd_per_million"] == "input 0.125, cached_input 0.0125, output 1, web_search 10000 (litellm)"
    assert "usd_per_million" not in unknown
    many = event.model_copy(update={"rates": tuple(RATES.model_copy(update={"origin": f"o{n}"}) for n in range(99))})
    assert len(spans_of(many, event.time)[1]["meta"]["metadata"]["usd_per_million"]) == 1000
