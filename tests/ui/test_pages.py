"""The pages: what they show, to whom, and that nothing on them is taken for markup, a formula or zero."""

import csv
import io
import re
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import pytest

import batchmeter
from batchmeter import AsyncClient
from batchmeter.access import BatchFilter, access_of
from batchmeter.host import CostQuery
from batchmeter.models import Attribution, Usage
from batchmeter_proxy.keyring import KeyLimits, keyring_of
from batchmeter_ui.chart import Bar, bars
from batchmeter_ui.pages.unknown import MENDS
from batchmeter_ui.plugin import Pages
from batchmeter_ui.span import Span
from batchmeter_ui.sums import summed, summed_by
from batchmeter_ui.table import table
from batchmeter_ui.words import cell, dollars

from .conftest import HOSTILE, SAME, submit_to

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
OWN = (
    "/ui",
    "/ui?days=365",
    "/ui/batches",
    "/ui/batches?settled=no",
    "/ui/batches?account=other",
    "/ui/batches?unknown=1",
    "/ui/unknown",
    "/ui/prices?q=gpt-4o-mini",
    *(f"/ui/spend?by={by}" for by in ("model", "account", "team", "key", "user", "tag", "provider")),
    "/ui/export/spend.csv?by=team&per=day",
)
EVERYBODY_S = ("/ui/loggers", "/ui/loggers/Refuses", "/ui/keys", "/ui/health")


async def test_admins_see_every_page(http, people, log_in):
    ada, bob, root = people
    await log_in(root)
    for place in (*OWN, *EVERYBODY_S):
        answer = await http.get(place)
        assert answer.status_code == 200, (place, answer.text)
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert (
            answer.headers["cross-origin-opener-policy"]
            == answer.headers["cross-origin-resource-policy"]
            == "same-origin"
        )
        assert answer.headers["cache-control"] == "private, no-store"
    listed = (await http.get("/ui/batches")).text
    assert all(one in listed for who in (ada, bob) for one in (who.settled, who.opened))
    assert "<h1>Overview</h1>" in (await http.get("/ui")).text


async def test_no_page_shows_another_key_s_data(http, people, log_in):
    ada, bob, _ = people
    await log_in(ada)
    theirs = (bob.settled, bob.opened, bob.key.id, "team-of-bob", "tag-of-bob", "house-llama", "alert(", ">other<")
    for place in (*OWN, f"/ui/batches?key={bob.key.id}", f"/ui/batches?after=other/{bob.opened}"):
        answer = await http.get(place)
        assert answer.status_code == 200, place
        shown = (
            answer.text.replace('value="other"', "").replace(f"key={bob.key.id}", "").replace(f"other/{bob.opened}", "")
        )
        assert not [text for text in theirs if text in shown.replace(quote(f"other/{bob.opened}", safe=""), "")], place
    for place in EVERYBODY_S:
        assert (await http.get(place)).status_code == 403
    for more in ("", "/failures", "/settlement.json", "/files/output"):
        for batch_id in (bob.settled, bob.opened):
            answer = await http.get(f"/ui/batches/other/{batch_id}{more}")
            assert answer.status_code == 404
            assert "house-llama" not in answer.text
    assert (await http.get(f"/ui/batches/openai/{ada.settled}")).status_code == 200


async def test_keys_see_batches_of_their_own_accounts_only(http, people, person, log_in):
    ada, bob, _ = people
    narrow = await person("narrow", admin=True, accounts=("openai",))
    await log_in(narrow)
    listed = (await http.get("/ui/batches")).text
    assert ada.settled in listed
    assert bob.settled not in listed
    assert (await http.get(f"/ui/batches/other/{bob.settled}")).status_code == 404
    assert "house-llama" not in (await http.get("/ui/spend?by=model")).text
    assert (await http.get("/ui/keys")).status_code == 403


async def test_texts_of_strangers_are_never_markup(http, people, log_in):
    _, bob, root = people
    await log_in(root)
    for place in (
        *OWN,
        *EVERYBODY_S,
        f"/ui/batches/other/{bob.settled}",
        f"/ui/batches?team={HOSTILE}",
        f"/ui/prices?q={HOSTILE}",
    ):
        answer = await http.get(place)
        if answer.headers["content-type"].startswith("text/html"):
            for raw in ("<script>", "<img", "<b>here"):
                assert raw not in answer.text, place
            assert answer.text.count("<script") == answer.text.count('<script src="/ui/static/') <= 1
            assert " style=" not in answer.text
    shown = (await http.get(f"/ui/batches/other/{bob.settled}")).text
    assert "&lt;script&gt;alert" in shown


