"""The provider keeps batchmeter's contract, and a batch of it is metered and priced by a row of one's own."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from batchmeter_echo import EchoProvider, EchoSettings

import batchmeter
from batchmeter.testing.providers import ProviderContract


class TestEcho(ProviderContract):
    model = "echo-1"

    @pytest.fixture
    async def provider(self, tmp_path: Path) -> AsyncIterator[EchoProvider]:
        provider = EchoProvider("echo", EchoSettings(folder=str(tmp_path / "echo")))
        yield provider
        await provider.aclose()


async def test_answers_and_their_cost(tmp_path: Path) -> None:
    async with batchmeter.AsyncClient(
        ledger=tmp_path / "ledger.db",
        accounts={"echo": {"folder": str(tmp_path / "echo")}},
        prices={"echo/echo-1": {"batch": {"input": "1.00", "output": "2.00"}}},
        environ={"BATCHMETER_PLUGINS": "echo"},
    ) as client:
        results = await batchmeter.arun(["say this", "and that"], model="echo-1", provider="echo", using=client)
    assert results.texts == ["say this", "and that"]
    assert results.settlement.usage.total_tokens == 8
    assert results.cost.total == Decimal("0.000012")
