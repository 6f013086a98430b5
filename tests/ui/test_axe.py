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
    "/batches/other/{opened}/cancel",
    "/spend?by=team",
    "/unknown",
    "/batches/openai/{failed}/retry",
    "/batches/other/{settled}/reprice",
    "/unknown/reprice?account=other",
    "/jobs",
    "/loggers",
    "/loggers/Refuses",
    "/loggers/Refuses/replay",
    "/prices?q=openai/gpt-4o-mini-2024",
    "/keys",
    "/keys/create",
    "/keys/{key}/revoke",
    "/health",
    "/nothing",
)


WIDE, NARROW = {"width": 1320, "height": 800}, {"width": 390, "height": 800}
ALL = "axe.run(document, {resultTypes: ['violations']})"
OF_COLOURS = (
    "axe.run(document, {resultTypes: ['violations'],"
    " runOnly: ['color-contrast', 'link-in-text-block', 'scrollable-region-focusable']})"
)
"""Rules that the other scheme and width can break."""


@pytest.mark.timeout(240)
async def test_axe_finds_nothing_wrong(client, people, browser):  # noqa: F811
    ada, bob, root = people
    found, checked = [], 0
    async with served(client) as address:
        context = await browser.new_context(viewport=NARROW, color_scheme="dark", bypass_csp=True)
        page = await context.new_page()
        await page.goto(f"{address}/ui/login")
        found += await _violations(page)
        await page.get_by_label("Key of this proxy").fill(root.secret)
        await page.get_by_role("button", name="Log in").click()
        for place in PLACES:
            names = {"settled": bob.settled, "opened": bob.opened, "key": bob.key.id, "failed": ada.settled}
            await page.goto(f"{address}/ui{place.format(**names)}")
            found += await _violations(page, wide=place in PLACES[:7])
            checked += 1
        await context.close()
    assert found == []
    assert checked == len(PLACES)


async def _violations(page, *, wide=True):
    """In the dark on a phone all rules, in the light on a wide screen those that it can change."""
    await page.add_script_tag(path=AXE)
    results = [await page.evaluate(ALL)]
    assert len(results[0]["passes"]) > 10
    if not wide:
        return _shown(page, results)
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size(WIDE)
    results.append(await page.evaluate(OF_COLOURS))
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size(NARROW)
    return _shown(page, results)


def _shown(page, results):
    return [
        (page.url, one["id"], [node["html"][:200] for node in one["nodes"]])
        for result in results
        for one in result["violations"]
    ]
