"""Pages and tiles of other plugins, by the hook `register_pages`."""

import htpy as h
import pytest

import batchmeter
from batchmeter_ui import Content, Page, Tile, View, card

from .conftest import SAME


class Budgets:
    """Brings three pages, one with a tile, and one whose tile fails."""

    def __init__(self):
        self.edited = []

    @batchmeter.hookimpl(optionalhook=True)
    def register_pages(self, register):
        register(Page("budgets", "Budgets", self.all, tile=self.tile))
        register(Page("budgets/{name}", "", self.one))
        register(Page("budgets/new", "", self.new))
        register(Page("/budgets/{name}/edit", "", self.one, self.edit, everywhere=True))
        register(Page("a/b/c/d/e/f/g/{name}", "", self.one))
        register(Page("broken", "Broken", self.all, tile=self.broken))
        register(Page("secret", "Secret", self.all, everywhere=True, tile=self.hidden))

    async def all(self, view: View):
        return Content("Budgets", card("All", h.p["two of them"]))

    async def new(self, view: View):
        return Content("A new budget", h.p["new"])

    async def one(self, view: View):
        return Content("One budget", h.p[f"it is {view.ids['name']}"])

    async def edit(self, view: View):
        view.check_may_act()
        self.edited.append((view.ids["name"], (await view.form())["limit"]))
        return await self.one(view)

    async def tile(self, view: View):
        return Tile("Nearest its limit", "83 %", "team <b>search</b>", bad=True)

    async def broken(self, view: View):
        raise RuntimeError("no figures")

    async def hidden(self, view: View):
        return Tile("Hidden", "42")


@pytest.fixture
def budgets(client):
    made = Budgets()
    client.plugins.register(made, "Budgets")
    return made


async def test_added_pages_have_paths_of_their_own(http, budgets, person, log_in):
    await log_in(await person("root", admin=True))
    assert "two of them" in (await http.get("/ui/budgets")).text
    assert "it is search &amp; more" in (await http.get("/ui/budgets/search%20%26%20more")).text
    assert "A new budget" in (await http.get("/ui/budgets/new")).text
    assert "it is a/b" in (await http.get("/ui/budgets/a%2Fb/edit")).text
    moved = await http.get("/ui/x/budgets/new?a=b")
    assert (moved.status_code, moved.headers["location"]) == (308, "/ui/budgets/new?a=b")
    assert "it is h/i" in (await http.get("/ui/a/b/c/d/e/f/g/h%2Fi")).text
    for place in ("nothing", "budgets/a/b", "budgets/a/edit/more", "{name}", "1/2/3/4/5/6/7/8/9", "a//b", "/a"):
        answer = await http.get(f"/ui/{place}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), place
        assert "There is no such page." in answer.text


async def test_added_forms_are_guarded_as_others(http, budgets, person, log_in):
    await log_in(await person("root", admin=True))
    sent = {"data": {"limit": "9"}}
    assert (await http.post("/ui/budgets/a/edit", **sent)).status_code == 403
    assert (await http.post("/ui/budgets", headers=SAME, **sent)).status_code == 405
    assert (await http.post("/ui/budgets/a/edit", headers=SAME, **sent)).status_code == 200
    await log_in(await person("ada"))
    assert (await http.post("/ui/budgets/a/edit", headers=SAME, **sent)).status_code == 403
    assert budgets.edited == [("a", "9")]


async def test_added_tiles_are_on_the_overview(http, budgets, person, log_in, caplog):
    await log_in(await person("ada"))
    page = (await http.get("/ui")).text
    assert "83 %" in page
    assert "team &lt;b&gt;search" in page
    assert "Hidden" not in page
    assert "the tile of the page '/broken' failed" in caplog.text
    await log_in(await person("root", admin=True))
    assert "Hidden" in (await http.get("/ui")).text
