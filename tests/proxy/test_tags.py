"""Tags through the proxy: an SDK of ours behind our own proxy finds its lost create by its own tag."""

from batchmeter import AsyncClient
from batchmeter.errors import APITimeoutError
from batchmeter.tracker.metadata_tag import TAG


async def test_lost_create_behind_the_proxy_is_found_by_tag(http, client, sandbox, lines, tmp_path, monkeypatch):
    account = {"provider": "openai", "api_base": "http://proxy/v1", "api_key": "sk-1234", "http_client": http}
    async with AsyncClient(ledger=tmp_path / "sdk.db", accounts={"proxy": account}, track=False) as sdk:
        file = await sdk.files.create(file=("in.jsonl", lines(1)), custom_llm_provider="proxy")
        provider = sdk.accounts.get("proxy")
        create, found = provider.create_batch, []

        async def lost(request, options):
            found.append(await create(request, options))
            raise APITimeoutError("no answer in time")

        monkeypatch.setattr(provider, "create_batch", lost)
        made = await sdk.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            metadata={"team": "search"},
            custom_llm_provider="proxy",
        )
        assert made.id == found[0].id
        assert made.metadata == {"team": "search"}
        ours = await (await sdk.ready()).ledger.get_batch(made.id)
        assert ours.batch.metadata == {"team": "search", TAG: ours.intent_id}
    theirs = await (await client.ready()).ledger.get_batch(made.id)
    assert theirs.batch.metadata == {"team": "search", TAG: ours.intent_id, f"{TAG}_2": theirs.intent_id}
    assert theirs.submission.metadata == {"team": "search"}
    (created,) = await (await client.ready()).ledger.events(types=["acreate_batch"])
    assert created.event.metadata == {"team": "search"}
