"""Changes made on the pages: asked for on a page of their own, done once, written down, and only where allowed."""

import re

import httpx2
import pytest

from batchmeter import AsyncClient, hookimpl
from batchmeter.errors import BudgetExceededError, QueueFullError, SubmissionRefusedError
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import KeyLimits, keyring_of

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


async def test_an_owner_tries_what_failed_again_once(client, http, people, log_in):
    ada, bob, _ = people
    await log_in(ada)
    place = f"/ui/batches/openai/{ada.settled}"
    assert "failed again…" in (await http.get(place)).text
    assert "that failed, expired or got no line" in (await http.get(f"{place}/retry")).text
    assert (await http.post(f"{place}/retry")).status_code == 403
    answers = [await http.post(f"{place}/retry", headers=SAME) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"] != place
    page = (await http.get(answers[0].headers["location"])).text
    assert f'href="{place}"' in page
    assert "team-of-ada" in page
    opened = f"/ui/batches/openai/{ada.opened}/retry"
    assert (await http.get(opened)).status_code == (await http.post(opened, headers=SAME)).status_code == 409
    theirs = f"/ui/batches/other/{bob.settled}/retry"
    assert (await http.post(theirs, headers=SAME)).status_code == 404


async def test_trying_again_counts_towards_the_key_s_limits(client, http, person, submit, log_in):
    eve = await person("eve", limits=KeyLimits(lines_per_day=0))
    batch_id = await submit(eve.key.attribution, script="fail=1")
    await log_in(eve)
    answer = await http.post(f"/ui/batches/openai/{batch_id}/retry", headers=SAME)
    assert answer.status_code == 429
    assert "0 lines per day" in answer.text
    assert len((await client.batches.list()).data) == 1


AMOUNTS = {"budget": "b", "limit": 1, "spent": 1, "reserved": 0, "amount": 1, "until": None}


class Guard:
    """Refuses each batch that is tried again, with `error`."""

    error: Exception | None = None

    @hookimpl
    async def before_submit(self, submission, estimate):
        if self.error:
            raise self.error


async def test_a_refused_retry_is_the_api_s_refusal_and_costs_no_lines(client, http, person, submit, log_in):
    guard = Guard()
    client.plugins.register(guard, "Guard")
    eve = await person("eve", limits=KeyLimits(lines_per_day=6))
    batch_id = await submit(eve.key.attribution, script="fail=1")
    await log_in(eve)
    place = f"/ui/batches/openai/{batch_id}/retry"
    for guard.error, status in (
        (BudgetExceededError("used up", **AMOUNTS), 429),
        (QueueFullError("the queue is full"), 429),
        (SubmissionRefusedError("not today"), 400),
        (PermissionError("who knows"), 400),
    ):
        answer = await http.post(place, headers=SAME)
        assert answer.status_code == status, answer.text
    guard.error = None
    assert (await http.post(place, headers=SAME)).status_code == 303, "the refused ones took none of its lines"


async def test_unknown_costs_are_priced_again_once_there_is_a_price(client, people):
    _, bob, root = people
    row = {"openai/house-llama": {"batch": {"input": "1", "output": "2"}}}
    settings = client.settings.model_copy(update={"prices": row})
    async with AsyncClient(settings=settings) as later:
        transport = httpx2.ASGITransport(create_app(later))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            place = f"/ui/batches/other/{bob.settled}"
            assert (await http.post("/ui/login", data={"key": bob.secret}, headers=SAME)).status_code == 303
            asked = (await http.get(f"{place}/reprice")).text
            assert re.search(r"<dt>Now</dt><dd>.*unknown.*<dt>Then</dt><dd>\$0\.\d+", asked)
            assert (await http.post(f"{place}/reprice")).status_code == 403
            assert (await http.post("/ui/login", data={"key": root.secret}, headers=SAME)).status_code == 303
            everything = "/ui/unknown/reprice?account=other"
            assert everything in (await http.get("/ui/unknown")).text
            assert "Price 1 batch of" in (await http.get(everything)).text
            done = await http.post(everything, headers=SAME)
            assert "1 of 1 batches have another cost now" in done.text
            page = (await http.get(place)).text
            assert "priced again, with another price book" in page
            assert (await http.post(f"{place}/reprice", headers=SAME)).status_code == 303
            assert "Nothing would change" in (await http.get(f"{place}/reprice")).text
            assert "No batch of other" in (await http.get(everything)).text
            assert (await http.get(f"/ui/batches/other/{bob.opened}/reprice")).status_code == 409


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
    for place in (
        f"/ui/batches/openai/{ada.opened}/cancel",
        f"/ui/batches/openai/{ada.settled}/retry",
        f"/ui/batches/openai/{ada.settled}/reprice",
        "/ui/unknown/reprice?account=openai",
        "/ui/keys/create",
    ):
        assert (await http.get(place)).status_code == 403
        assert (await http.post(place, headers=SAME)).status_code == 403
    assert "Cancel…" not in (await http.get(f"/ui/batches/openai/{ada.opened}")).text
