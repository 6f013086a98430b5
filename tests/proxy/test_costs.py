"""Costs and events over HTTP: exact, complete, and each key's own."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import httpx2
import pytest
from tests.cases import case

import batchmeter
from batchmeter import Attribution, events
from batchmeter.events import PluginEvent
from batchmeter_proxy import Identity, create_app
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

CHAT = "/v1/chat/completions"


@pytest.fixture
async def settled(client, clock, lines):
    """`await settled(lines=2, model=…, key=…)`: a batch that has ended, and its settlement."""

    async def make(count=2, *, model="gpt-4o-mini", account="openai", **attribution):
        file = await client.files.create(("a.jsonl", lines(count, model=model)), custom_llm_provider=account)
        batch = await client.batches.create(
            input_file_id=file.id, endpoint=CHAT, attribution=Attribution(**attribution), custom_llm_provider=account
        )
        clock.advance(60)
        await client.batches.retrieve(batch.id, custom_llm_provider=account)
        clock.advance(1400)
        return await client.batches.wait(batch.id, custom_llm_provider=account, timeout=10)

    return make


def money(settlement):
    return settlement.model_dump(mode="json")["cost"]["total"]


async def get(http, path, secret="any", **query):
    return await http.get(path, params=query, headers={"authorization": f"Bearer {secret}"})


async def test_a_batch_tells_what_it_cost_once_it_is_settled(client, http, sdk, lines, clock):
    file = await sdk.files.create(file=("a.jsonl", lines(2)), purpose="batch")
    batch = await sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    early = await get(http, f"/v1/batches/{batch.id}/cost")
    assert early.status_code == 202
    assert early.headers["retry-after"]
    assert early.json() == {
        "object": "batch.cost",
        "settled": False,
        "account": "openai",
        "batch_id": batch.id,
        "status": "validating",
        "cost": None,
    }
    clock.advance(60)
    await client.batches.retrieve(batch.id)
    clock.advance(1400)
    settlement = await client.batches.wait(batch.id, timeout=10)
    answer = await get(http, f"/v1/batches/{batch.id}/cost")
    assert answer.status_code == 200
    told = answer.json()
    assert (told.pop("object"), told.pop("settled")) == ("batch.cost", True)
    assert told == settlement.model_dump(mode="json")
    assert isinstance(told["cost"]["total"], str)
    assert (await get(http, "/v1/batches/batch_none/cost")).status_code == 404


async def test_sums_are_exact_and_grouped(settled, http):
    one = await settled(3, key="k1", team="search", tags=("a", "b"))
    two = await settled(5, model="gpt-5-mini", team="ads", tags=("b",))
    three = await settled(1, account="other")
    costs = [one.cost.total, two.cost.total, three.cost.total]
    expected = {
        "model": {"gpt-4o-mini": costs[0] + costs[2], "gpt-5-mini": costs[1]},
        "account": {"openai": costs[0] + costs[1], "other": costs[2]},
        "key": {"k1": costs[0], None: costs[1] + costs[2]},
        "team": {"search": costs[0], "ads": costs[1], None: costs[2]},
        "tag": {"a": costs[0], "b": costs[0] + costs[1], None: costs[2]},
        "day": {one.settled_at.date().isoformat(): sum(costs)},
    }
    for group_by, sums in expected.items():
        report = (await get(http, "/v1/costs", group_by=group_by)).json()
        found = {_short(row["group"]): row for row in report["data"]}
        assert {name: Decimal(row["total"]) for name, row in found.items()} == sums, group_by
        assert all(isinstance(row["known"], str) for row in report["data"])
        assert Decimal(report["total"]["total"]) == sum(costs)
        assert (report["total"]["batches"], report["total"]["lines"]) == (3, 9)
        assert report["total"]["usage"]["total_tokens"] == sum(each.usage.total_tokens for each in (one, two, three))
    assert (await get(http, "/v1/costs")).json()["group_by"] == "model"


def _short(name):
    """Answers name a dated model."""
    known = (model for model in ("gpt-4o-mini", "gpt-5-mini") if name is not None and name.startswith(model))
    return next(known, name)


async def test_unknown_is_counted_never_zero(settled, http):
    known, unknown = await settled(2), await settled(4, model="nobody-prices-this")
    assert unknown.cost.total is None
    report = (await get(http, "/v1/costs", group_by="account")).json()
    for row in (report["data"][0], report["total"]):
        assert (row["total"], row["known"], row["unpriced_lines"]) == (None, money(known), 4)
    by_model = {_short(row["group"]): row for row in (await get(http, "/v1/costs")).json()["data"]}
    assert by_model["gpt-4o-mini"]["total"] == money(known)
    assert by_model["nobody-prices-this"]["total"] is None
    assert by_model["nobody-prices-this"]["unpriced_lines"] == 4


async def test_a_time_range_is_of_settling(settled, http, client):
    one = await settled(1)
    day = one.settled_at.date().isoformat()
    moment = one.settled_at.isoformat()

    async def batches(**query):
        return (await get(http, "/v1/costs", **query)).json()["total"]["batches"]

    assert await batches(**{"from": day, "to": day}) == 1, "a date's end is its midnight"
    assert await batches(**{"from": moment}) == 1
    assert await batches(to=moment) == 0
    assert await batches(**{"from": "2999-01-01"}) == 0
    assert await batches(to="2000-01-01T00:00:00+02:00") == 0


async def test_what_makes_no_sense_is_said(http):
    for path, query, param in [
        ("/v1/costs", {"group_by": "colour"}, "group_by"),
        ("/v1/costs", {"from": "yesterday"}, "from"),
        ("/v1/costs", {"to": "2026-13-01"}, "to"),
        ("/v1/costs", {"to": "9999-12-31"}, "to"),
        ("/v1/events", {"after": "evt"}, "after"),
        ("/v1/events", {"after": "9" * 30}, "after"),
        ("/v1/events", {"limit": "0"}, "limit"),
        ("/v1/events", {"type": "batch.completed"}, "type"),
    ]:
        with case(path, query, param):
            answer = await get(http, path, **query)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == param


async def test_events_come_in_pages_as_they_were_recorded(settled, http, client):
    for _ in range(3):
        await settled(1)
    stored = await client.ledger.events()
    seen, after = [], ""
    while True:
        page = (await get(http, "/v1/events", limit=4, after=after)).json()
        seen += page["data"]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == [json.loads(event.payload) for event in stored]
    assert len(seen) == 6
    later = (await get(http, "/v1/events", after=after)).json()
    assert later == {"data": [], "object": "list", "has_more": False, "last_id": after}
    endings = (await get(http, "/v1/events", type="batch_success", batch_id=seen[0]["batch_id"])).json()["data"]
    assert [(event["type"], event["batch_id"]) for event in endings] == [("batch_success", seen[0]["batch_id"])]


async def test_pages_of_events_are_bounded_in_bytes(settled, http, client, monkeypatch):
    for _ in range(3):
        await settled(1)
    stored = await client.ledger.events()
    # as two have, give or take what endings are longer than beginnings
    two = max(len(first.payload) + len(second.payload) for first, second in pairwise(stored))
    for most, sizes in ((1, [1] * 6), (10**9, [6]), (two, [2, 2, 2])):
        monkeypatch.setattr("batchmeter_proxy.costs._PAGE_BYTES", most)
        pages, after, more = [], "", True
        while more:
            page = (await get(http, "/v1/events", limit=6, after=after)).json()
            pages.append(page["data"])
            after, more = page["last_id"], page["has_more"]
        assert [len(page) for page in pages] == sizes, most
        assert [event for page in pages for event in page] == [json.loads(event.payload) for event in stored], most


class Hide:
    @batchmeter.hookimpl
    def redact(self, event):
        return event.model_copy(update={"attribution": Attribution(key=event.attribution.key)})


async def test_events_are_shown_as_loggers_may_see_them(settled, http, client):
    keys = {
        name: await create_key(await keyring_of(client), owner=name, admin=name == "root") for name in ("ada", "root")
    }
    await settled(1, key=keys["ada"][0].id, user="ada@example.com")
    client.plugins.register(Hide(), "hide")
    await client.ledger.subscribe(client.plugins.subscriptions)

    async def users(name, **query):
        answer = await get(http, "/v1/events", keys[name][1], **query)
        if answer.status_code != 200:
            return answer.status_code, answer.json()["error"]["code"]
        return [event["attribution"].get("user") for event in answer.json()["data"]]

    assert await users("ada") == await users("root") == [None, None]
    assert await users("root", recorded="true") == ["ada@example.com"] * 2
    assert await users("ada", recorded="true") == (403, "admin_only")
    client.plugins.unregister("hide")
    assert await users("ada") == await users("root") == (503, "redactor_missing")
    assert await users("root", recorded="true") == ["ada@example.com"] * 2


async def test_events_of_a_plugin_s_kind_are_asked_for_by_it(http, client, monkeypatch):
    class Alert(PluginEvent, frozen=True):
        type: Literal["team_alert"] = "team_alert"

    unknown = await get(http, "/v1/events", type="team_alert")
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "type")
    monkeypatch.setitem(events._MODELS, "team_alert", Alert)
    await client.ledger.record_event(Alert(id="alert-1", time=datetime(2026, 11, 30, tzinfo=UTC)))
    (found,) = (await get(http, "/v1/events", type="team_alert")).json()["data"]
    assert found["id"] == "alert-1"


async def test_each_key_sees_its_own(settled, http, client):
    keys = {
        name: await create_key(await keyring_of(client), owner=name, admin=name == "root")
        for name in ("ada", "bob", "root")
    }
    mine = await settled(2, key=keys["ada"][0].id, team="search")
    await settled(3)
    secret = {name: made[1] for name, made in keys.items()}
    path = f"/v1/batches/{mine.batch_id}/cost"
    assert (await get(http, path, secret["ada"])).status_code == 200
    assert (await get(http, path, secret["root"])).status_code == 200
    assert (await get(http, path, secret["bob"])).status_code == 404
    assert (await get(http, f"/other{path}", secret["bob"])).status_code == 404
    seen = {}
    for name, each in secret.items():
        report = (await get(http, "/v1/costs", each, group_by="key")).json()
        events = (await get(http, "/v1/events", each)).json()["data"]
        seen[name] = (report["total"]["batches"], len(report["data"]), {event["batch_id"] for event in events})
    assert seen["ada"] == (1, 1, {mine.batch_id})
    assert seen["bob"] == (0, 0, set())
    assert seen["root"][:2] == (2, 2)
    assert len(seen["root"][2]) == 2
    assert (await get(http, "/v1/events", secret["bob"], batch_id=mine.batch_id)).json()["data"] == []
    assert (await http.get("/v1/costs")).status_code == 401
    assert (await http.get("/v1/events")).status_code == 401


async def test_a_caller_without_a_key_of_its_own_sees_nothing(settled, client):
    """An app's own `authenticate` may give identities that are no key."""
    await settled(1)

    async def somebody(request):
        return Identity()

    transport = httpx2.ASGITransport(create_app(client, authenticate=somebody))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        assert (await http.get("/v1/costs")).json()["total"]["batches"] == 0
        assert (await http.get("/v1/events")).json()["data"] == []


