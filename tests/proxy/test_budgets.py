"""Budgets from outside: settings, SDK, proxy, metrics, pages and the command line, over real batches."""

import json
import re
from decimal import Decimal

import httpx
import httpx2
import pytest
from click.testing import CliRunner

import openai
from batchmeter import AsyncClient, cli
from batchmeter.access import access_of
from batchmeter.config import Settings
from batchmeter.errors import BudgetExceededError, ConfigError
from batchmeter.testing.sandbox import sandbox_thread, serve_sandbox
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import KeyLimits, Keyring
from batchmeter_proxy.keys import create_key

CHAT = "/v1/chat/completions"


def lines(count=3, model="gpt-5-mini", **body):
    rows = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": f"Say {number}."}], **body},
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
async def sandbox():
    async with serve_sandbox() as served:
        yield served


@pytest.fixture
async def start(sandbox, ledger):
    """Clients of one ledger, with these `[plugins.budgets]`."""
    opened = []

    async def make(track=False, **budgets):
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
        settings = Settings(
            ledger=ledger,
            accounts={"openai": account},
            plugins={"budgets": {**budgets, "every": 3600}},
            track=track,
            load=("budgets", "ui"),
            proxy={"freshness": 0},
        )
        opened.append(AsyncClient(settings=settings))
        return await opened[-1].open()

    yield make
    for client in opened:
        await client.aclose()


async def http_of(client, key=None):
    transport = httpx2.ASGITransport(create_app(client))
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://proxy", headers=headers)


async def submitted(client, content, **more):
    file = await client.files.create(file=("in.jsonl", content))
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, **more)
    await client.deliverer.drain(5)  # the batch's event names it in what is reserved
    return batch


async def test_a_batch_is_reserved_refused_settled_end_to_end(start):
    client = await start(search={"limit": "0.01", "scope": {"team": "search"}, "reserve": "upper"})
    content = lines(3, max_tokens=1000)
    batch = await submitted(client, content, attribution={"team": "search"})
    async with await http_of(client) as http:
        before = (await http.get("/v1/budgets/search")).json()["buckets"][0]
        assert Decimal(before["reserved"]) > Decimal("0.003"), "3 x 1,000 tokens at $1 a million, and the prompts"
        with pytest.raises(BudgetExceededError, match=r"Budget 'search' has \$0\.00"):
            await submitted(client, lines(9, max_tokens=1000), attribution={"team": "search"})
        settlement = await client.batches.wait(batch.id)
        await client.deliverer.drain(5)
        after = (await http.get("/v1/budgets/search")).json()["buckets"][0]
    assert (after["reserved"], Decimal(after["spent"])) == ("0", settlement.cost.total)
    assert [one["kind"] for one in await told(client)] == ["refused"]


async def test_the_official_sdk_gets_the_refusal_at_once(start):
    client = await start(search={"limit": "0.000001", "reserve": "upper"})
    asked = []

    async def count(request):
        asked.append(request.url.path)

    transport = httpx.ASGITransport(create_app(client))
    async with (
        httpx.AsyncClient(transport=transport, event_hooks={"request": [count]}) as http,
        openai.AsyncOpenAI(base_url="http://proxy/v1", api_key="k", http_client=http, max_retries=5) as sdk,
    ):
        file = await sdk.files.create(file=("in.jsonl", lines(max_tokens=1000)), purpose="batch")
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    assert (refused.value.type, refused.value.code) == ("insufficient_quota", "budget_exceeded")
    assert "Budget 'search' has" in refused.value.message
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert asked == ["/v1/files", "/v1/batches"], "no second try"


async def told(client):
    return [json.loads(one.payload) for one in await client.ledger.events(types=["budget_alert"], after=0, limit=99)]


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({"b": {"limit": "-1"}}, "not an amount of money"),
        ({"b": {"limit": "NaN"}}, "not an amount of money"),
        ({"b": {"limit": "Infinity"}}, "not an amount of money"),
        ({"b": {"limit": "1", "currency": "EUR"}}, "USD"),
        ({"b": {"limit": "1", "limit_tokens": 5}}, "set one of limit"),
        ({"b": {}}, "set one of limit"),
        ({"b": {"limit": "1", "scope": {"city": "x"}}}, "scope"),
        ({"b": {"limit": "1", "timezone": "Mars/Olympus"}}, "no time zone"),
        ({"b": {"limit": "1", "alerts": [0]}}, "percent"),
        ({"mine": {"limit": "1"}}, "cannot be a budget's name"),
        ({"b": {"limit": "1", "limits": "2"}}, "limits"),
    ],
)
async def test_edge_09_10_wrong_settings_are_refused_by_name(start, budgets, message):
    with pytest.raises(ConfigError, match=message):
        await start(**budgets)