async def test_unknown_cost_is_never_zero(http, people, log_in):
    _, bob, root = people
    await log_in(root)
    page = (await http.get(f"/ui/batches/other/{bob.settled}")).text
    assert ">unknown<" in page
    assert "$0.00" not in page
    assert "unknown_model" in page
    overview = (await http.get("/ui")).text
    assert "≥ $" in overview
    rows = list(csv.DictReader(io.StringIO((await http.get("/ui/export/spend.csv?by=model&per=month")).text)))
    llama = next(row for row in rows if row["model"].startswith("house-llama"))
    assert (llama["known_usd"], llama["complete"], llama["unpriced_lines"]) == ("", "no", "3")


async def test_one_batch_shows_rates_failures_and_files(http, people, log_in):
    ada, _, _ = people
    await log_in(ada)
    page = (await http.get(f"/ui/batches/openai/{ada.settled}")).text
    assert "Rates used" in page
    assert "job-of-ada" in page
    assert "Only admin keys see who is sent events." in page
    failures = (await http.get(f"/ui/batches/openai/{ada.settled}/failures")).text
    assert "r-" in failures
    assert "No failed line was found" not in failures
    output = await http.get(f"/ui/batches/openai/{ada.settled}/files/output")
    assert output.status_code == 200
    assert b'"custom_id"' in output.content
    assert output.headers["content-disposition"].startswith("attachment")
    settled = (await http.get(f"/ui/batches/openai/{ada.settled}/settlement.json")).json()
    assert settled["batch_id"] == ada.settled


class Guard:
    """Input files are counted where a plugin may refuse batches."""

    @batchmeter.hookimpl
    async def before_submit(self, submission, estimate):
        assert estimate.requests == 3


async def test_a_batch_page_compares_the_estimate(client, http, person, submit, log_in):
    ada = await person("ada")
    await submit(ada.key.attribution)  # what answers are expected from
    client.plugins.register(Guard(), "Guard")
    batch_id = await submit(ada.key.attribution)
    await log_in(ada)
    page = (await http.get(f"/ui/batches/openai/{batch_id}")).text
    assert "<dt>Estimate</dt>" in page
    assert "of the estimate" in page
    assert "Saved by batch" in page


async def test_sums_of_rows_are_the_whole_to_the_digit(client, people, submit):
    """The overview reads few sums and adds the others up itself."""
    ada, _, _ = people
    await submit(ada.key.attribution, model="o4-mini", count=2)
    (host,) = [one.host for one in client.plugins._manager.get_plugins() if isinstance(one, Pages)]
    ((whole,),) = await host.spend_all(CostQuery())
    same = {"usage": Usage(), "groups": {}, "group": None}
    for groups in (("status",), ("account",), ("week", "status")):
        (rows,) = await host.spend_all(CostQuery(groups))
        assert summed(rows) == whole.model_copy(update=same), groups
    by_week, by_model = await host.spend_all(CostQuery(("week", "model")), CostQuery(("model",)))
    assert len(by_model) > 2
    assert summed_by("model", by_week) == [
        one.model_copy(update={"usage": Usage(), "groups": {}})
        for one in sorted(by_model, key=lambda one: (-one.known, one.group or ""))
    ]


async def test_a_year_is_drawn_by_weeks_and_ten_by_months(http, people, log_in):
    await log_in(people[2])
    for query, per in (("days=30", "day"), ("days=90", "week"), ("days=365", "week"), ("from=2020-01-01", "month")):
        page = (await http.get(f"/ui?{query}")).text
        assert f"<h2>Spend per {per}, by model</h2>" in page, query
        assert page.count('class="over"') == 1, "all was settled today"
        assert (f"A bar is a {per}; the first and the last" in page) is (per != "day"), query


def test_periods_are_named_as_the_ledger_s_sums():
    span = Span(date(2026, 12, 30), date(2027, 1, 5), None)
    assert span.periods("week") == {"2026-W53": date(2026, 12, 28), "2027-W01": date(2027, 1, 4)}
    assert span.periods("month") == {"2026-12": date(2026, 12, 1), "2027-01": date(2027, 1, 1)}
    assert list(span.periods("day").values()) == span.dates


async def test_a_page_is_fresh_after_another_process_s_batch(client, clock, http, people, log_in):
    ada, _, root = people
    await log_in(root)
    pages = [(await http.get("/ui")).text.partition("<footer>")[0] for _ in range(2)]
    assert pages[0] == pages[1], "the second is of sums that were kept"
    async with AsyncClient(settings=client.settings) as other:
        await submit_to(other, clock, ada.key.attribution, model="gpt-4.1-nano")
    assert "gpt-4.1-nano" not in pages[1]
    assert "gpt-4.1-nano" in (await http.get("/ui")).text
    assert "gpt-4.1-nano" in (await http.get("/ui/spend")).text


