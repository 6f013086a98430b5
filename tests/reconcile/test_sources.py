"""The vendors' reports: read by us and by the vendors' own SDKs; refusals, pages, odd answers, and where the key goes."""

import json
import logging
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.later import Later

import openai
from batchmeter.errors import APIResponseError, BatchmeterError, ConfigError, UsageError
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_reconcile import BilledRow, BillingSource, BillSettings, Figures
from batchmeter_reconcile.figures import number
from batchmeter_reconcile.sources.openai import cost_row, line_item, usage_rows

from .world import ADMIN, CLAUDE, DAY, MINI, Site, World, at, rows, statuses

anthropic = Later("anthropic")

DAYS = {"first": date(2026, 11, 2), "last": date(2026, 11, 30)}


async def test_openai_s_own_sdk_reads_the_same_figures(world: World) -> None:
    """The site is checked by the SDK, and ours by the site: a month in pages."""
    await world.put("11-03 10:00", "11-03 14:00")
    await world.put("11-20 10:00", "11-20 14:00")
    world.site.buckets = 7
    address = world.plugin.settings.bills["openai"].base_url
    assert address is not None
    sdk = openai.AsyncOpenAI(admin_api_key=ADMIN, api_key="unused", base_url=address, max_retries=0)
    span: Any = {
        "start_time": int(at("11-01 00:00").timestamp()),
        "end_time": int(at("11-26 00:00").timestamp()),
        "limit": 31,
    }
    tokens, usd, page = 0, Decimal(0), None
    for _ in range(9):
        more: Any = {"page": page} if page else {}
        usage = await sdk.admin.organization.usage.completions(
            **span, **more, batch=True, group_by=["model", "batch", "project_id"], bucket_width="1d"
        )
        costs = await sdk.admin.organization.usage.costs(**span, **more, group_by=["line_item"])
        tokens += sum(one.output_tokens for bucket in usage.data for one in bucket.results)  # type: ignore[union-attr]
        usd += sum(Decimal(str(one.amount.value)) for bucket in costs.data for one in bucket.results)  # type: ignore[union-attr]
        page = usage.next_page
        if not usage.has_more:
            break
    await sdk.close()
    found = await world.run("11-02", "11-24")
    assert tokens == sum(int(row["vendor"]) for row in rows(found, kind="output")) == 150_000
    assert round(usd, 9) == sum(Decimal(row["vendor_usd"]) for row in found["rows"] if row["vendor_usd"])
    assert len([one for one in world.site.received if "sk-admin" in one.headers.get("authorization", "")]) > 8


async def test_anthropic_s_own_sdk_reads_the_same_figures(world: World) -> None:
    bill = {**world.plugin.settings.bills["openai"].model_dump(), "source": "anthropic", "admin_key": ADMIN}
    bill["base_url"] = str(bill["base_url"]).removesuffix("/v1")
    await _reopen(world, claude=bill)
    for day in ("11-03", "11-04"):
        await world.put(f"{day} 10:00", f"{day} 14:00", CLAUDE, account="claude", provider="anthropic")
    found = await world.run(name="claude")
    assert statuses(found) == {"match"}
    assert {row["kind"] for row in found["rows"]} == {"uncached_input", "cached_input", "output", "requests"}
    assert all(Decimal(row["vendor_usd"]) == Decimal(row["ours_usd"]) > 0 for row in rows(found, kind="output"))
    sdk = anthropic.AsyncAnthropic(api_key=ADMIN, base_url=str(bill["base_url"]), max_retries=0)
    listed = sdk.beta.organization.analytics.usage.list(
        starting_at="2026-11-01T00:00:00Z", ending_at="2026-11-26T00:00:00Z", time_bucket_width="1d",
        group_by=["model", "service_tier"], betas=["analytics-usage-cost-2026-08-24"],
    )  # fmt: skip
    buckets = [(one.group.model, one.group.service_tier, one.usage.output_tokens) async for one in listed]
    await sdk.close()
    assert buckets == [(CLAUDE, "batch", 75_000)] * 2


async def test_anthropic_s_older_reports_serve_where_analytics_do_not(world: World) -> None:
    bill = {**world.plugin.settings.bills["openai"].model_dump(), "source": "anthropic", "admin_key": ADMIN}
    bill["base_url"] = str(bill["base_url"]).removesuffix("/v1")
    await _reopen(world, claude=bill)
    await world.put("11-03 10:00", "11-03 14:00", CLAUDE, account="claude", provider="anthropic")
    world.site.status = {"/v1/organizations/analytics": 404}
    found = await world.run(name="claude")
    assert statuses(found) == {"match"}
    assert "the older ones were read" in found["notes"][0]
    assert rows(found, kind="output")[0]["vendor_usd"] is not None


