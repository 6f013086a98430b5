"""The pages in a real browser: quiet, small, usable by anybody; on a phone, in the dark, without scripts."""

import asyncio
import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.heavy import HEAVY

from batchmeter_budgets import BudgetSettings
from batchmeter_proxy import create_app
from batchmeter_reconcile.reconciler import Request

from .browsing import log_in, open_page
from .served import served

PAGE, REQUESTS, NODES = 30_000, 6, 1500
"""Bytes of a page's compressed HTML, requests of it and its elements, at most."""
AXE = next((Path(__file__).parents[2] / ".cache").glob("axe-core-*/axe.min.js"), None)
needs_axe = pytest.mark.skipif(AXE is None, reason="axe-core is not there: .ci/axe.sh")
PLACES = {
    "": True,
    "?days=365": False,
    "/batches": True,
    "/batches/other/{settled}": True,
    "/batches/other/{opened}": True,
    "/batches/other/{opened}/cancel": False,
    "/batches/openai/{failed}/failures": True,
    "/batches/openai/{failed}/retry": True,
    "/batches/other/{settled}/reprice": False,
    "/spend?by=team": True,
    "/unknown": True,
    "/unknown/reprice?account=other": False,
    "/jobs": False,
    "/loggers": False,
    "/loggers/Refuses": True,
    "/loggers/Refuses/replay": False,
    "/prices?q=openai/gpt-4o-mini-2024": True,
    "/keys": False,
    "/keys/create": True,
    "/keys/{key}/revoke": False,
    "/health": True,
    "/budgets": False,
    "/budgets/teams": True,
    "/budgets/ads/edit": False,
    "/reconcile": False,
    "/reconcile/{reconciliation}": True,
    "/nothing/at/all": False,
}
"""A page of each kind -> whether its parts are found on no page before it; only these pass axe where CI does not run."""
WIDE, NARROW = {"width": 1320, "height": 800}, {"width": 390, "height": 800}
ALL = "axe.run(document, {resultTypes: ['violations'], preload: false})"
OF_LOOKS = (
    "axe.run(document, {resultTypes: ['violations'], preload: false, runOnly: ['color-contrast', 'link-in-text-block',"
    " 'scrollable-region-focusable', 'target-size']})"
)
"""Rules that the other scheme and width can break."""
SHIFT = """() => {
    const found = new PerformanceObserver(() => {});
    found.observe({type: 'layout-shift', buffered: true});
    return found.takeRecords().reduce((sum, entry) => sum + entry.value, 0);
}"""
"""How much of the page moved while it was loaded."""
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
BACKGROUND = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
BILL = (
    "BilledCost,BillingCurrency,ChargeCategory,ChargePeriodStart,ConsumedQuantity,ConsumedUnit,x_SkuMeterName,ResourceId\n"
    "0.96,USD,Usage,{day},19200000,Units,gpt 4.1 nano Batch Inp glbl Tokens,/s/x/acct\n"
    "0.01,USD,Usage,{day},100,Units,gpt 9 Batch wonder Tokens,/s/x/acct\n"
)


@pytest.fixture
def plugin_settings():
    return {
        "ui": {"live_seconds": 0.05},
        "budgets": {"teams": {"limit": "1", "mode": "watch", "scope": {"team": "*"}}},
        "reconcile": {"daily": False, "openai": {}},
    }


async def reconciled(client, folder):
    """A reconciliation with a bill of other things than the ledger's: its id."""
    ((_, reconciler),) = client.plugins.call_hook("open_reconcile")
    today = datetime.now(UTC).date()
    bill = folder / "bill.csv"
    bill.write_text(BILL.format(day=today.isoformat()))
    found = await reconciler.run("openai", Request(today - timedelta(days=2), today, bill=bill))
    return found["id"]


@needs_axe
@pytest.mark.timeout(240)
async def test_every_page_is_quiet_small_and_usable_by_anybody(client, people, tmp_path, browser):
    """All of axe's rules in the dark on a phone, and those of looks in the light on a wide screen."""
    ada, bob, root = people
    names = {"settled": bob.settled, "opened": bob.opened, "key": bob.key.id, "failed": ada.settled}
    names["reconciliation"] = await reconciled(client, tmp_path)
    ((_, budgets),) = client.plugins.call_hook("open_budgets")
    await budgets.book.change("ads", BudgetSettings(limit="5"), who="root", new=True)
    violations, visited = [], 0
    async with served(client) as address:
        login = await browser.new_page()
        await login.goto(f"{address}/ui/login")
        violations += await _violations(login)
        await login.close()
        async with open_page(
            browser, address, root.secret, expected="status of 404", form=True, viewport=NARROW, color_scheme="dark"
        ) as page:
            assert await page.get_by_role("heading", level=1).inner_text() == "Overview"
            for place, has_new_parts in PLACES.items():
                url = f"{address}/ui{place.format(**names)}"
                await _visit(page, url, status=404 if "nothing" in place else 200)
                visited += 1
                if HEAVY or has_new_parts:
                    violations += await _violations(page, wide=HEAVY or visited % 2 == 0)
        await _without_scripts(browser, address, ada)
    assert violations == []
    assert visited == len(PLACES)


