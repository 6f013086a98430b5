"""A world for each test: a ledger in a file, a clock that stands on 30 November 2026, and the vendor's site."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from batchmeter.ledger import open_ledger
from batchmeter.testing.wire import serving

from .world import Clock, Site, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    clock, site = Clock(), Site()
    ledger = open_ledger(str(tmp_path / "ledger.db"), clock=clock)
    await ledger.open()
    async with serving(site) as url:
        made = await World(ledger, clock, tmp_path, site).open(url)
        yield made
        await made.plugin.shutdown()
    await ledger.aclose()