async def test_an_admin_makes_changes_raises_and_deletes(start):
    client = await start(fixed={"limit": "5"})
    async with await http_of(client) as http:
        made = await http.post("/v1/budgets", json={"name": "ads", "limit": "10", "scope": {"team": "ads"}})
        assert (made.status_code, made.json()["source"], made.json()["buckets"][0]["left"]) == (201, "api", "10")
        assert (await http.post("/v1/budgets", json={"name": "ads", "limit": "1"})).json()["error"][
            "code"
        ] == "budget_exists"
        bad = await http.post("/v1/budgets", json={"name": "x", "limit": "ten"})
        assert (bad.status_code, bad.json()["error"]["param"]) == (400, "limit")
        changed = await http.patch("/v1/budgets/ads", json={"limit": "20"})
        assert changed.json()["limit"] == "20"
        raised = await http.post("/v1/budgets/ads/override", json={"amount": "5", "until": "2999-01-01", "reason": "x"})
        assert (raised.json()["override"]["amount"], raised.json()["buckets"][0]["limit"]) == ("5", "25")
        assert (
            await http.post("/v1/budgets/ads/override", json={"amount": "-1", "until": "2999-01-01"})
        ).status_code == 400
        for method, path in (("PATCH", "/v1/budgets/fixed"), ("DELETE", "/v1/budgets/fixed")):
            answer = await http.request(method, path, json={"limit": "9"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "managed_by_config")
        assert (await http.delete("/v1/budgets/ads")).json()["deleted"] is True
        gone = await http.get("/v1/budgets/ads")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "budget_not_found")
        assert [one["name"] for one in (await http.get("/v1/budgets")).json()["data"]] == ["fixed"]


async def test_a_key_sees_only_the_budgets_that_are_about_it(start):
    client = await start(
        teams={"limit": "1", "scope": {"team": "*"}}, ads={"limit": "2", "scope": {"team": "ads"}}, all={"limit": "50"}
    )
    keyring = await Keyring.open(await access_of(client))
    _, secret = await create_key(keyring, name="s", team="search")
    key, _ = await create_key(keyring, name="a", team="ads")
    for who in ({"team": "search"}, {"team": "ads", "key": key.id}):
        await submitted(client, lines(max_tokens=9), attribution=who)
    async with await http_of(client, secret) as http:
        mine = (await http.get("/v1/budgets/mine")).json()["data"]
        assert sorted((one["budget"], one["bucket"]) for one in mine) == [("all", ""), ("teams", "team=search")]
        for method, path in (
            ("GET", "/v1/budgets"),
            ("POST", "/v1/budgets"),
            ("GET", "/v1/budgets/ads"),
            ("PATCH", "/v1/budgets/ads"),
            ("DELETE", "/v1/budgets/ads"),
            ("GET", "/v1/budgets/ads/reservations"),
            ("POST", "/v1/budgets/ads/override"),
        ):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "admin_only"), path


async def test_a_key_of_some_accounts_sees_no_budget_of_others(start):
    client = await start(
        here={"limit": "1", "scope": {"account": "sandbox"}}, there={"limit": "2", "scope": {"account": "o"}}
    )
    _, secret = await create_key(await Keyring.open(await access_of(client)), name="s", accounts=["sandbox"])
    async with await http_of(client, secret) as http:
        mine = (await http.get("/v1/budgets/mine")).json()["data"]
    assert [one["budget"] for one in mine] == ["here"]


async def test_a_limited_admin_key_sees_no_budget_of_all_accounts(start):
    client = await start(all={"limit": "50"})
    _, secret = await create_key(await Keyring.open(await access_of(client)), admin=True, accounts=["openai"])
    async with await http_of(client, secret) as http:
        assert (await http.get("/v1/budgets")).json()["error"]["code"] == "account_not_allowed"


async def test_a_key_s_limit_of_tokens_is_a_429_until_its_batch_ends(start):
    client = await start()
    keyring = await Keyring.open(await access_of(client))
    _, secret = await create_key(keyring, name="s", limits=KeyLimits(enqueued_tokens=20))
    async with await http_of(client, secret) as http:
        files = [
            (await http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", lines(2))})).json()[
                "id"
            ]
            for _ in range(2)
        ]
        bodies = [{"input_file_id": one, "endpoint": CHAT, "completion_window": "24h"} for one in files]
        first, second = [await http.post("/v1/batches", json=body) for body in bodies]
        assert first.status_code == 200, first.text
        assert (second.status_code, second.json()["error"]["code"]) == (429, "enqueued_token_limit")
        assert second.headers["retry-after"] == "60"
        await client.batches.wait(first.json()["id"])
        await client.deliverer.drain(5)
        assert (await http.post("/v1/batches", json=bodies[1])).status_code == 200
        client.plugins.unregister("budgets")
        off = await http.post("/v1/batches", json=bodies[0])
        assert (off.status_code, off.json()["error"]["code"]) == (503, "limit_not_held")


