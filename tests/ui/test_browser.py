"""The pages in a real browser: nothing on the console, no policy broken, on a phone, in the dark, without scripts."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import pytest

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Debian's chromium is not installed: apt-get install chromium"
)
pytestmark = needs_chromium
PAGE, REQUESTS, NODES = 30_000, 6, 1500
"""Bytes of a page's compressed HTML, requests of it and its elements, at most."""
WATCH = """
window.broken = [];
document.addEventListener('securitypolicyviolation', event => window.broken.push(event.violatedDirective));
"""


@contextmanager
def serving(ledger, *options):
    """`batchmeter serve` over a ledger; its address."""
    env = os.environ | {
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
        "OPENAI_API_KEY": "k",
        "BATCHMETER_LEDGER": str(ledger),
    }
    command = [sys.executable, "-m", "batchmeter", "serve", "--port", "0", "--no-track", *options]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=25)
        finally:
            process.kill()


@pytest.fixture
async def browser():
    async with playwright.async_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield await started.chromium.launch(executable_path=CHROMIUM, args=arguments)


@asynccontextmanager
async def open_page(browser, address, secret, **options):
    """Logged in, on the overview; nothing may be said on its console, and no policy be broken."""
    context = await browser.new_context(**options)
    await context.add_init_script(WATCH)
    page, said = await context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    await page.goto(f"{address}/ui")
    await page.get_by_label("Key of this proxy").fill(secret)
    await page.get_by_role("button", name="Log in").click()
    await page.locator("#read").wait_for()
    try:
        yield page
        assert await page.evaluate("window.broken") == []
        assert said == []
    finally:
        await context.close()


SHIFT = """() => {
    const found = new PerformanceObserver(() => {});
    found.observe({type: 'layout-shift', buffered: true});
    return found.takeRecords().reduce((sum, entry) => sum + entry.value, 0);
}"""
"""How much of the page moved while it was loaded."""


async def test_pages_are_quiet_small_and_work_without_scripts(client, people, tmp_path, browser):
    ada, bob, root = people
    await client.aclose()
    places = (
        "",
        "/batches",
        f"/batches/other/{bob.settled}",
        "/spend?by=team",
        "/unknown",
        "/loggers",
        "/prices?q=gpt-5",
        "/keys",
        "/health",
    )
    with serving(tmp_path / "ui.db") as address:
        for scheme, width in (("light", 1280), ("dark", 390)):
            options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
            async with open_page(browser, address, root.secret, **options) as page:
                assert await page.get_by_role("heading", level=1).inner_text() == "Overview"
                for place in places:
                    await _visit(page, f"{address}/ui{place}")
                background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (int(re.findall(r"\d+", background)[0]) < 60) is (scheme == "dark")
        await _without_scripts(browser, address, ada)


async def test_odd_batches_fit_their_pages(client, clock, person, submit, tmp_path, browser):
    """A name of 10,000 characters, unknown costs only, and batches of a clock that is ten years ahead of the server's."""
    root = await person("root", admin=True)
    clock.advance(10 * 365 * 86_400)
    long = "m" * 10_000
    settled = await submit(root.key.attribution, model=long, metadata={"job": long[:400]})
    await submit(root.key.attribution, model=long, settle=False)
    await client.aclose()
    with serving(tmp_path / "ui.db") as address:
        options = {"viewport": {"width": 390, "height": 800}}
        async with open_page(browser, address, root.secret, **options) as page:
            for place in ("", "/batches", f"/batches/openai/{settled}", "/spend?by=model", "/unknown", "/health"):
                await _visit(page, f"{address}/ui{place}")
                text = await page.locator("main").inner_text()
                assert "$0.00" not in text, place
                assert place == "/health" or "unknown" in text.lower(), place
                assert not re.search(r"(?<![\d:-])-\d+[smhd]\b", text), place


async def _visit(page, url):
    requests = []

    def count(request):
        requests.append(request.url)

    page.on("request", count)
    answer = await page.goto(url)
    assert answer.status == 200, url
    assert len(gzip.compress(await answer.body())) <= PAGE, url
    assert len(requests) <= REQUESTS, requests
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), url
    assert await page.evaluate("window.broken") == [], url
    assert await page.locator("h1").count() == 1
    assert await page.evaluate("document.querySelectorAll('*').length") <= NODES, url
    assert await page.evaluate(SHIFT) == 0, url
    page.remove_listener("request", count)


async def _without_scripts(browser, address, ada):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{address}/ui/batches")
    await page.get_by_label("Key of this proxy").fill(ada.secret)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("link", name=ada.settled[:20]).click()
    assert ada.settled in await page.content()
    await page.get_by_role("button", name="Log out").click()
    assert page.url == f"{address}/ui/login"
    await page.goto(f"{address}/ui")
    assert page.url.startswith(f"{address}/ui/login")
    await context.close()