async def test_azure_s_meters_are_tokens_of_models(world: World) -> None:
    """Deployments answer as a model; the bill knows its meter only. Rows come in two pages."""
    bill = {
        **world.plugin.settings.bills["openai"].model_dump(),
        "source": "azure",
        "admin_key": ADMIN,
        "scope": "/subscriptions/s",
    }
    bill["base_url"] = str(bill["base_url"]).removesuffix("/v1")
    await _reopen(world, azure=bill)
    await world.put("11-03 10:00", "11-03 14:00", account="azure", provider="azure", model="gpt-4.1-nano-2025-04-14")
    world.site.books = [type(one)(**{**vars(one), "model": "gpt 4.1 nano"}) for one in world.site.books]
    other = world.site.books[0]
    world.site.books.append(type(other)(**{**vars(other), "batch": False}))
    found = await world.run(name="azure")
    assert statuses(found) == {"match"}
    assert {row["kind"] for row in found["rows"]} == {"uncached_input", "cached_input", "output"}
    assert found["other_traffic"]["rows"] == 3
    await world.put("11-10 10:00", "11-10 14:00", account="azure", provider="azure", book=False)
    newer = await world.run(name="azure")
    assert {(row["from"], row["status"]) for row in newer["rows"] if row["status"] != "match"} == {
        ("2026-11-10", "pending")
    }
    assert rows(newer, status="pending")[0]["cause"] == "bill_ends", "days that Azure has not reached are not 0"


async def _reopen(world: World, **sections: Any) -> None:
    await world.plugin.shutdown()
    world.plugins.unregister("reconcile")
    await world.open(**sections)


REFUSALS = [
    (401, "/v1/organization/usage", "needs an admin key of the organization"),
    (403, "/v1/organization/usage", "needs an admin key of the organization"),
    (404, "/v1/organization/usage", "answered 404"),
    (400, "/v1/organization/costs", "organization/costs: "),
    (500, "/v1/organization/costs", "answered 500"),
]


async def test_a_refusal_is_told_without_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("batchmeter_reconcile.sources.web.TRIES", 0)
    for status, path, words in REFUSALS:
        world.site.status = {path: status}
        with caplog.at_level(logging.DEBUG), pytest.raises(BatchmeterError) as refusal:
            await world.run()
        error = refusal.value
        assert words in str(error)
        assert ADMIN not in f"{error!r} {error} {caplog.text} {getattr(error, 'body', '')} {world.plugin.settings!r}"
    assert await world.reconciler.listed() == [], "nothing is kept of a question without an answer"


async def test_costs_that_may_not_be_read_leave_the_tokens(world: World) -> None:
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.status = {"/v1/organization/costs": 403}
    found = await world.run()
    assert statuses(found) == {"match"}
    assert "money is not compared" in found["notes"][0]
    assert ADMIN not in json.dumps(found)


async def test_other_traffic_is_not_ours_unless_the_project_is_exclusive(world: World) -> None:
    """Costs that name no batch are compared only where all of them are batches'."""
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.prefix = ""
    other = world.site.books[0]
    world.site.books.append(type(other)(**{**vars(other), "batch": False, "project": "proj_b"}))
    shared = await world.run()
    assert statuses(shared) == {"match"}
    assert {row["vendor_usd"] for row in shared["rows"]} == {None}
    assert shared["other_traffic"]["rows"] == 6
    bill = {
        **world.plugin.settings.bills["openai"].model_dump(),
        "admin_key": ADMIN,
        "exclusive": True,
        "project_ids": ["proj_a"],
    }
    await _reopen(world, openai=bill)
    found = await world.run()
    assert statuses(found) == {"match"}
    assert all(row["vendor_usd"] == row["ours_usd"] for row in rows(found, kind="output"))
    assert found["other_traffic"]["rows"] == 0


async def test_other_currency_leaves_the_tokens(world: World) -> None:
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.currency = "eur"
    found = await world.run()
    assert {row["status"] for row in rows(found, kind="output")} == {"unverifiable"}
    assert rows(found, kind="output")[0]["why"] == "The vendor bills in EUR: tokens are compared, money is not."
    assert rows(found, kind="output")[0]["vendor"] == "75000"
    assert found["status"] == "unverifiable"


