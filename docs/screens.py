"""Makes the pictures of the web pages in docs/screens/, from a sandbox's ledger of a month under a fixed clock.

.venv/bin/python docs/screens.py [/usr/bin/chromium]
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import granian.constants
from granian.server.embed import Server
from playwright.async_api import Browser, async_playwright

from batchmeter import AsyncClient
from batchmeter.testing.month import month
from batchmeter_proxy import create_app

ENDS = datetime(2026, 11, 30, 10, tzinfo=UTC).timestamp()
PORT = 4173
ALL = "--all" in sys.argv
"""Every page whole, into /tmp, to look at; else the two of the docs."""
HERE = Path(tempfile.gettempdir()) / "batchmeter-screens" if ALL else Path(__file__).parent / "screens"


@asynccontextmanager
async def served(client: AsyncClient) -> AsyncGenerator[str]:
    server = Server(create_app(client), address="127.0.0.1", port=PORT, interface=granian.constants.Interfaces.ASGINL)
    task = asyncio.create_task(server.serve())
    try:
        yield f"http://127.0.0.1:{PORT}/ui"
    finally:
        server.stop()
        await task


async def take(browser: Browser, address: str, name: str, *, width: int = 1320, dark: bool = False) -> None:
    scheme = "dark" if dark else "light"
    context = await browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)
    page = await context.new_page()
    page.on("console", lambda message: print("console:", message.text))
    await page.goto(address)
    await page.screenshot(path=HERE / f"{name}.png", full_page=ALL)
    await context.close()


async def main(chromium: str) -> None:
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with month(Path(folder), ends=ENDS) as filled, served(filled.client) as address:
            await pictures(chromium, filled.client, address)


async def pictures(chromium: str, client: AsyncClient, address: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        found = await client.ledger.list_batches(settled=True, limit=200)
        shown = next((one for one in found if one.batch.request_counts and one.batch.request_counts.failed), found[0])
        await take(browser, address, "overview", width=1180)
        if ALL:
            await take(browser, address, "overview-dark", dark=True)
            await take(browser, address, "overview-phone", width=390)
            opened = (await client.ledger.list_batches(settled=False, limit=1))[0]
            await take(browser, f"{address}/batches/{opened.account}/{opened.batch_id}", "batch-open", width=1280)
            await take(browser, f"{address}/batches", "batches-1280", width=1280)
            await take(browser, f"{address}/batches", "batches-phone", width=390)
            await take(
                browser, f"{address}/batches/{shown.account}/{shown.batch_id}", "batch-phone", width=390, dark=True
            )
            for name in ("retry", "reprice"):
                await take(browser, f"{address}/batches/{shown.account}/{shown.batch_id}/{name}", name, width=1280)
            for name in (
                "batches",
                "jobs",
                "nothing",
                "spend",
                "unknown",
                "loggers",
                "keys",
                "health",
                "prices?q=gpt-5",
            ):
                await take(browser, f"{address}/{name}", name.partition("?")[0])
            await take(browser, f"{address}/batches/{shown.account}/{shown.batch_id}/failures", "failures")
        await take(browser, f"{address}/batches/{shown.account}/{shown.batch_id}", "batch", width=1180)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(next((word for word in sys.argv[1:] if word.startswith("/")), "/usr/bin/chromium")))
