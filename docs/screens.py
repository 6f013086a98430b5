"""Makes the pictures of the web pages in docs/screens/, from a sandbox's ledger of a month under a fixed clock.

.venv/bin/python docs/screens.py [/usr/bin/chromium]
"""

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import granian.constants
from granian.server.embed import Server
from playwright.async_api import Browser, async_playwright

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import SettlementError
from batchmeter.ledger import open_ledger
from batchmeter.models import Attribution
from batchmeter.testing.sandbox import Sandbox, manual_clock, serve_sandbox
from batchmeter_proxy import create_app

BEGINS = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
DAYS = 30
MODELS = ("gpt-5", "gpt-5-mini", "o4-mini", "gpt-4.1-mini", "gpt-4o-mini", "house-llama-70b")
TEAMS = ("search", "support", "growth", "research", "catalog", "risk")
ACCOUNTS = ("openai", "eu-west", "research-org")
PORT = 4173
ALL = "--all" in sys.argv
"""Every page whole, into /tmp, to look at; else the two of the docs."""
HERE = Path(tempfile.gettempdir()) / "batchmeter-screens" if ALL else Path(__file__).parent / "screens"
CHOICE = random.Random(7)  # noqa: S311 - pictures, not secrets


def lines(model: str, count: int) -> bytes:
    rows = [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": model,
                "messages": [{"role": "user", "content": "Sum this up. " * 40}],
                "max_tokens": 400,
            },
        }
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


async def submit(client: AsyncClient, model: str, count: int, script: str) -> str:
    account = CHOICE.choice(ACCOUNTS)
    file = await client.files.create(
        file=("in.jsonl", lines(model, count)), purpose="batch", custom_llm_provider=account
    )
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        custom_llm_provider=account,
        metadata={"job": f"nightly-{CHOICE.randint(1, 9)}", **({"sandbox": script} if script else {})},
        attribution=Attribution(team=CHOICE.choice(TEAMS), user="ada", tags=("nightly",)),
    )
    return batch.id


@asynccontextmanager
async def filled() -> AsyncGenerator[AsyncClient]:
    """A client over a ledger with a month of batches."""
    clock = manual_clock()
    clock.now = BEGINS
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        sandbox = await stack.enter_async_context(serve_sandbox(speed=1, clock=clock))
        client = await stack.enter_async_context(client_of(sandbox, folder, lambda: int(clock.now * 1000)))
        for day in range(DAYS):
            clock.now = BEGINS + day * 86_400 + 3600
            await one_day(client, clock, last=day == DAYS - 1)
        yield client


def client_of(sandbox: Sandbox, folder: str, clock) -> AsyncClient:  # noqa: ANN001 - epoch milliseconds
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
    ledger = open_ledger(str(Path(folder) / "ledger.db"), clock=clock)
    settings = Settings(accounts=dict.fromkeys(ACCOUNTS, account), track=False, proxy={"freshness": 0}, load=())
    return AsyncClient(settings=settings, ledger=ledger)


async def one_day(client: AsyncClient, clock, *, last: bool) -> None:  # noqa: ANN001 - the sandbox's
    scripts = ["", "", "", "", "fail=0.05", "no_usage=3", "outcome=expired", "outcome=failed"]
    made = [
        await submit(
            client, CHOICE.choices(MODELS, (6, 5, 3, 3, 4, 1))[0], CHOICE.randint(20, 90), CHOICE.choice(scripts)
        )
        for _ in range(CHOICE.randint(1, 5))
    ]
    made = made[:1] if last else made
    for seconds in (60, 1400) if last else (60, 1400, 40_000, 45_000):
        clock.advance(seconds)
        for batch_id in made:
            await client.batches.retrieve(batch_id)
    for batch_id in made:
        try:
            await client.batches.wait(batch_id, timeout=5)
        except SettlementError:
            continue
    if last:
        for _ in range(4):
            opened = await submit(client, CHOICE.choice(MODELS[:5]), 900, "")
        clock.advance(700)
        for tracked in await client.ledger.list_batches(settled=False):
            await client.batches.retrieve(tracked.batch_id, custom_llm_provider=tracked.account)
        del opened


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
    async with filled() as client, served(client) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        found = await client.ledger.list_batches(settled=True, limit=200)
        shown = next((one for one in found if one.batch.request_counts and one.batch.request_counts.failed), found[0])
        await take(browser, address, "overview", width=1180)
        if ALL:
            await take(browser, address, "overview-dark", dark=True)
            await take(browser, address, "overview-phone", width=390)
            for name in ("batches", "spend", "unknown", "loggers", "keys", "health", "prices?q=gpt-5"):
                await take(browser, f"{address}/{name}", name.partition("?")[0])
            await take(browser, f"{address}/batches/{shown.account}/{shown.batch_id}/failures", "failures")
        await take(browser, f"{address}/batches/{shown.account}/{shown.batch_id}", "batch", width=1180)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(next((word for word in sys.argv[1:] if word.startswith("/")), "/usr/bin/chromium")))