async def test_costs_are_filtered_and_paired(settled, http, client):
    one = await settled(2, team="search", tags=("a",))
    two = await settled(1, team="ads", model="gpt-5-mini")
    report = (await get(http, "/v1/costs", group_by="team,model")).json()
    assert report["group_by"] == "team,model"
    assert {(row["groups"]["team"], Decimal(row["total"])) for row in report["data"]} == {
        ("search", one.cost.total),
        ("ads", two.cost.total),
    }
    filtered = (await get(http, "/v1/costs", group_by="month", team="search", tag="a")).json()
    assert Decimal(filtered["total"]["total"]) == one.cost.total
    assert (await get(http, "/v1/costs", tag="")).json()["total"]["total"] == money(two)
    answer = await get(http, "/v1/costs", group_by="team", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.text.splitlines()) == 3


async def test_a_key_cannot_ask_for_anothers_costs(settled, http, client):
    (ada, secret), (bob, _) = [await create_key(await keyring_of(client), owner=name) for name in ("ada", "bob")]
    mine = await settled(2, key=ada.id)
    await settled(2, key=bob.id)
    assert (await get(http, "/v1/costs", secret, key=ada.id)).json()["total"]["total"] == money(mine)
    assert (await get(http, "/v1/costs", secret, key=bob.id)).status_code == 403
    assert (await get(http, "/v1/costs", secret, key="")).status_code == 403
