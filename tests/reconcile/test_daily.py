"""Each day's comparison: once for all processes, again after a failure, and one event for each drift."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from batchmeter import hookimpl
from batchmeter.plugins import Plugins
from batchmeter.runtime.client_host import ClientHost
from batchmeter_reconcile import BillingSource, BillSettings, Reconcile, ReconcileDrift
from batchmeter_reconcile.daily import Daily

from .world import ADMIN, World, at

HOUR = 3_600_000


async def events(world: World) -> list[ReconcileDrift]:
    found = await world.ledger.events(types=["reconcile_drift"], after=0, limit=100)
    return [one.event for one in found]  # type: ignore[misc]


async def test_a_day_is_compared_once_and_its_drift_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.put("11-27 10:00", "11-27 14:00")
    await world.put("11-28 10:00", "11-28 14:00", book=False)
    world.clock.now = int(at("11-30 05:00").timestamp() * 1000)
    daily = Daily(world.reconciler)
    assert await daily.look() == [], "before six o'clock nothing is looked at"
    world.clock.now += 2 * HOUR
    (made,) = await daily.look()
    document = await world.reconciler.shown(made)
    assert (document["from"], document["to"]) == ("2026-11-22", "2026-11-28")
    assert document["status"] == "vendor_missing"
    (event,) = await events(world)
    assert (event.kind, event.account, str(event.first_day), event.cause) == (
        "vendor_missing",
        "openai",
        "2026-11-28",
        "less_booked",
    )
    assert event.reconciliation == made
    assert event.message.startswith(
        "Bill of openai, 2026-11-28: the ledger has 300,000 more prompt tokens of gpt-5-mini"
    )
    assert event.models == ("gpt-5-mini-2025-08-07",)
    assert ADMIN not in event.model_dump_json() + caplog.text
    # Nobody compares the same day again: not this process, not another one.
    other = Reconcile(world.plugin.settings)
    plugins = Plugins()
    plugins.register(other, "reconcile")
    await other.startup(ClientHost(plugins, world.ledger))
    assert await daily.look() == await Daily(other.reconciler).look() == []
    # The next day finds the same drift: it is told already.
    world.clock.now += 24 * HOUR
    (again,) = await daily.look()
    assert again != made
    assert len(await events(world)) == 1
    assert [one["id"] for one in await world.reconciler.listed("openai")] == [again, made]
    assert await world.reconciler.shown(made) == document, "what was made stays as it was"


async def test_a_vendor_that_fails_is_asked_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("batchmeter_reconcile.sources.web.TRIES", 0)
    daily = Daily(world.reconciler)
    world.site.status = {"/v1/organization": 500}
    with caplog.at_level(logging.INFO, "batchmeter.reconcile"):
        assert await daily.look() == []
        calls = len(world.site.received)
        assert await daily.look() == []
        assert len(world.site.received) == calls, "not before the pause is over"
        world.clock.now += int(timedelta(minutes=11).total_seconds() * 1000)
        world.site.status = {}
        assert len(await daily.look()) == 1
    assert "openai could not be asked, again in 0:10:00" in caplog.text
    assert ADMIN not in caplog.text


async def test_a_source_without_a_sane_wait_stops_no_other_bill(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        @hookimpl
        def register_billing(self, register: Any) -> None:
            register(BillingSource("odd", ask=world.reconciler.sources()["openai"].ask, settle_hours=float("inf")))

    world.plugins.register(Odd(), "odd-vendor")
    bills = {"odd": BillSettings(source="odd"), **world.plugin.settings.bills}
    world.reconciler.settings = world.plugin.settings.model_copy(update={"bills": bills})
    assert len(await Daily(world.reconciler).look()) == 1
    assert "the daily comparison of odd failed" in caplog.text
    with pytest.raises(ValueError, match="less than or equal to 2400"):
        BillSettings(settle_hours=float("inf"))


async def test_a_process_without_the_key_leaves_it_to_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    settings: Any = {"admin_key_env": "NOT_SET_HERE", "source": "openai"}
    await world.plugin.shutdown()
    world.plugins.unregister("reconcile")
    await world.open(openai=settings)
    with caplog.at_level(logging.WARNING):
        assert await Daily(world.reconciler).look() == []
    assert caplog.text == ""


async def test_lines_that_may_be_batches_are_told(world: World) -> None:
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.faults = {"unknown_item"}
    found = await world.run()
    assert await world.reconciler.tell(found) == 1
    assert await world.reconciler.tell(found) == 0
    (event,) = await events(world)
    assert event.kind == "unmatched_items"
    assert "quantum ponies" in event.message