async def test_parts_are_shown_by_key(world: World) -> None:
    await world.put("11-03 10:00", "11-03 14:00")
    found = await world.run(by="key")
    assert rows(found, kind="output")[0]["scopes"] == {"key_a": "75000"}


BAD: list[tuple[bytes, str]] = [
    (b"<html>login</html>", "expected JSON"),
    (b"[]", "expected a JSON object"),
    (b'{"data": 7}', "no list 'data'"),
    (b'{"data": [{"start_time": "soon", "results": []}]}', "not a number"),
    (b'{"data": [{"start_time": 1762128000, "results": [{"model": "m", "input_tokens": NaN}]}]}', "expected JSON"),
    (b'{"data": [{"start_time": 1793664000, "results": [{"model": "m", "input_tokens": 1e999999}]}]}', "not an amount"),
    (b'{"data": [{"start_time": 1793664000, "results": [{"model": "m", "input_tokens": true}]}]}', "not a number"),
    (b'{"data": [{"start_time": 9e17, "results": [{}]}]}', "cannot be read"),
    (b'{"data": [], "has_more": true, "next_page": "same"}', "have no end"),
    (b"[" * 100_000, "expected JSON"),
]


async def test_a_report_that_is_none_is_an_error(world: World) -> None:
    for body, words in BAD:
        async with serving(Script([Answer(200, body)])) as url:
            await _reopen(world, openai={"admin_key": ADMIN, "base_url": url, "source": "openai"})
            with pytest.raises(APIResponseError, match=words):
                await world.run()


LINES: list[tuple[str, tuple[str, str, bool | None]]] = [
    ("gpt-5-mini-2025-08-07, input", (MINI, "uncached_input", None)),
    ("gpt-6-astra, input_tokens", ("gpt-6-astra", "uncached_input", None)),
    ("gpt-5-mini-2025-08-07, cached input, long context", (MINI, "cached_input", None)),
    ("batch | gpt-5-mini-2025-08-07, output", (MINI, "output", True)),
    ("Batch API | gpt-5, cache writes", ("gpt-5", "cache_write", True)),
    ("priority | gpt-5, output", ("gpt-5", "output", False)),
    ("gpt-5, output, batch", ("gpt-5", "output", True)),
    ("web search tool calls", ("", "", None)),
    ("batch | quantum ponies", ("", "", True)),
    ("gpt-5, output, moonlight", ("", "", None)),
    ("", ("", "", None)),
]


@pytest.mark.parametrize(("text", "wanted"), LINES)
def test_line_items_are_a_table(text: str, wanted: Any) -> None:
    assert line_item(text) == wanted


def test_absent_is_not_zero() -> None:
    """A counter that is null, or not there, is not known; a result without a model is kept as unread."""
    day = date(2026, 11, 3)
    found = list(usage_rows(day, {"model": "m", "input_tokens": 10, "output_tokens": None, "batch": None}))
    assert {row.kind: (row.quantity, row.silent) for row in found} == {
        "prompt": (Decimal(10), False),
        "uncached_input": (None, True),
        "cached_input": (None, True),
        "output": (None, True),
        "requests": (None, True),
    }
    assert list(usage_rows(day, {"model": "m", "batch": False, "input_tokens": 1})) == []
    nameless = list(usage_rows(day, {"model": None, "input_tokens": 3}))
    assert {row.kind for row in nameless} == {""}
    assert cost_row(day, {"amount": None, "line_item": None}) == BilledRow(
        day, batch=None, item="(no line item)", currency="usd"
    )


@pytest.mark.parametrize("given", ["", "nan", "inf", "1e30", "12 000", "--1", None, 1.5, [], "1" * 5000])
def test_numbers_that_no_bill_holds_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="not a"):
        number(given)


KEYS: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({}, {}, "no admin key: set OPENAI_ADMIN_KEY"),
    ({"base_url": "https://elsewhere.example/v1"}, {"OPENAI_ADMIN_KEY": ADMIN}, "base_url needs a key of its own"),
    ({"base_url": "http://elsewhere.example/v1", "admin_key": ADMIN}, {}, "sent over https only"),
    ({"admin_key_env": "MY_KEY"}, {}, "the variable MY_KEY is not set"),
    ({"admin_key_file": "/nowhere/key"}, {}, "cannot be read"),
]


