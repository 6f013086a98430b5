"""A batch that a full queue has failed is submitted again once, by whichever of several workers, whatever dies."""

import asyncio

from tests.azure.conftest import azure  # noqa: F401 - a fixture
from tests.azure.site import Site, endings, submitted, turn

RETRY_OF = "batchmeter_retry_of"


async def test_many_workers_and_crashes_make_one_successor_each(url, azure, monkeypatch):  # noqa: F811 - the fixture
    """Some creates of successors are cut off: before they reach the provider, or when their answer comes."""
    monkeypatch.setenv("BATCHMETER_PLUGINS", "azure")
    site = Site(azure, url)
    azure.fails, azure.fails_left = "token_limit_exceeded", 3
    cuts = ["before", "after", "after", "before"]

    def dying(create):
        async def create_batch(request, options):
            cut = cuts.pop() if cuts and RETRY_OF in (request.metadata or {}) else None
            made = None if cut == "before" else await create(request, options)
            if cut:
                raise asyncio.CancelledError
            return made

        return create_batch

    async with site.client(retry_queue_full=6 * 3600) as one, site.client(retry_queue_full=6 * 3600) as other:
        for client in (one, other):
            provider = client.accounts.get("azure")
            monkeypatch.setattr(provider, "create_batch", dying(provider.create_batch))
        first = await submitted(one)
        for _ in range(100):
            if ("batch_success", list(azure.batches)[-1]) in await endings(one):
                break
            await asyncio.gather(turn(one), turn(other), turn(other))
            site.clock.now += 600_000
        assert cuts == []
        assert site.statuses() == ["failed", "failed", "failed", "completed"]
        assert len(await endings(one)) == 4
        followed = [held["shown"]["metadata"].get(RETRY_OF) for held in azure.batches.values()]
        assert followed == [None] + [first.id] * 3
