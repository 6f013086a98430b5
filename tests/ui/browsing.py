"""A browser's page for tests: a message on its console or a breach of its content policy fails the test."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

WATCH = """
window.broken = [];
document.addEventListener('securitypolicyviolation', event => window.broken.push(event.violatedDirective));
"""


SAME = {"sec-fetch-site": "same-origin"}


@asynccontextmanager
async def open_page(
    browser: "Browser",
    address: str,
    secret: str,
    *,
    clock: bool = False,
    expected: str = "\0",
    form: bool = False,
    **options: Any,
) -> AsyncGenerator["Page"]:
    """Logged in, on the overview. `clock`: its timers are those of `page.clock`. `expected`: what its console may say.
    `form`: logged in by the page's own form."""
    context = await browser.new_context(**options)
    await context.add_init_script(WATCH)
    page, heard = await context.new_page(), list[str]()
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    if clock:
        await page.clock.install()
    if form:
        await log_in(page, address, secret)
    else:
        await context.request.post(f"{address}/ui/login", form={"key": secret}, headers=SAME)
        await page.goto(f"{address}/ui")
    await page.locator("#read").wait_for()
    try:
        yield page
        assert await page.evaluate("window.broken") == []
        assert [text for text in heard if expected not in text] == []
    finally:
        await context.close()


async def log_in(page: "Page", address: str, secret: str) -> None:
    await page.goto(f"{address}/ui")
    await page.get_by_label("Key of this proxy").fill(secret)
    await page.get_by_role("button", name="Log in").click()