async def test_an_account_s_limit_without_budgets_is_a_clear_error(tmp_path, sandbox):
    account = {
        "provider": "openai",
        "api_base": sandbox.url,
        "api_key": "k",
        "limits": {"enqueued_tokens": {"gpt-*": 5}},
    }
    settings = Settings(ledger=str(tmp_path / "l.db"), accounts={"openai": account}, track=False, load=())
    async with AsyncClient(settings=settings) as client:
        with pytest.raises(ConfigError, match=r"no plugin holds the limits of \[accounts.openai\]"):
            await submitted(client, lines())


async def test_pages_show_the_fullest_buckets_and_any_that_is_wanted(start, monkeypatch):
    monkeypatch.setattr("batchmeter_budgets.page._MOST_OF_EACH", 1)
    monkeypatch.setattr("batchmeter_budgets.page._MOST_BUCKETS", 1)
    client = await start(teams={"limit": "1", "scope": {"team": "*"}})
    small = await submitted(client, lines(max_tokens=9), attribution={"team": "ads"})
    large = await submitted(client, lines(max_tokens=900), attribution={"team": "search"})
    async with await http_of(client) as http:
        listed, first = (await http.get("/ui/budgets")).text, (await http.get("/ui/budgets/teams")).text
        wanted = (await http.get("/ui/budgets/teams", params={"bucket": "team=ads"})).text
        missing = (await http.get("/ui/budgets/teams", params={"bucket": "team=none"})).text
    assert ("teams (search)" in listed, "teams (ads)" in listed) == (True, False)
    assert "some of its fullest buckets" in listed
    assert (large.id in first, small.id in first) == (True, False)
    assert (large.id in wanted, small.id in wanted) == (False, True)
    assert large.id in missing


async def test_metrics_and_pages_show_the_sums(start):
    client = await start(
        teams={"limit": "1", "scope": {"team": "*"}},
        queue={"limit_tokens": 10_000, "scope": {"key": "*"}},
        all={"limit": "9"},
    )
    batch = await submitted(client, lines(max_tokens=9), attribution={"team": "<b>search", "key": "k1"})
    async with await http_of(client) as http:
        text = (await http.get("/metrics")).text
        page = (await http.get("/ui/budgets")).text
        one = (await http.get("/ui/budgets/teams", follow_redirects=True)).text
        missing = await http.get("/ui/budgets/nothing")
        overview = (await http.get("/ui")).text
        rows = (await http.get("/v1/budgets/teams/reservations?state=open")).json()["data"]
    assert 'batchmeter_budget_limit_usd{bucket="team=%3Cb%3Esearch",budget="teams"} 1.0' in text
    assert 'batchmeter_budget_reserved_tokens{bucket="key=k1",budget="queue"}' in text
    assert "teams (&lt;b&gt;search)" in page
    assert batch.id in one
    assert "Left after each day" in one
    assert missing.status_code == 404
    assert "Nearest its limit" in overview
    assert [row["batch_id"] for row in rows] == [batch.id]


async def test_a_page_changes_a_budget_that_no_settings_hold(start):
    client = await start(all={"limit": "9"})
    own = {"sec-fetch-site": "same-origin"}
    async with await http_of(client) as http:
        assert (await http.post("/v1/budgets", json={"name": "ads", "limit": "5"})).status_code == 201
        shown = [(await http.get(f"/ui/budgets/{name}")).text for name in ("ads", "all")]
        assert ["Change…" in page for page in shown] == [True, False], "the configuration's is changed there"
        assert 'value="5"' in (await http.get("/ui/budgets/ads/edit")).text
        changed = {"limit": "7.5", "mode": "watch", "period": "week"}
        assert (await http.post("/ui/budgets/ads/edit", data=changed)).status_code == 403
        answer = await http.post("/ui/budgets/ads/edit", data=changed, headers=own)
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/budgets/ads")
        found = (await http.get("/v1/budgets/ads")).json()
        assert [str(found[name]) for name in changed] == list(changed.values())
        assert "change budget" in (await http.get("/ui/health")).text
        wrong = await http.post("/ui/budgets/ads/edit", data={"limit": "much"}, headers=own)
        assert (wrong.status_code, "limit" in wrong.text) == (400, True)
        assert (await http.get("/ui/budgets/all/edit")).status_code == 409
        assert (await http.post("/ui/budgets/all/edit", data=changed, headers=own)).status_code == 409


