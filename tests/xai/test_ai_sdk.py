"""A foreign client of the fake: Vercel's AI SDK. xAI's own SDK speaks gRPC, and can be no client of an HTTP server."""

import asyncio

from .site import KEY


async def test_the_fake_is_one_for_the_ai_sdk(ai_sdk, xai):
    found = await asyncio.to_thread(ai_sdk, "xai", xai.url.removesuffix("/v1"), KEY)
    assert (found["seen"][0] != "completed", found["seen"][-1]) == (True, "completed")
    assert found["listed"] == found["made"]
    rows = {row["id"]: row for row in found["rows"]}
    assert (rows.keys(), rows["a"]["usage"]["inputTokens"]) == ({"a", "b"}, 100)
