"""Live updates in a real browser: what changes is shown, hidden pages ask nothing, a revoked key hears no more."""

import asyncio
import html
import re

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from batchmeter_proxy import create_app, keyring_of
from batchmeter_ui.plugin import Pages
from batchmeter_ui.streams import MOST_STREAMS, Streams

from .browsing import open_page
from .served import served, serving, until


@pytest.fixture
def ui_settings():
    return {"live_seconds": 0.05}


@pytest.fixture
def pages(client):
    """The plugin of this client."""
    return next(plugin for plugin in client.plugins._manager.get_plugins() if isinstance(plugin, Pages))


HIDE = "Object.defineProperty(document, 'hidden', {value: true, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
SHOW = HIDE.replace("true, conf", "false, conf")


async def test_a_page_shows_what_happens_until_it_is_hidden(client, clock, person, pages, submit, browser):
    ada = await person("ada", admin=True)
    async with served(client) as address, open_page(browser, address, ada.secret) as page:
        assert "No batch is open" in await page.locator("#open").inner_text()
        batch_id = await submit(ada.key.attribution, settle=False)
        await page.locator(f"#open a[title={batch_id}]").wait_for()
        await submit(ada.key.attribution, model="gpt-5-mini")
        await page.locator("#models").get_by_text("gpt-5-mini").wait_for()
        assert await page.locator("#models").count() == await page.locator("#open").count() == 1
        assert await page.locator("#offline").is_hidden()
        await page.goto(f"{address}/ui/batches/openai/{batch_id}")
        assert "Not settled yet" in await page.locator("#facts").inner_text()
        clock.advance(60)
        await client.batches.retrieve(batch_id)
        clock.advance(1400)
        await client.batches.wait(batch_id, timeout=20)
        await page.locator("#facts").get_by_text("Saved by batch").wait_for()
        assert "gpt-4o-mini" in await page.locator("#rates").inner_text()
        await until(lambda: pages.streams.open == 1)
        await page.goto(f"{address}/ui")
        await until(lambda: pages.streams.open == 1)
        await page.evaluate(HIDE)
        await until(lambda: pages.streams.open == 0)
        await submit(ada.key.attribution, model="gpt-4.1-nano")
        await page.evaluate(SHOW)
        await page.locator("#models").get_by_text("gpt-4.1-nano").wait_for()
        await until(lambda: pages.streams.open == 1)
        await page.goto(f"{address}/ui/spend")
        await until(lambda: pages.streams.open == 0)


HALF_A_MINUTE = 30_000
RELOADED = "window.before === undefined"


async def test_a_revoked_key_hears_no_more(client, person, pages, submit, browser):
    ada = await person("ada")
    async with served(client) as address, open_page(browser, address, ada.secret, clock=True) as page:
        await until(lambda: pages.streams.open == 1)
        await (await keyring_of(client)).revoke_key(ada.key.id)
        await page.locator("#offline").wait_for(state="visible")
        await until(lambda: pages.streams.open == 0)
        secret = await submit(ada.key.attribution, settle=False)
        assert secret not in await page.content()
        await page.clock.fast_forward(HALF_A_MINUTE)
        await page.wait_for_url(f"{address}/ui/login**")


async def test_a_page_that_cannot_follow_is_read_again(client, person, pages, submit, browser):
    """After half a minute, and not while it is hidden; once it follows, no more."""
    ada, options = await person("ada", admin=True), {"clock": True, "expected": "status of 503"}
    async with served(client) as address, open_page(browser, address, ada.secret, **options) as page:
        pages.streams.open = 10 * MOST_STREAMS  # whenever the page's own ends
        async with page.expect_response(lambda answer: "/ui/live" in answer.url and answer.status == 503):
            await page.reload()
        await page.locator("#offline").wait_for(state="visible")
        await page.evaluate("window.before = true")
        await page.evaluate(HIDE)
        opened = await submit(ada.key.attribution, settle=False)
        await page.clock.fast_forward(3 * HALF_A_MINUTE)
        assert not await page.evaluate(RELOADED)
        assert opened not in await page.content()
        await page.evaluate(SHOW)
        await page.clock.fast_forward(HALF_A_MINUTE)
        await page.wait_for_function(RELOADED)
        await page.locator(f"#open a[title={opened}]").wait_for()
        pages.streams.open = 0
        await page.clock.fast_forward(HALF_A_MINUTE)
        await until(lambda: pages.streams.open == 1)
        await page.locator("#offline").wait_for(state="hidden")
        await page.evaluate("window.before = true")
        await page.clock.fast_forward(3 * HALF_A_MINUTE)
        assert not await page.evaluate(RELOADED)