FILTERS = {
    "status=completed": True,
    "status=expired": False,
    "failures=1": True,
    "late=1": False,
    "tag=tag-of-ada": True,
    "tag=none": False,
    "metadata=job=job-of-ada": True,
    "metadata=job=other": False,
    "model=gpt-4o-mini-2024-07-18": True,
    "model=gpt-5": False,
    "settled=no": False,
    "settled=yes": True,
}


async def test_batches_are_filtered(http, person, submit, log_in):
    ada = await person("ada")
    batch_id = await submit(ada.key.attribution, metadata={"job": "job-of-ada"}, script="fail=0.4")
    await log_in(ada)
    found = {query: batch_id in (await http.get(f"/ui/batches?{query}")).text for query in FILTERS}
    assert found == FILTERS


async def test_batches_are_paged(client, submit):
    made = [await submit(Attribution(team="a" if number % 2 else "b"), settle=False, count=1) for number in range(5)][
        ::-1
    ]
    access = await access_of(client)
    seen, after = [], None
    while True:
        page = await access.browse(BatchFilter(), after=after, limit=2)
        seen += [one.tracked.batch_id for one in page.data]
        if page.next is None:
            break
        after = page.next
    assert seen == made
    odd = await access.browse(BatchFilter(team="b"), limit=2)
    assert [one.tracked.batch_id for one in odd.data] == made[::2][:2]
    assert odd.next is not None


async def test_costliest_batches_come_first(http, client, people, log_in):
    ada, bob, root = people
    await log_in(root)
    page = (await http.get("/ui/batches?sort=cost")).text
    assert ada.settled in page
    assert not [one for one in (ada.opened, bob.opened) if one in page]
    access = await access_of(client)
    first = await access.browse(BatchFilter(costliest=True), limit=1)
    assert [one.tracked.batch_id for one in first.data] == [ada.settled]
    second = await access.browse(BatchFilter(costliest=True), after=first.next, limit=1)
    assert [one.tracked.batch_id for one in second.data] == [bob.settled]
    assert second.next is None


async def test_keys_loggers_and_health_tell_what_goes_on(http, client, people, person, submit, log_in):
    _, _, root = people
    eve = await person("eve", limits=KeyLimits(open_batches=7))
    await submit(eve.key.attribution, settle=False)
    assert (await http.get("/v1/batches", headers={"x-api-key": eve.secret})).status_code == 200
    await client.deliverer.drain(10)
    await log_in(root)
    keys = (await http.get("/ui/keys")).text
    assert "1 of 7 open batches" in keys
    loggers = (await http.get("/ui/loggers/Refuses")).text
    assert "no room &lt;b&gt;here" in loggers
    assert "<dt>Delivered</dt><dd>0, 0 in the last hour</dd>" in loggers
    health = (await http.get("/ui/health")).text
    assert re.search(r"<dt>Size</dt><dd>\d+\.\d MB", health)
    assert "Polls late" in health
    keyring = await keyring_of(client)
    assert set(await keyring.last_seen()) == {eve.key.id}


async def test_prices_are_shown_by_region_and_date(http, people, log_in):
    await log_in(people[2])
    plain = (await http.get("/ui/prices?q=azure/gpt-5-mini")).text
    regions = (await http.get("/ui/prices?q=azure/gpt-5-mini&regions=1")).text
    assert "data-zone-eu" in regions
    assert "data-zone-eu" not in plain
    assert client_digest(plain) == client_digest(regions)


def client_digest(page):
    return re.search(r"<code>([0-9a-f]{64})</code>", page)[1]


async def test_spans_are_checked(http, people, log_in):
    await log_in(people[2])
    for query in ("days=31", "from=x", "from=2026-02-01&to=2026-01-01", "by=nonsense", "per=year"):
        answer = await http.get(f"/ui/spend?{query}")
        assert answer.status_code == 400, query
        assert answer.headers["content-security-policy"] == CSP


async def test_dead_events_are_sent_again(http, client, refuses, people, log_in):
    ada, _, root = people
    await client.deliverer.drain(10)
    await log_in(root)
    place = "/ui/loggers/Refuses"
    shown = (await http.get(place)).text
    assert "no room &lt;b&gt;here" in shown
    assert "Send 2 events" in (await http.get(f"{place}/replay")).text
    refuses.open = True
    assert (await http.post(f"{place}/replay")).status_code == 403
    assert refuses.seen == []
    assert (await http.post(f"{place}/replay", headers=SAME)).status_code == 303
    await client.deliverer.drain(10)
    assert ada.settled in refuses.seen
    assert "replay" in (await http.get("/ui/health")).text


