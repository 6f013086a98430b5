"""`batchmeter ui` and `demo --ui`: the server is found or started, and a link lets one browser in, once."""

import asyncio
import os
import re
import signal
import subprocess
from contextlib import contextmanager

import httpx2
import pytest
from click.testing import CliRunner
from tests.warm_python import WARM

from batchmeter.cli import main
from batchmeter_proxy import keyring_of
from batchmeter_ui.session import LINK_SECONDS

from .served import served


@contextmanager
def started(*words, env=None):
    """A command that goes on; its first line with an address."""
    command = [WARM, "-m", "batchmeter", *words]
    process = subprocess.Popen(command, env=os.environ | (env or {}), stdout=subprocess.PIPE, text=True)
    try:
        yield next(line for line in process.stdout if "http://" in line)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        process.kill()


async def test_a_running_server_is_found_and_a_link_lets_in_once(client, person, tmp_path):
    await person("root", admin=True)
    async with served(client) as address:
        port = address.rpartition(":")[2]
        words = ["--ledger", str(tmp_path / "ui.db"), "ui", "--no-open", "--port", port]
        shown = await asyncio.to_thread(CliRunner().invoke, main, words)
        link = re.search(r"http://\S+", shown.output)[0]
        assert link.startswith(f"{address}/ui/enter?once=")
        async with httpx2.AsyncClient() as browser:
            entered = await browser.get(link)
            assert (entered.status_code, entered.headers["location"]) == (303, "/ui")
            assert "HttpOnly" in entered.headers["set-cookie"]
            assert "<h1>Overview</h1>" in (await browser.get(f"{address}/ui")).text
        async with httpx2.AsyncClient() as other:
            again = await other.get(link)
            assert again.status_code == 401
            assert "was used before" in again.text
    made = next(key for key in await (await keyring_of(client)).keys() if key.name == "batchmeter ui")
    assert made.admin
    assert made.expires_at is not None


def test_a_server_is_started_where_none_runs(tmp_path):
    with started("--ledger", str(tmp_path / "new.db"), "ui", "--no-open", "--port", "0") as line:
        answer = httpx2.get(line.split()[0])
        assert "<h1>Overview</h1>" in answer.text


async def test_links_are_for_keys_and_end_after_a_minute(http, client, person, clock):
    root = await person("root", admin=True)
    assert (await http.post("/ui/links")).status_code == 401
    assert (await http.post("/ui/links", headers={"authorization": "Bearer wrong"})).status_code == 401
    answer = await http.post("/ui/links", headers={"authorization": f"Bearer {root.secret}"})
    path = answer.json()["path"]
    await client.ledger.database.write(
        lambda session: session.run(session.statement("UPDATE batchmeter.ui_link SET expires_at = expires_at - %(life)s"), life=LINK_SECONDS * 1000)
    )  # fmt: skip
    assert (await http.get(path)).status_code == 401
    await (await keyring_of(client)).revoke_key(root.key.id)
    assert root.secret not in path


@pytest.mark.timeout(240)
def test_a_demo_fills_a_month_and_shows_it(tmp_path):
    folder = str(tmp_path)
    with started("demo", "--ui", "--no-open", "--port", "0", "--folder", folder, env={"COLUMNS": "300"}) as line:
        address = line.split()[0]
        page = httpx2.get(address).text
        assert "≥ $" in page
        assert "Saved by batch" in page
        assert "research-org" in page
        late = httpx2.get(f"{address}/batches?late=1&settled=no").text
        assert "batch_" in late
        failed = re.search(r'href="(/ui/batches/[^"]+)"', httpx2.get(f"{address}/batches?failures=1").text)[1]
        assert "By error code" in httpx2.get(f"{address.removesuffix('/ui')}{failed}/failures").text
