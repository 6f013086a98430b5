"""The web pages over a sandbox's ledger: an admin, Ada and Bob, each with a settled batch and an open one."""

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

import batchmeter
from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import Rejected
from batchmeter.testing.sandbox import manual_clock, serve_sandbox
from batchmeter_proxy import create_app
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

CHAT = "/v1/chat/completions"
HOSTILE = """<script>alert('x')</script>"&--><img src=x onerror=alert(1)>"""
SAME = {"sec-fetch-site": "same-origin"}
CHROMIUM = shutil.which("chromium")


def pytest_collection_modifyitems(items):
    """One event loop for all of these tests, so that one browser serves them."""
    for item in items:
        if item.path.parent == Path(__file__).parent and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def lines(count, model):
    rows = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": model, "messages": [{"role": "user", "content": "hi"}]},
        }
        for number in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Refuses:
    """A logger that accepts nothing, until told to."""

    def __init__(self):
        self.open = False
        self.seen = []

    @batchmeter.hookimpl
    async def batch_success(self, event):
        if not self.open:
            raise Rejected("no room <b>here</b>")
        self.seen.append(event.batch_id)


@dataclass
class Person:
    name: str
    secret: str
    key: object
    settled: str = ""
    opened: str = ""


@pytest.fixture
def clock():
    return manual_clock()


@pytest.fixture
def refuses():
    return Refuses()


@pytest.fixture
def ui_settings():
    """`[plugins.ui]`."""
    return {}


@pytest.fixture
def plugin_settings(ui_settings):
    """`[plugins]`, of those that are loaded; none: those that need no settings."""
    return {"ui": ui_settings} if ui_settings else {}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed: apt-get install chromium")
    async with playwright.async_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield await started.chromium.launch(executable_path=CHROMIUM, args=arguments)


@pytest_asyncio.fixture(loop_scope="session")
async def client(tmp_path, clock, refuses, plugin_settings):
    async with serve_sandbox(speed=1, clock=clock) as sandbox:
        account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
        settings = Settings(
            ledger=str(tmp_path / "ui.db"),
            accounts={"openai": {**account, "input_limits": {"lines": 3}}, "other": account},
            plugins=plugin_settings,
            proxy={"freshness": 0},
            track=False,
            load=tuple(plugin_settings),
        )
        made = AsyncClient(settings=settings)
        made.plugins.register(refuses, "Refuses")
        async with made as opened:
            yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def http(client):
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as opened:
        yield opened


async def submit_to(
    client, clock, attribution, *, model="gpt-4o-mini", count=3, script="", metadata=None, settle=True, account="openai"
):
    """The id of a batch; settled unless told not to."""
    file = await client.files.create(
        file=("in.jsonl", lines(count, model)), purpose="batch", custom_llm_provider=account
    )
    batch = await client.batches.create(
        input_file_id=file.id,
        endpoint=CHAT,
        completion_window="24h",
        custom_llm_provider=account,
        metadata={**(metadata or {}), **({"sandbox": script} if script else {})},
        attribution=attribution,
    )
    if settle:
        clock.advance(60)
        await client.batches.retrieve(batch.id)
        clock.advance(1400)
        await client.batches.wait(batch.id, timeout=20)
    return batch.id


@pytest.fixture
def submit(client, clock):
    """`await submit(attribution, model=…, script=…)`, as `submit_to` this client."""
    return partial(submit_to, client, clock)


@pytest.fixture
def person(client):
    """`await person("ada")`: a key's owner."""

    async def make(name, **details):
        key, secret = await create_key(
            await keyring_of(client), owner=name, team=f"team-of-{name}", tags=(f"tag-of-{name}",), **details
        )
        return Person(name, secret, key)

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def people(person, submit):
    """Ada and Bob with two batches each, and Root, who sees all. Bob's texts are hostile."""
    ada, bob, root = await person("ada"), await person("bob"), await person("root", admin=True)
    ada.settled = await submit(ada.key.attribution, metadata={"job": "job-of-ada"}, script="fail=0.4")
    bob_attribution = bob.key.attribution.model_copy(update={"team": HOSTILE, "tags": (HOSTILE, "tag-of-bob")})
    bob.settled = await submit(bob_attribution, model="house-llama", metadata={"job": HOSTILE}, account="other")
    ada.opened = await submit(ada.key.attribution, settle=False)
    bob.opened = await submit(bob_attribution, settle=False, account="other", model=HOSTILE)
    return ada, bob, root


@pytest.fixture
def log_in(http):
    """`await log_in(person)`: the cookie is the client's from now on."""

    async def make(who):
        http.cookies.clear()
        answer = await http.post("/ui/login", data={"key": who.secret}, headers=SAME)
        assert answer.status_code == 303, answer.text
        return answer

    return make
