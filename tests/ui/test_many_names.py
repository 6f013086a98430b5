"""Spend by thousands of names: a page shows the costliest, and reads their cells only."""

import importlib
import re
from decimal import Decimal

from batchmeter.spend import rolling
from batchmeter.spend.figures import Group, Kind, Tally
from batchmeter_ui.pages import spend
from batchmeter_ui.words import dollars


async def add_sums(client, day, teams):
    """A batch of each team and one without, with a tag each and one in common."""
    tally = Tally()
    for number in range(teams):
        who = {"team": f"team {number}" if number != 25 else "", "labels": f'[["","all"],["","tag {number}"]]'}
        for which, model in ((Kind(0), ""), (Kind.MODELS, "m")):
            group = Group(**{**dict.fromkeys(Group.__slots__, ""), "model": model, **who})
            tally.sums[which | Kind.LABELLED, day, group].update(batches=1, lines=2, usd=number + 1, atto=number)

    async def add(session):
        await rolling.store(session, tally.spread())
        await rolling.note_change(session, [day])

    await client.ledger.database.write(add)


async def test_spend_by_many_names_shows_the_costliest(client, http, person, log_in, monkeypatch):
    """And their cells only are read; the CSV has all, some at a time."""
    await log_in(await person("root", admin=True))
    await add_sums(client, 20_500, 40)
    await add_sums(client, 20_502, 30)
    span = "from=2026-02-16&to=2026-02-20&per=day"
    whole = {by: (await http.get(f"/ui/export/spend.csv?by={by}&{span}")).text for by in ("team", "tag")}
    monkeypatch.setattr(importlib.import_module("batchmeter_ui.table"), "_MOST_CELLS", 8 * 12)
    monkeypatch.setattr(spend, "_MOST_CELLS", 5 * 7)
    for by, first in (("team", "team 29"), ("tag", "all")):
        page = (await http.get(f"/ui/spend?by={by}&{span}")).text
        shown = re.findall(r'<th scope="row">(?:<span class="quiet">)?([^<]+)<', page)
        assert (len(shown), shown[0], "(none)" in shown) == (12, first, by == "team")
        lines = whole[by].splitlines()
        assert f"{40 + (by == 'tag') - 12} more rows are in the CSV." in page
        for name in shown:
            for line in lines:
                if line.startswith(f"{name.removeprefix('(none)')},"):
                    assert dollars(Decimal(line.split(",")[2])) in page, line
        assert (await http.get(f"/ui/export/spend.csv?by={by}&{span}")).text == whole[by]
        assert len(lines) == 1 + 40 + 30 + 2 * (by == "tag")
    monkeypatch.setattr(spend, "_MOST_NAMES", 20)
    assert "8 more rows and others are in the CSV." in (await http.get(f"/ui/spend?by=team&{span}")).text
    monkeypatch.setattr(spend, "_MOST_NAMES", 40)
    assert "28 more rows are in the CSV." in (await http.get(f"/ui/spend?by=team&{span}")).text
