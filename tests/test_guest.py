"""A third-party package adds a command, a route, a ledger engine, a provider and a logger with metrics, and goes again."""

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from batchmeter import AsyncClient, cli
from batchmeter.errors import LedgerError, UnknownAccountError
from batchmeter.ledger import open_ledger
from batchmeter.testing.requests import lines_of
from batchmeter_proxy import create_app

GUEST = Path(__file__).parent / "data" / "guest"


def install(site: Path) -> None:
    """As an installer does: the package, and its entry points in a dist-info."""
    project = tomllib.loads((GUEST / "pyproject.toml").read_text())["project"]
    info = site / f"batchmeter_guest-{project['version']}.dist-info"
    shutil.copytree(GUEST / "batchmeter_guest", site / "batchmeter_guest", ignore=shutil.ignore_patterns("__pycache__"))
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["batchmeter"]
    (info / "entry_points.txt").write_text(
        "[batchmeter]\n" + "".join(f"{name} = {at}\n" for name, at in points.items())
    )


def uninstall(site: Path) -> None:
    shutil.rmtree(site)
    site.mkdir()
    for name in [name for name in sys.modules if name.partition(".")[0] == "batchmeter_guest"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("BATCHMETER_PLUGINS", raising=False)
    install(folder)
    yield folder
    uninstall(folder)


def command(monkeypatch):
    """A run of `batchmeter guest` by a process that has asked for no plugin's commands before."""
    monkeypatch.setattr(cli.main, "loaded", False)
    monkeypatch.setattr(cli.main, "commands", {})
    return CliRunner().invoke(cli.main, ["guest"])


def client(tmp_path):
    prices = {"guest/gpt-guest": {"batch": {"input": "0.5", "output": "1"}}}
    return AsyncClient(
        ledger=f"guest://{tmp_path}/ledger",
        accounts={"guest": {"provider": "guest"}},
        prices=prices,
        track=False,
        environ={},
    )


async def test_a_guest_adds_each_kind_of_thing_and_goes_again(site, tmp_path, monkeypatch):
    assert command(monkeypatch).output == "hello from the guest\n"
    async with client(tmp_path) as opened:
        file = await opened.files.create(file=("in.jsonl", lines_of(2, "gpt-guest")), custom_llm_provider="guest")
        batch = await opened.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", custom_llm_provider="guest"
        )
        settlement = await opened.batches.wait(batch.id, custom_llm_provider="guest")
        await opened.deliverer.drain(5)
        transport = httpx2.ASGITransport(create_app(opened))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            metrics = await http.get("/guest/metrics")
    assert settlement.request_counts.succeeded == 2
    assert settlement.cost.total == 1
    *told, lines = sorted(sys.modules["batchmeter_guest"].heard, key=lambda one: one.startswith("batch_lines"))
    assert told == [f"acreate_batch {batch.id}", f"batch_success {batch.id} 1"]
    assert lines == f"batch_lines {batch.id} ['r-0', 'r-1']"
    assert metrics.text == 'guest_batches{account="guest"} 1\n'
    assert (tmp_path / "ledger.guest").exists(), "its own engine kept the ledger"

    uninstall(site)
    assert "no command 'guest'" in command(monkeypatch).output
    with pytest.raises(LedgerError, match="no plugin opens guest://"):
        open_ledger(f"guest://{tmp_path}/ledger")
    async with AsyncClient(ledger=":memory:", track=False, environ={}) as opened:
        assert "guest" not in {info.name for info in opened.plugins.info()}
        with pytest.raises(UnknownAccountError, match="guest"):
            await opened.files.list(custom_llm_provider="guest")
        transport = httpx2.ASGITransport(create_app(opened))
        async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
            assert (await http.get("/guest/metrics")).status_code == 404