async def test_a_stream_begins_with_what_its_page_does_not_show(client, clock, person, submit):
    """Changes before the stream was open, and while none was; no part that is the same."""
    ada = await person("ada", admin=True)
    headers = {"authorization": f"Bearer {ada.secret}"}
    async with served(client) as address, httpx2.AsyncClient(base_url=address, headers=headers) as http:

        async def stream_of(path):
            return html.unescape(re.search(r'hx-sse:connect="([^"]+)"', (await http.get(path)).text)[1])

        async def first(where, last_id=""):
            """The first message's id and parts."""
            told, message = {"last-event-id": last_id} if last_id else {}, []
            async with asyncio.timeout(30), http.stream("GET", where, headers=told) as stream:
                async for line in stream.aiter_lines():
                    if line:
                        message.append(line)
                    elif message != [": open"]:
                        break
                    else:
                        message = []
            return message[0].removeprefix("id: "), {*re.findall(r'hx-target="#(\w+)"', "".join(message))} - {"read"}

        follow = await stream_of("/ui")
        opened = await submit(ada.key.attribution, settle=False)
        event_id, parts = await first(follow)
        assert parts == {"open", "tiles"}
        await submit(ada.key.attribution, model="gpt-5-mini")
        _, parts = await first(follow, event_id)
        assert parts >= {"models", "spend", "tiles"}
        assert not parts & {"unknown", "note"}

        opened = await submit(ada.key.attribution, settle=False)
        follow = await stream_of(f"/ui/batches/openai/{opened}")
        clock.advance(60)
        await client.batches.retrieve(opened)
        event_id, parts = await first(follow)
        assert "facts" in parts
        assert not parts & {"usage", "rates", "failed"}
        clock.advance(1400)
        await client.batches.wait(opened, timeout=20)
        _, parts = await first(follow, event_id)
        assert parts >= {"facts", "rates", "usage"}
        assert "failed" not in parts


async def test_a_worker_bears_so_many_streams(client, person, pages):
    ada = await person("ada")
    pages.streams.open = MOST_STREAMS
    headers = {"authorization": f"Bearer {ada.secret}", "accept": "text/event-stream"}
    async with served(client) as address, httpx2.AsyncClient(base_url=address, headers=headers) as http:
        answer = await http.get("/ui/live")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        pages.streams.open = 0
        async with http.stream("GET", "/ui/live") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["x-accel-buffering"] == "no"
            assert await anext(stream.aiter_lines()) == ": open"
            assert pages.streams.open == 1
        await until(lambda: pages.streams.open == 0)


async def test_pages_follow_below_a_prefix(client, person, submit, browser):
    ada = await person("ada", admin=True)
    app = Starlette(routes=[Mount("/tools/bm", create_app(client))])
    async with served(client, app) as address, open_page(browser, f"{address}/tools/bm", ada.secret) as page:
        assert page.url.startswith(f"{address}/tools/bm/ui")
        opened = await submit(ada.key.attribution, settle=False)
        await page.locator(f"#open a[title={opened}]").click()
        assert page.url == f"{address}/tools/bm/ui/batches/openai/{opened}"
        await page.locator("#life").wait_for()


async def test_any_worker_s_page_follows_and_holds_up_no_end(client, person, submit, tmp_path, browser):
    ada = await person("ada", admin=True)
    stream = httpx2.AsyncClient(headers={"authorization": f"Bearer {ada.secret}"})
    with serving(tmp_path / "ui.db", "--workers", "2") as address:
        async with open_page(browser, address, ada.secret) as one, open_page(browser, address, ada.secret) as other:
            opened = await submit(ada.key.attribution, settle=False)
            for page in (one, other):
                await page.locator(f"#open a[title={opened}]").wait_for()
        answer = await stream.send(stream.build_request("GET", f"{address}/ui/live"), stream=True)
        assert await anext(answer.aiter_lines()) == ": open"
    await stream.aclose()


async def test_a_stranger_s_stream_ends_at_once(http, people):
    answer = await http.get("/ui/live", headers={"accept": "text/html, text/event-stream"})
    assert answer.text == "event: ended\ndata: log in again\n\n"


def test_streams_are_counted_back_after_errors():
    streams = Streams()
    with pytest.raises(KeyError), streams.one():
        raise KeyError
    assert streams.open == 0
