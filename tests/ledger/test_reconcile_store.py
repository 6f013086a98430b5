"""Reconciliations are kept on both engines, beside the ledger, as they were made."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from batchmeter.errors import UsageError
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter_reconcile import ReconcileSettings
from batchmeter_reconcile.reconciler import Reconciler, Request

from .exports_world import fields_of, output, put

HEAD = "BilledCost,BillingCurrency,ChargePeriodStart,ConsumedQuantity,SkuMeter\n"


async def test_documents_are_kept_as_they_were_made(ledger: Any, clock: Any, tmp_path: Path) -> None:
    await put(ledger, clock, "b1", fields_of(output("gpt-5-mini")), account="azure", provider="azure")
    before = await ledger.settlement("b1", "azure")
    bill = tmp_path / "bill.csv"
    bill.write_text(f"{HEAD}0.5,USD,2026-11-03,993,gpt 5 mini Batch Outp glbl Tokens\n")
    reconciler = Reconciler(ClientHost(Plugins(), ledger), ReconcileSettings())
    request = Request(date(2026, 11, 1), date(2026, 11, 9), bill=bill)
    clock.advance(9 * 86_400)
    first = await reconciler.run("azure", request)
    clock.advance(60)
    second = await reconciler.run("azure", request)
    other = await reconciler.run("nobody", request)
    assert {row["kind"]: row["status"] for row in first["rows"]} == {
        "uncached_input": "vendor_missing",
        "cached_input": "vendor_missing",
        "output": "match",
    }
    assert await reconciler.shown(first["id"]) == first
    assert [one["id"] for one in await reconciler.listed("azure")] == [second["id"], first["id"]]
    assert {one["id"] for one in await reconciler.newest()} == {second["id"], other["id"]}
    days = await reconciler.days(date(2026, 11, 9))
    assert (days["azure"]["2026-11-03"], days["azure"]["2026-11-04"]) == ("vendor_missing", "match")
    assert await reconciler.days(date(2026, 11, 10)) == {}
    assert len(await reconciler.listed(limit=1)) == 1
    assert await ledger.settlement("b1", "azure") == before, "the vendor's figures change nothing of ours"
    with pytest.raises(UsageError, match="reconcile list"):
        await reconciler.shown("rec_none")
