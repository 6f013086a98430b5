"""Reconciliations from outside: the command line, the proxy's routes, metrics and pages, over batches of a sandbox."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

import batchmeter
import openai
from batchmeter import AsyncClient, cli
from batchmeter.runtime.load_settings import load_settings
from batchmeter.testing.sandbox import sandbox_thread
from batchmeter.testing.wire import serving
from batchmeter_proxy import Identity, create_app
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

from .world import ADMIN, Site, booked

CHAT = "/v1/chat/completions"
REQUEST = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]}}  # fmt: skip
LINES = (json.dumps(REQUEST) + "\n").encode()


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, list(arguments))


@contextmanager
def apart(site: Site) -> Iterator[str]:
    """The vendor's site in a thread of its own, since commands have their own loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = serving(site)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_from_a_batch_made_elsewhere_to_a_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    monkeypatch.setenv("THEIR_KEY", ADMIN)
    monkeypatch.setenv("BATCHMETER_PLUGINS", "reconcile,ui")
    day = timedelta(days=1)
    yesterday = datetime.now(UTC).date() - day
    span = ("--from", yesterday.isoformat(), "--to", yesterday.isoformat())
    with sandbox_thread(clock=lambda: time.time() - day.total_seconds()) as sandbox, apart(site) as url:
        config = tmp_path / "batchmeter.toml"
        config.write_text(
            f"""
ledger = "{tmp_path}/ledger.db"
[accounts.openai]
api_base = "{sandbox.url}"
api_key = "k"
[plugins.reconcile]
daily = false
[plugins.reconcile.openai]
admin_key_env = "THEIR_KEY"
base_url = "{url}/v1"
settle_hours = 0
[proxy]
freshness = 0
"""
        )
        monkeypatch.setenv("BATCHMETER_CONFIG", str(config))
        monkeypatch.delenv("BATCHMETER_LEDGER")
        with batchmeter.Client(settings=load_settings(config, track=True)) as client:
            file = client.files.create(file=("in.jsonl", LINES), purpose="batch")
            batch = client.batches.create(input_file_id=file.id, endpoint=CHAT)
            ours = client.batches.wait(batch.id, timeout=20)
        site.books += booked(ours, yesterday, yesterday)
        with openai.OpenAI(api_key="k", base_url=sandbox.url) as sdk:
            theirs = sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        site.books += booked(ours, yesterday, yesterday)  # the vendor books theirs, too

        drifting = command("reconcile", "openai", *span)
        assert drifting.exit_code == 2, drifting.output
        assert "ours_missing" in drifting.output
        assert f"batchmeter adopt --account openai {theirs.id}" in drifting.output
        assert ADMIN not in drifting.output

        assert (command("adopt", "--account", "openai", theirs.id)).exit_code == 0
        waited = command("track", "--once")
        assert waited.exit_code == 0, waited.output
        agreed = command("reconcile", "--account", "openai", *span, "--untracked", "--json")
        assert agreed.exit_code == 0, agreed.output
        (document,) = json.loads(agreed.stdout)
        assert (document["status"], document["untracked"], document["batches"]) == ("match", [], 2)

        listed = json.loads((command("reconcile", "list", "--json")).stdout)
        assert [one["status"] for one in listed] == ["match", "ours_missing"]
        shown = command("reconcile", "show", listed[0]["id"], "--json")
        assert json.loads(shown.stdout) == document
        whole = command("reconcile", "show", listed[0]["id"], "--all")
        assert "gpt-5-mini" in whole.output
        assert "every batch that the vendor lists for these days is tracked" in whole.output

        site.status = {"/v1/organization": 401}
        refused = command("reconcile", *span)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "openai could not be compared" in refused.stderr
        for wrong in (("--from", "now"), ("--tolerance", "much"), ("--from", "2026-11-02", "--to", "2026-11-01")):
            assert (command("reconcile", "openai", *wrong)).exit_code == 2
        asyncio.run(_served(config, listed))


async def _served(config: Path, listed: list[dict[str, Any]]) -> None:
    """Routes, metrics and pages of the same ledger."""
    async with AsyncClient(settings=load_settings(config, track=False)) as client:
        _, secret = await create_key(await keyring_of(client), owner="root", admin=True)
        transport = httpx2.ASGITransport(create_app(client))
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy", headers=headers) as http:
            found = (await http.get("/v1/reconciliations", params={"account": "openai", "limit": 1})).json()["data"]
            assert found == listed[:1]
            one = (await http.get(f"/v1/reconciliations/{listed[1]['id']}")).json()
            assert one["status"] == "ours_missing"
            missing = await http.get("/v1/reconciliations/rec_none")
            assert (missing.status_code, missing.json()["error"]["code"]) == (404, "reconciliation_not_found")
            assert (await http.get("/v1/reconciliations", params={"limit": "many"})).status_code == 400
            assert "/v1/reconciliations/{id}" in (await http.get("/openapi.json")).json()["paths"]
            metrics = (await http.get("/metrics")).text
            assert 'batchmeter_reconcile_drift_usd{account="openai"} 0.0' in metrics
            assert 'batchmeter_reconcile_last_run{account="openai"}' in metrics
            everything = (await http.get("/ui/reconcile")).text
            assert listed[0]["id"] in everything
            page = (await http.get(f"/ui/reconcile/{listed[1]['id']}")).text
            assert "batchmeter adopt --account openai" in page
            assert "ours missing" in page
            assert (await http.get("/ui/reconcile/rec_none")).status_code == 404
            assert "differ from the ledger" in (await http.get("/ui")).text

        async def limited(request: Any) -> Identity:
            del request
            return Identity(admin=True, accounts=frozenset({"openai"}))

        transport = httpx2.ASGITransport(create_app(client, authenticate=limited))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            for path in ("/v1/reconciliations", f"/v1/reconciliations/{listed[0]['id']}"):
                assert (await http.get(path)).json()["error"]["code"] == "account_not_allowed"
