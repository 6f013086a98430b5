"""The web pages on both engines: nobody sees another key's data on any page, whatever is asked, nor in what is sent live."""

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ui.conftest import CHAT, SAME, lines
from tests.ui.served import served

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.models import Attribution
from batchmeter.testing.sandbox import manual_clock, serve_sandbox
from batchmeter_proxy import create_app, keyring_of
from batchmeter_proxy.keys import create_key

STORES = ("proxy",)

ADA, BOB = "ada", "bob"
PLACES = (
    "", "/batches", "/jobs", "/spend", "/export/spend.csv", "/unknown", "/prices", "/loggers", "/loggers/{who}", "/keys",
    "/keys/{key}/revoke", "/health", "/unknown/reprice", "/nothing/{who}", "/jobs/{account}/job-of-{who}",
    *(f"/batches/{{account}}/{{batch}}{more}" for more in (
        "", "/failures", "/settlement.json", "/files/input", "/files/output", "/cancel", "/retry", "/reprice",
    )),
)  # fmt: skip
QUERIES = {
    "account": "{account}", "key": "{key}", "team": "team-of-{who}", "tag": "tag-of-{who}", "metadata": "owner={who}",
    "model": "model-of-{who}", "after": "{account}/{batch}", "sort": "cost", "days": "365", "settled": "no", "unknown": "1",
    "by": "team", "q": "model-of-{who}",
}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    who: str
    account: str
    key: str
    secret: str
    batches: tuple[str, ...]

    @property
    def names(self) -> dict[str, str]:
        return {"who": self.who, "account": self.account, "key": self.key}

    @property
    def traces(self) -> list[str]:
        """Texts that are nowhere but in this owner's batches."""
        words = [f"{name}-of-{self.who}" for name in ("team", "tag", "model", "value", "custom")]
        return [*self.batches, self.key, *words]


async def submit(client, owner, who, account):
    text = lines(3, f"model-of-{who}").replace(b'"r-', f'"custom-of-{who}-'.encode())
    file = await client.files.create(file=("in.jsonl", text), purpose="batch", custom_llm_provider=account)
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint=CHAT,
        completion_window="24h",
        custom_llm_provider=account,
        metadata={"owner": f"value-of-{who}", "sandbox": "fail=0.4"},
        attribution=owner,
    )
    return batch.id


@pytest.fixture
async def world(url):
    """A client, and two owners with a settled batch, an open one and the tag of a job each."""
    clock = manual_clock()
    async with serve_sandbox(speed=1, clock=clock) as sandbox:
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
        chosen = Settings(
            ledger=url,
            accounts={"one": account, "two": account},
            plugins={"ui": {"live_seconds": 0.02}},
            proxy={"freshness": 0},
            load=("ui",),
            track=False,
        )
        async with AsyncClient(settings=chosen, environ={}) as client:
            owners = {}
            for who, name in ((ADA, "one"), (BOB, "two")):
                key, secret = await create_key(await keyring_of(client), owner=who)
                owner = Attribution(
                    key=key.id, user=who, team=f"team-of-{who}", tags=(f"tag-of-{who}", f"job:job-of-{who}")
                )
                settled = await submit(client, owner, who, name)
                clock.advance(60)
                await client.batches.retrieve(settled, custom_llm_provider=name)
                clock.advance(1400)
                await client.batches.wait(settled, timeout=20, custom_llm_provider=name)
                owners[who] = Owner(who, name, key.id, secret, (settled, await submit(client, owner, who, name)))
            yield client, owners


@given(
    who=st.sampled_from([ADA, BOB]),
    place=st.sampled_from(PLACES),
    asked=st.dictionaries(st.sampled_from(sorted(QUERIES)), st.sampled_from([ADA, BOB]), max_size=3),
    of=st.sampled_from([ADA, BOB]),
    number=st.sampled_from([0, 1]),
    posted=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_page_shows_another_key_s_data(world, who, place, asked, of, number, posted):
    client, owners = world
    me, other = owners[who], next(one for one in owners.values() if one.who != who)
    words = [place.format(**owners[of].names, batch=owners[of].batches[number])]
    words += [
        QUERIES[name].format(**owners[one].names, batch=owners[one].batches[number]) for name, one in asked.items()
    ]
    query = "&".join(f"{name}={quote(word, safe='')}" for name, word in zip(asked, words[1:], strict=True))
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        ask = http.post if posted and not place.endswith(("/cancel", "/retry", "/reprice")) else http.get
        headers = {"x-api-key": me.secret, **SAME}
        answer = await ask(f"/ui{words[0]}?{query}", headers=headers)
    text = answer.text
    words += [part for part in words[0].split("/") if len(part) > len("/batches")]
    for word in sorted({*words, *(quote(word, safe="") for word in words)}, key=len, reverse=True):
        text = text.replace(word, "")  # what was asked for may be repeated
    assert not [trace for trace in other.traces if trace in text], (answer.status_code, answer.url)
    if of != who and ("{batch}" in place or "{who}" in place or "{key}" in place):
        assert answer.status_code in {403, 404, 405}, answer.url


async def test_no_stream_tells_of_another_key_s_data(world):
    client, owners = world
    ada, bob = owners[ADA], owners[BOB]
    heard = []
    async with served(client) as address, httpx2.AsyncClient(base_url=address) as http:
        headers = {"x-api-key": ada.secret, "accept": "text/event-stream"}
        theirs = await http.get(f"/ui/live/batches/{bob.account}/{bob.batches[1]}", headers=headers)
        async with http.stream("GET", "/ui/live", headers=headers) as stream:
            told = stream.aiter_lines()
            assert await anext(told) == ": open"
            mine = Attribution(key=ada.key, user=ADA, team="team-of-ada")
            for owner, who, account in ((Attribution(key=bob.key, user=BOB), BOB, "two"), (mine, ADA, "one")):
                made = await submit(client, owner, who, account)
            async with asyncio.timeout(20):
                while made not in "".join(heard):
                    heard.append(await anext(told))
    assert not [trace for trace in bob.traces if trace in "".join(heard)]
    assert not [trace for trace in bob.traces if trace in theirs.text.replace(bob.batches[1], "")]


async def test_an_admin_s_pages_work_on_both_engines(world):
    client, owners = world
    _, secret = await create_key(await keyring_of(client), admin=True)
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy", headers={"x-api-key": secret}) as http:
        pages = {place: await http.get(f"/ui{place}") for place in (
            "", "/batches", "/batches?sort=cost", "/jobs", "/spend?by=job", "/unknown", "/loggers", "/keys", "/health",
            *(f"/batches/{one.account}/{batch}" for one in owners.values() for batch in one.batches),
        )}  # fmt: skip
    assert {place: page.status_code for place, page in pages.items() if page.status_code != 200} == {}
    assert all(one.batches[0] in pages["/batches?sort=cost"].text for one in owners.values())
    assert "MB</dd>" in pages["/health"].text
