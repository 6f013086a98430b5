"""Changes made on the pages: asked for on a page of their own, done once, written down, and only where allowed."""

import re

import pytest

from batchmeter_proxy.keyring import keyring_of

from .conftest import SAME


async def test_an_owner_cancels_a_batch(client, http, people, log_in):
    ada, bob, _ = people
    await log_in(ada)
    place = f"/ui/batches/openai/{ada.opened}"
    assert "Cancel…" in (await http.get(place)).text
    assert "Cancel the batch" in (await http.get(f"{place}/cancel")).text
    assert (await http.post(f"{place}/cancel")).status_code == 403
    for _ in range(2):
        answer = await http.post(f"{place}/cancel", headers=SAME)
        assert (answer.status_code, answer.headers["location"]) == (303, place)
    batch = await client.batches.retrieve(ada.opened)
    assert batch.status in {"cancelling", "cancelled"}
    assert (await http.post(f"/ui/batches/other/{bob.opened}/cancel", headers=SAME)).status_code == 404
    settled = await http.get(f"/ui/batches/openai/{ada.settled}/cancel")
    assert settled.status_code == 409


async def test_a_key_is_made_once_and_shown_once(client, http, people, log_in):
    ada, _, root = people
    await log_in(root)
    form = (await http.get("/ui/keys/create")).text
    word = re.search(r'name="once" value="([^"]+)"', form)[1]
    sent = {"once": word, "name": "nightly <b>", "owner": "eve", "team": "search", "tags": "a, b", "days": "30"}
    page = await http.post("/ui/keys/create", data=sent, headers=SAME)
    secret = re.search(r"bm-[\w-]+", page.text)[0]
    assert (await http.get("/v1/batches", headers={"authorization": f"Bearer {secret}"})).status_code == 200
    again = await http.post("/ui/keys/create", data=sent, headers=SAME)
    assert again.status_code == 409
    made = [key for key in await (await keyring_of(client)).keys() if key.owner == "eve"]
    assert [(key.team, key.tags, key.admin) for key in made] == [("search", ("a", "b"), False)]
    listed = (await http.get("/ui/keys")).text
    assert secret not in listed
    assert "nightly &lt;b&gt;" in listed
    assert "create key" in (await http.get("/ui/health")).text
    wrong = await http.post("/ui/keys/create", data={**sent, "once": "x", "days": "soon"}, headers=SAME)
    assert wrong.status_code == 400
    await log_in(ada)
    assert (await http.get("/ui/keys/create")).status_code == 403
    assert (await http.post("/ui/keys/create", data=sent, headers=SAME)).status_code == 403


@pytest.mark.parametrize("ui_settings", [{"read_only": True}])
async def test_nothing_is_changed_where_pages_are_read_only(client, http, people, log_in):
    ada, _, root = people
    await log_in(root)
    for place in (f"/ui/batches/openai/{ada.opened}/cancel", "/ui/keys/create"):
        assert (await http.get(place)).status_code == 403
        assert (await http.post(place, headers=SAME)).status_code == 403
    assert "Cancel…" not in (await http.get(f"/ui/batches/openai/{ada.opened}")).text
