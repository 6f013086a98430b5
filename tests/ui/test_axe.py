"""Every page for people who cannot see, point or tell colours apart: axe-core finds nothing, light, dark and narrow."""

from pathlib import Path

import pytest

from .served import served
from .test_browser import browser, needs_chromium  # noqa: F401 - a fixture

AXE = next((Path(__file__).parents[2] / ".cache").glob("axe-core-*/axe.min.js"), None)
pytestmark = [needs_chromium, pytest.mark.skipif(AXE is None, reason="axe-core is not there: .ci/axe.sh")]
PLACES = (
    "",
    "/batches",
    "/batches/other/{settled}",
    "/batches/other/{settled}/failures",
    "/batches/other/{opened}",
    "/spend?by=team",
    "/unknown",
    "/loggers",
    "/loggers/Refuses",
    "/loggers/Refuses/replay",
    "/prices?q=gpt-4o-mini",
    "/keys",
    "/keys/{key}/revoke",
    "/health",
    "/x/nothing",
)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1320), ("dark", 390)])
async def test_axe_finds_nothing_wrong(client, people, browser, scheme, width):  # noqa: F811
    _, bob, root = people
    found, checked = [], 0
    async with served(client) as address:
        context = await browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        page = await context.new_page()
        await page.goto(f"{address}/ui/login")
        found += await _violations(page)
        await page.get_by_label("Key of this proxy").fill(root.secret)
        await page.get_by_role("button", name="Log in").click()
        for place in PLACES:
            where = place.format(settled=bob.settled, opened=bob.opened, key=bob.key.id)
            await page.goto(f"{address}/ui{where}")
            found += await _violations(page)
            checked += 1
        await context.close()
    assert found == []
    assert checked == len(PLACES)


async def _violations(page):
    await page.add_script_tag(path=AXE)
    result = await page.evaluate("axe.run(document)")
    assert len(result["passes"]) > 10
    return [(page.url, one["id"], [node["html"][:200] for node in one["nodes"]]) for one in result["violations"]]
