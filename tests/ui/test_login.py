"""Logging in: by a key, for these pages only, and ended with the key."""

import httpx2
from starlette.applications import Starlette
from starlette.routing import Mount

import batchmeter
from batchmeter_proxy import create_app, keyring_of
from batchmeter_ui import Content, Page

from .conftest import SAME


async def test_without_keys_this_machine_sees_all(http, submit):
    from batchmeter.models import Attribution

    batch_id = await submit(Attribution(team="t"), settle=False)
    assert batch_id in (await http.get("/ui")).text
    refused = await http.get("/ui", headers={"x-forwarded-for": "8.8.8.8"})
    assert refused.status_code == 403
    assert batch_id not in refused.text


async def test_pages_ask_for_a_key(http, person):
    await person("ada")
    answer = await http.get("/ui/batches?team=x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login?next=%2Fbatches%3Fteam%3Dx")
    assert (await http.get("/ui/login")).status_code == 200
    wrong = await http.post("/ui/login", data={"key": "bm-wrong"}, headers=SAME)
    assert wrong.status_code == 401
    assert "Incorrect API key" in wrong.text
    assert "set-cookie" not in wrong.headers


async def test_the_cookie_is_for_the_pages_alone(http, person, log_in):
    ada = await person("ada")
    answer = await log_in(ada)
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/ui", "Max-Age=43200"))
    assert ada.secret not in cookie
    assert (await http.get("/ui")).status_code == 200
    value = cookie.partition("=")[2].partition(";")[0]
    named = {"cookie": f"batchmeter_ui={value}"}
    assert (await http.get("/v1/batches", headers=named)).status_code == 401
    assert (await http.get("/metrics", headers=named)).status_code == 401


async def test_logging_out_ends_the_session(http, person, log_in):
    answer = await log_in(await person("ada"))
    value = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert (await http.post("/ui/logout")).status_code == 403
    assert (await http.post("/ui/logout", headers=SAME)).status_code == 303
    kept = {"cookie": f"batchmeter_ui={value}"}
    assert (await http.get("/ui", headers=kept)).status_code == 303


async def test_a_revoked_key_ends_its_session(http, client, person, log_in):
    ada, root = await person("ada"), await person("root", admin=True)
    await log_in(ada)
    assert (await http.get("/ui")).status_code == 200
    await (await keyring_of(client)).revoke_key(ada.key.id)
    answer = await http.get("/ui")
    assert answer.status_code == 303
    assert "/ui/login" in answer.headers["location"]
    await log_in(root)
    place = f"/ui/keys/{root.key.id}/revoke"
    assert "logged in with" in (await http.get(place)).text
    assert (await http.post(place, headers=SAME)).status_code == 303
    assert (await http.get("/ui")).status_code == 303


async def test_a_session_ends_after_twelve_hours(client, person, http, log_in, monkeypatch):
    await log_in(await person("ada"))
    ledger = client.ledger.database
    later = ledger.now() + 12 * 3_600_000 + 1000
    monkeypatch.setattr(ledger, "_clock", lambda: later)
    assert (await http.get("/ui")).status_code == 303


async def test_forms_are_taken_from_these_pages_only(http, person):
    ada = await person("ada")
    for headers, status in (
        ({}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://proxy"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://proxy"}, 303),
        ({"sec-fetch-site": "same-origin"}, 303),
    ):
        answer = await http.post("/ui/login", data={"key": ada.secret}, headers=headers)
        assert answer.status_code == status, headers


async def test_log_ins_are_limited(http, person):
    await person("ada")
    tried = [(await http.post("/ui/login", data={"key": "x"}, headers=SAME)).status_code for _ in range(11)]
    assert tried == [401] * 10 + [429]


async def test_logging_in_leads_nowhere_else(http, person):
    ada = await person("ada")
    for leads in ("//evil.example", "/\\evil.example", "https://evil.example", "/x\r\nset-cookie: a=b"):
        answer = await http.post("/ui/login", params={"next": leads}, data={"key": ada.secret}, headers=SAME)
        assert answer.headers["location"] == "/ui", leads


async def test_the_root_leads_browsers_to_the_pages(http):
    answer = await http.get("/", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui")
    assert (await http.get("/", headers={"accept": "application/json"})).json()["error"]["code"] == "unknown_url"


async def test_the_pages_may_be_mounted_anywhere(client, person):
    ada = await person("ada")
    app = Starlette(routes=[Mount("/tools/bm", app=create_app(client))])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://host") as http:
        answer = await http.get("/tools/bm/ui/spend")
        assert answer.headers["location"] == "/tools/bm/ui/login?next=%2Fspend"
        answer = await http.post(answer.headers["location"], data={"key": ada.secret}, headers=SAME)
        assert answer.headers["location"] == "/tools/bm/ui/spend"
        assert "Path=/tools/bm/ui" in answer.headers["set-cookie"]
        page = (await http.get("/tools/bm/ui/spend")).text
        links = [part.partition('"')[0] for part in page.split('href="')[1:]]
        assert links
        assert all(link.startswith(("/tools/bm/ui", "#")) for link in links)


async def test_no_page_is_in_the_description_of_the_api(http):
    assert not [
        path for path in (await http.get("/openapi.json")).json()["paths"] if path == "/" or path.startswith("/ui")
    ]


class Extra:
    """A stranger's plugin with a page of its own."""

    @batchmeter.hookimpl(optionalhook=True)
    def register_pages(self, register):
        async def show(view):
            return Content("Carbon", f"grams for {view.who} <b>")

        register(Page("carbon", "Carbon", show, everywhere=True))


async def test_plugins_add_pages(client, http, person, log_in):
    client.plugins.register(Extra(), "extra")
    ada, root = await person("ada"), await person("root", admin=True)
    await log_in(root)
    page = (await http.get("/ui/carbon")).text
    assert "grams for admin · all accounts &lt;b&gt;" in page
    assert 'href="/ui/carbon"' in (await http.get("/ui")).text
    assert (await http.get("/ui/nothing")).status_code == 404
    await log_in(ada)
    assert (await http.get("/ui/carbon")).status_code == 403