@pytest.mark.parametrize("ui_settings", [{"read_only": True}])
async def test_read_only_pages_change_nothing(http, people, log_in):
    ada, _, root = people
    await log_in(root)
    for place in ("/ui/loggers/Refuses/replay", f"/ui/keys/{ada.key.id}/revoke"):
        assert (await http.get(place)).status_code == 403
        assert (await http.post(place, headers=SAME)).status_code == 403
    assert "Revoke…" not in (await http.get("/ui/keys")).text


def test_each_reason_that_the_docs_name_has_what_mends_it():
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "unknown-cost.md").read_text(encoding="utf-8")
    reasons = re.findall(r"^\| `(\w+)` \|", page.partition("## Reasons")[2].partition("## ")[0], re.MULTILINE)
    assert len(reasons) > 10
    assert [one for one in reasons if one not in MENDS] == []


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        ("0.00002", ["$0", "$0.000005", "$0.00002"]), ("3.9", ["$0", "$1.00", "$4.00"]), ("48000", ["$0", "$20,000", "$80,000"]),
        ("9000000", ["$0", "$2.5M", "$10M"]),
    ],
)  # fmt: skip
def test_a_chart_s_axis_fits_its_margin(most, labels):
    drawn = str(bars("Spend", ["gpt"], [Bar(date(2026, 11, 30), {"gpt": Decimal(most)})]))
    axis = re.findall(r'text-anchor="end">([^<]+)<', drawn)
    assert [axis[place] for place in (0, 1, 4)] == labels


def test_a_year_of_bars_is_few_elements():
    names = [f"model-{number}" for number in range(7)]
    parts = {name: Decimal(1) for name in names}
    weeks = [Bar(date(2026, 1, 1) + timedelta(days=7 * number), parts, 3) for number in range(53)]
    drawn = str(bars("Spend", names, weeks, per="week"))
    assert drawn.count("<") / 2 < 1000
    assert "week of 2026-01-08: model-0 $1.00" in drawn


def test_tables_of_any_length_stay_small():
    drawn = str(table("Keys", ("Key", "Spend>"), [(f"<{n}>", "1") for n in range(5000)], elsewhere="are in the CSV"))
    assert drawn.count("<") / 2 < 2200
    assert "&lt;649&gt;" in drawn
    assert "4,350 more are in the CSV." in drawn
    assert "more" not in str(table("Keys", ("Key",), [("a",)]))


async def test_keys_are_looked_for_where_there_are_many(http, people, log_in, monkeypatch):
    _, bob, root = people
    await log_in(root)
    assert "older ones" not in (await http.get("/ui/keys")).text
    monkeypatch.setattr("batchmeter_ui.pages.keys._MOST_KEYS", 1)
    newest = (await http.get("/ui/keys")).text
    assert sum(person.key.id in newest.partition("<table>")[2] for person in people) == 1
    assert "2 older ones are not shown" in newest
    found = (await http.get("/ui/keys?q=TEAM-of-bob")).text
    assert bob.key.id in found
    assert "older ones" not in found
    assert "No key has these words." in (await http.get("/ui/keys?q=nobody")).text


def test_cells_are_no_formulas():
    for text in ("=1+1", "+1", "-1", "@x", "\tx", "\rx"):
        assert cell(text) == f"'{text}"
    assert cell("gpt-5") == "gpt-5"


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1234.567", "$1,234.57"), ("0", "$0.00"), ("0.0012345678", "$0.001235"), ("0.01", "$0.01"), ("-2", "-$2.00"), ("0.0000000001", "$0.0000000001")],
)  # fmt: skip
def test_dollars_are_as_people_write_them(amount, text):
    assert dollars(Decimal(amount)) == text


async def test_a_nul_is_answered_with_a_page(http, people, log_in):
    await log_in(people[-1])
    for place in (
        "/ui?days=%00",
        "/ui/batches/openai/%00",
        "/ui/batches?team=%00",
        "/ui/nothing%00",
        "/ui/keys/%00/revoke",
    ):
        answer = await http.get(place)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8"), place
        assert "A NUL cannot be part" in answer.text, place
        assert answer.headers["content-security-policy"], place
    for form in ({"owner": "a\0"}, {"o\0": "a"}):
        answer = await http.post("/ui/keys/create", data=form, headers=SAME)
        assert (answer.status_code, "A NUL cannot be part of a form" in answer.text) == (400, True), form