async def test_a_key_goes_nowhere_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for bill, environment, words in KEYS:
        monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        await _reopen(world, openai={**bill, "source": "openai"})
        with pytest.raises(ConfigError, match=words) as refusal:
            await world.run()
        assert ADMIN not in str(refusal.value)
    assert world.site.received == []


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="given twice"):
        BillSettings.model_validate({"admin_key": "a", "admin_key_env": "B"})


async def test_a_plugin_brings_a_vendor(world: World) -> None:
    """`register_billing` of a stranger's plugin: its figures are compared as ours."""
    from batchmeter import hookimpl

    await world.put("11-03 10:00", "11-03 14:00", account="shop", provider="acme")

    async def ask(question: Any, figures: Figures) -> None:
        assert question.settings.project_ids == ("p",)
        figures.add(BilledRow(date(2026, 11, 3), MINI, "output", Decimal(75_000), scope="p"))
        figures.add(BilledRow(date(2020, 1, 1), MINI, "output", Decimal(9)))

    class Acme:
        @hookimpl
        def register_billing(self, register: Any) -> None:
            register(BillingSource("acme", ask, kinds=("output",)))

    world.plugins.register(Acme(), "acme")
    await _reopen(world, shop={"project_ids": ["p"]})
    found = await world.run(name="shop")
    assert [(row["kind"], row["status"]) for row in found["rows"]] == [("output", "match")]
    assert found["source"] == "acme"
    with pytest.raises(UsageError, match=r"known: acme, anthropic, azure, openai\): give its bill with --bill FILE"):
        await world.run(name="nobody")


async def test_one_bill_of_several_accounts_is_their_sum(world: World) -> None:
    await world.put("11-03 10:00", "11-03 14:00")
    await world.put("11-03 10:00", "11-03 14:00", account="second")
    alone = await world.run()
    assert alone["status"] == "ours_missing"
    bill = {**world.plugin.settings.bills["openai"].model_dump(), "admin_key": ADMIN, "accounts": ["openai", "second"]}
    await _reopen(world, org=bill)
    found = await world.run(name="org")
    assert statuses(found) == {"match"}
    assert found["accounts"] == ["openai", "second"]


def test_the_site_has_no_faults_of_its_own() -> None:
    assert Site().shown() == []
    assert at("11-03 00:00") + DAY == datetime(2026, 11, 4, tzinfo=UTC)


async def test_no_other_host_gets_the_key(world: World) -> None:
    """A report may redirect, or name its next page, elsewhere."""
    stranger = Script([Answer(200, b'{"data": []}')])
    async with serving(stranger) as elsewhere:
        moved = Answer(302, b"", {"location": f"{elsewhere}/v1/organization/usage"})
        link = json.dumps({"properties": {"columns": [], "rows": [], "nextLink": f"{elsewhere}/more"}}).encode()
        async with serving(Script([moved])) as url:
            await _reopen(world, openai={"admin_key": ADMIN, "base_url": url, "source": "openai"})
            await world.run()
        async with serving(Script([Answer(200, link)])) as url:
            azure = {"admin_key": ADMIN, "base_url": url, "source": "azure", "scope": "/subscriptions/s"}
            await _reopen(world, azure=azure)
            with pytest.raises(APIResponseError, match="another host"):
                await world.run(name="azure")
    assert stranger.received
    assert not [one for one in stranger.received if ADMIN in str(one.headers)]


async def test_embeddings_are_compared_in_projects_of_batches_only(world: World) -> None:
    """Their usage has no batch flag: elsewhere nothing can be known of them."""
    embedding = "text-embedding-3-small"
    await world.put("11-03 10:00", "11-03 14:00", embedding, endpoint="/v1/embeddings")
    await world.put("11-03 10:00", "11-03 14:00")
    world.site.books = [
        type(one)(**{**vars(one), "fresh": 300_000, "cached": 0, "output": 0}) if "embedding" in one.model else one
        for one in world.site.books
    ]
    found = await world.run()
    assert {(row["model"] == embedding, row["status"]) for row in found["rows"]} == {
        (True, "unverifiable"),
        (False, "match"),
    }
    assert next(row for row in found["rows"] if row["model"] == embedding)["cause"] == "no_split"
    bill = {**world.plugin.settings.bills["openai"].model_dump(), "admin_key": ADMIN, "exclusive": True}
    await _reopen(world, openai=bill)
    found = await world.run()
    (prompt,) = (row for row in found["rows"] if row["model"] == embedding and row["kind"] == "prompt")
    assert (prompt["status"], prompt["vendor"]) == ("match", "300000")