async def test_odd_batches_fit_their_pages(client, clock, person, submit, browser):
    """A name of 10,000 characters, unknown costs only, and batches of a clock that is ten years ahead of the server's."""
    root = await person("root", admin=True)
    clock.advance(10 * 365 * 86_400)
    long = "m" * 10_000
    settled = await submit(root.key.attribution, model=long, metadata={"job": long[:400]})
    await submit(root.key.attribution, model=long, settle=False)
    async with served(client) as address, open_page(browser, address, root.secret, viewport=NARROW) as page:
        for place in ("", "/batches", f"/batches/openai/{settled}", "/spend?by=model", "/unknown", "/health"):
            await _visit(page, f"{address}/ui{place}")
            text = await page.locator("main").inner_text()
            assert "$0.00" not in text, place
            assert place == "/health" or "unknown" in text.lower(), place
            assert not re.search(r"(?<![\d:-])-\d+[smhd]\b", text), place


class Halves:
    """The proxy, which sends its pages in two halves: the second when it is told to."""

    def __init__(self, app):
        self.app, self.go_on = app, asyncio.Event()

    async def __call__(self, scope, receive, send):
        async def in_halves(message):
            body = message.get("body", b"")
            if b"<h1>" not in body:
                return await send(message)
            half = body.index(b"<a", body.index(b"<h1>") + 1) + 10
            await send({**message, "body": body[:half], "more_body": True})
            await self.go_on.wait()
            return await send({**message, "body": body[half:]})

        if scope["type"] != "http" or scope["path"] != "/ui/spend":
            return await self.app(scope, receive, send)
        return await self.app(scope, receive, in_halves)


PAINTED = """new Promise(done => {
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
    setTimeout(() => done(false), 100);
})"""


async def test_a_page_that_comes_in_halves_never_moves(client, person, browser):
    """Nothing is shown before all of it is there."""
    root = await person("root", admin=True)
    app = Halves(create_app(client))
    async with served(client, app) as address, open_page(browser, address, root.secret, viewport=NARROW) as page:
        await page.goto(f"{address}/ui/spend?by=team&per=day", wait_until="commit")
        await page.wait_for_function("document.querySelector('h1 + *') !== null", polling=10)
        assert not await page.evaluate(PAINTED)
        app.go_on.set()
        await page.locator("#read").wait_for()
        assert await page.evaluate(PAINTED)
        assert await page.evaluate(SHIFT) == 0


async def _visit(page, url, *, status=200):
    requests = []

    def count(request):
        requests.append(request.url)

    page.on("request", count)
    answer = await page.goto(url)
    assert answer.status == status, url
    assert len(gzip.compress(await answer.body())) <= PAGE, url
    assert len(requests) <= REQUESTS, requests
    assert await page.evaluate(FITS), url
    assert await page.evaluate("window.broken") == [], url
    assert await page.locator("h1").count() == 1
    assert await page.evaluate("document.querySelectorAll('*').length") <= NODES, url
    assert await page.evaluate(SHIFT) == 0, url
    page.remove_listener("request", count)


async def _violations(page, *, wide=True):
    """Scripts that a test evaluates are no matter of the page's policy."""
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(NARROW)
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    results = [await page.evaluate(ALL)]
    assert len(results[0]["passes"]) > 10
    assert await page.evaluate(BACKGROUND) < 60
    if wide:
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(WIDE)
        results.append(await page.evaluate(OF_LOOKS))
        assert await page.evaluate(BACKGROUND) > 200
        assert await page.evaluate(FITS), page.url
        await page.emulate_media(color_scheme="dark")
        await page.set_viewport_size(NARROW)
    return [
        (page.url, one["id"], [node["html"][:200] for node in one["nodes"]])
        for result in results
        for one in result["violations"]
    ]


async def _without_scripts(browser, address, ada):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await log_in(page, f"{address}", ada.secret)
    await page.goto(f"{address}/ui/batches")
    await page.get_by_role("link", name=ada.settled[:20]).click()
    assert ada.settled in await page.content()
    await page.get_by_role("button", name="Log out").click()
    assert page.url == f"{address}/ui/login"
    await page.goto(f"{address}/ui")
    assert page.url.startswith(f"{address}/ui/login")
    await context.close()
