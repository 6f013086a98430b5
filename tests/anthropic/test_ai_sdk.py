"""A second foreign client of the fake, less lenient than the official one: Vercel's AI SDK."""

import asyncio

import pytest
from tests.heavy import HEAVY

from .fake import KEY


@pytest.mark.skipif(
    not HEAVY, reason="node takes a second to start, and test_sdk.py keeps the fake honest: set BATCHMETER_HEAVY=1"
)
async def test_the_fake_is_one_for_the_ai_sdk(ai_sdk, vendor):
    found = await asyncio.to_thread(ai_sdk, "anthropic", vendor.base, KEY)
    assert (found["seen"][0] != "completed", found["seen"][-1]) == (True, "completed")
    assert found["listed"] == found["made"]
    rows = {row["id"]: row for row in found["rows"]}
    assert (rows.keys(), rows["a"]["text"]) == ({"a", "b"}, "écho 🎈 hi")
    assert [rows["a"]["usage"][name] for name in ("inputTokens", "outputTokens")] == [10, 5]