def test_the_command_line_sets_shows_refuses_and_checks(tmp_path, monkeypatch):
    with sandbox_thread() as sandbox:
        (tmp_path / "batchmeter.toml").write_text(
            f'ledger = "{tmp_path}/l.db"\n[accounts.openai]\napi_base = "{sandbox.url}"\napi_key = "k"\n'
            '[plugins.budgets.team]\nlimit = "0.000001"\nscope = {user = "ada"}\n'
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("BATCHMETER_LEDGER")
        monkeypatch.delenv("BATCHMETER_PLUGINS")

        def shell(*arguments):
            return CliRunner().invoke(cli.main, [*arguments])

        (tmp_path / "in.jsonl").write_bytes(lines(3, max_tokens=100))
        made = shell("budgets", "set", "all", "--limit", "0.000002", "--scope", "account=openai", "--alerts", "90")
        assert (made.exit_code, made.output) == (0, "Budget all is set.\n")
        asked = [
            shell("estimate", "in.jsonl", *more) for more in ((), ("--check-budgets",), ("--check-budgets", "--json"))
        ]
        assert [one.exit_code for one in asked] == [0, 3, 3]
        assert "Budget 'all' has" in asked[1].output
        assert json.loads(asked[2].stdout)["requests"] == 3
        refused = shell("submit", "in.jsonl")
        assert refused.exit_code == 3, refused.output
        assert "Budget 'all' has" in refused.output
        listed = json.loads(shell("budgets", "list", "--json").output)
        assert [(one["name"], one["source"]) for one in listed] == [("all", "api"), ("team", "config")]
        wrong = shell("budgets", "set", "all", "--limit", "-1")
        assert (wrong.exit_code, "not an amount of money" in wrong.output) == (2, True)
        fixed = shell("budgets", "remove", "team")
        assert (fixed.exit_code, "stands in the configuration" in fixed.output) == (2, True)
        assert shell("budgets", "override", "all", "5", "--until", "2999-01-01").exit_code == 0
        asked = shell("estimate", "in.jsonl", "--check-budgets", "--user", "bob")
        assert (asked.exit_code, "no budget refuses it" in asked.output) == (0, True)
        assert shell("estimate", "in.jsonl", "--check-budgets", "--user", "ada").exit_code == 3
        assert shell("submit", "in.jsonl").exit_code == 0
        shown = json.loads(shell("budgets", "show", "all", "--json").output)
        assert [one["state"] for one in shown["reservations"]] == ["open"]
        text = shell("budgets", "show", "all").output
        assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ raised by command$", text, re.MULTILINE), text
        assert "0 reservations given back" in shell("budgets", "check").output
        nothing = shell("budgets", "release", "batch_x", "--reason", "none")
        assert (nothing.exit_code, "nothing is uncertain" in nothing.output) == (2, True)


def test_the_command_says_where_budgets_are_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHMETER_PLUGINS")
    off = CliRunner().invoke(cli.main, ["budgets", "list"])
    assert (off.exit_code, "budgets are off: set [plugins.budgets]" in off.output) == (2, True)
    monkeypatch.setenv("BATCHMETER_BUDGETS", "on")
    assert CliRunner().invoke(cli.main, ["budgets", "list"]).exit_code == 0


async def test_the_description_tells_of_bodies_and_answers(start):
    async with await http_of(await start()) as http:
        document = (await http.get("/openapi.json")).json()
    paths = {path: methods for path, methods in document["paths"].items() if path.startswith("/v1/budgets")}
    assert {method for methods in paths.values() for method in methods} == {"get", "post", "patch", "delete"}
    assert len(paths) == 5
    made = paths["/v1/budgets"]["post"]
    asked = made["requestBody"]["content"]["application/json"]["schema"]
    assert {"name", "limit", "scope", "period"} <= set(asked["properties"])
    assert "201" in made["responses"]
    assert "$defs" not in json.dumps(paths)


async def test_a_sandbox_s_batches_take_nothing_and_are_not_refused(tmp_path):
    settings = Settings(
        ledger=str(tmp_path / "l.db"),
        accounts={"sandbox": {"provider": "sandbox", "speed": 1e9}},
        plugins={"budgets": {"all": {"limit": "0"}}},
        track=False,
        load=("budgets",),
    )
    async with AsyncClient(settings=settings) as client:
        file = await client.files.create(file=("in.jsonl", lines()), custom_llm_provider="sandbox")
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, custom_llm_provider="sandbox")
        await client.batches.wait(batch.id, custom_llm_provider="sandbox")
        await client.deliverer.drain(5)
        (budgets,) = [found for _, found in client.plugins.call_hook("open_budgets")]
        assert await budgets.book.tables.rows("periods", since=0) == []
