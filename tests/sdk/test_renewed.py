"""A key or a token that changes makes no second batch of one: one row, one `acreate_batch`, one ending."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchmeter import AsyncClient
from batchmeter.accounts import MOST_PASSING
from batchmeter.config import Settings
from batchmeter.errors import AuthenticationError, NotFoundError
from batchmeter.ledger.records import Intent, Submission
from batchmeter.models import Batch
from batchmeter.plugins import Plugins
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.rounds.adoption import adopt_all, adopt_id
from batchmeter.runtime.call_accounts import CallAccounts
from batchmeter.testing.recorder import Recorder
from batchmeter.testing.sandbox import Sandbox
from batchmeter.testing.wire import Answer, Received, serving
from batchmeter.tracker.account_state import AccountState, Budget
from batchmeter.tracker.metadata_tag import TAG

ENDPOINT = "/v1/chat/completions"
AZURE = {"provider": "azure", "endpoint": "https://x.openai.azure.com", "api_key": "k"}
VERTEX = {"provider": "vertex_ai", "project": "p", "bucket": "b"}
Make = Callable[..., AsyncClient]


@pytest.fixture
def accounts() -> CallAccounts:
    settings = Settings(load=(), accounts={"azure": AZURE, "vertex_ai": VERTEX})
    return CallAccounts(settings, Plugins.load(settings, environ={}))


async def submitted(client: AsyncClient, requests: Path, **account: Any) -> Batch:
    file = await client.files.create(requests, **account)
    return await client.batches.create(endpoint=ENDPOINT, input_file_id=file.id, **account)


async def told(client: AsyncClient, log: Recorder, batch: Batch) -> list[str]:
    """Events that loggers got of it, once all was delivered."""
    await client.deliverer.drain(10)
    return [event.type for event in log.events if event.batch_id == batch.id]


async def test_waited_for_with_another_key(make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder) -> None:
    async with make_client(sandbox.url) as client:
        batch = await submitted(client, requests, api_key="key-monday")
        tuesday = await client.batches.wait(batch.id, api_key="key-tuesday", custom_llm_provider="openai")
        wednesday = await client.batches.wait(batch.id, api_key="key-wednesday")
        assert tuesday == wednesday == await client.batches.wait(batch.id)
        assert await told(client, log, batch) == ["acreate_batch", "batch_success"]
        assert len(await client.ledger.batches_of_id(batch.id)) == 1


async def test_adopted_where_a_call_s_own_key_made_it(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url) as client:
        batch = await submitted(client, requests, api_key="key-of-job-7")
        assert await adopt_all(client.tracker, client.accounts.get("openai")) == 0
        assert await adopt_id(client.tracker, "openai", batch.id) is False
        await client.batches.wait(batch.id)
        assert await told(client, log, batch) == ["acreate_batch", "batch_success"]


async def test_adopted_before_the_create_that_made_it_is_recorded(
    make_client: Make, sandbox: Sandbox, requests: Path
) -> None:
    """Its tag tells whose it is, though the list was asked for with another key."""
    async with make_client(sandbox.url) as client:
        file = await client.files.create(requests, api_key="key-of-job-7")
        provider = await client.provider("openai", {"api_key": "key-of-job-7"})
        submission = Submission(account=provider.account, provider="openai", endpoint=ENDPOINT, input_file_id=file.id)
        intent = await client.ledger.open_intent(Intent("an-intent", submission))
        request = BatchRequest(file.id, ENDPOINT, metadata={TAG: intent.id})
        batch = await provider.create_batch(request, CallOptions())
        assert await adopt_all(client.tracker, client.accounts.get("openai")) == 1
        (row,) = await client.ledger.batches_of_id(batch.id)
        assert (row.account, row.submission.adopted) == (provider.account, False)


@pytest.mark.parametrize("recorded", [True, False])
async def test_adopted_where_the_account_that_made_it_is_not_configured(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder, tmp_path: Path, recorded: bool
) -> None:
    accounts = {"prod": {"provider": "openai", "api_key": "sk-test-key", "api_base": sandbox.url}}
    settings = Settings(ledger=str(tmp_path / "ledger.db"), track=False, load=(), accounts=accounts)
    async with AsyncClient(settings=settings, plugins=[log], environ={}) as maker:
        if recorded:
            batch = await submitted(maker, requests, custom_llm_provider="prod")
        else:
            file = await maker.files.create(requests, custom_llm_provider="prod")
            submission = Submission(account="prod", provider="openai", endpoint=ENDPOINT, input_file_id=file.id)
            intent = await maker.ledger.open_intent(Intent("an-intent", submission))
            request = BatchRequest(file.id, ENDPOINT, metadata={TAG: intent.id})
            batch = await (await maker.provider("prod", {})).create_batch(request, CallOptions())
        async with make_client(sandbox.url) as other:
            assert await adopt_all(other.tracker, other.accounts.get("openai")) == (not recorded)
            assert [row.account for row in await other.ledger.batches_of_id(batch.id)] == ["prod"]
            assert "prod" not in other.accounts.names(), "whose settings are not known here"
            settlement = await other.batches.wait(batch.id, custom_llm_provider="openai")
            assert settlement.account == "prod"
        assert await told(maker, log, batch) == ["acreate_batch", "batch_success"]


@pytest.mark.parametrize("how", ["retrieve", "list"])
async def test_an_answer_to_another_key_advances_it(
    make_client: Make, sandbox: Sandbox, requests: Path, how: str
) -> None:
    async with make_client(sandbox.url) as client:
        batch = await submitted(client, requests, api_key="key-monday")
        provider = await client.provider("openai", {})
        while (await provider.retrieve_batch(batch.id, CallOptions())).status != "completed":
            pass
        about = {} if how == "list" else {"batch_id": batch.id}
        await getattr(client.batches, how)(**about, api_key="key-tuesday")
        (row,) = await client.ledger.batches_of_id(batch.id)
        assert row.batch.status == "completed"


async def test_a_later_process_follows_it_with_the_key_it_has(
    make_client: Make, sandbox: Sandbox, requests: Path, log: Recorder
) -> None:
    async with make_client(sandbox.url) as client:
        batch = await submitted(client, requests, api_key="key-monday")
    async with make_client(sandbox.url, track=True) as later:
        await later.batches.retrieve(batch.id, api_key="key-tuesday")
        (row,) = await later.ledger.batches_of_id(batch.id)
        assert row.account in later.accounts.names()
        await later.batches.wait(batch.id)
        assert await told(later, log, batch) == ["acreate_batch", "batch_success"]


async def test_a_key_that_is_refused_makes_room_for_one_that_saw_the_batch(
    make_client: Make, sandbox: Sandbox, requests: Path
) -> None:
    async with make_client(sandbox.url) as client:
        batch = await submitted(client, requests, api_key="key-monday")
        await client.batches.retrieve(batch.id, api_key="key-tuesday")
        (row,) = await client.ledger.batches_of_id(batch.id)
        for key in ("key-monday", "key-tuesday"):
            assert client.accounts.get(row.account)._settings.api_key.get_secret_value() == key  # type: ignore[attr-defined]
            client.tracker.rows.refused(row.account)


async def test_a_key_that_may_not_see_the_batch_changes_nothing(make_client: Make) -> None:
    """Two tenants of one server: each is asked with its own key, and told what the server tells it."""
    shown = {"id": "batch_1", "object": "batch", "status": "in_progress", "endpoint": ENDPOINT, "created_at": 1}

    async def server(request: Received) -> Answer:
        mine = request.headers["authorization"] == "Bearer key-of-one"
        return Answer(body=json.dumps(shown).encode()) if mine else Answer(404, b'{"error": {"message": "No batch"}}')

    async with serving(server) as url, make_client(url) as client:
        batch = await client.batches.create(endpoint=ENDPOINT, input_file_id="file-1", api_key="key-of-one")
        for look in (client.batches.wait, client.batches.retrieve, client.batches.cancel):
            with pytest.raises(NotFoundError):
                await look(batch.id, api_key="key-of-another", custom_llm_provider="openai")
        (row,) = await client.ledger.batches_of_id(batch.id)
        client.tracker.rows.refused(row.account)
        assert client.accounts.get(row.account)._settings.api_key.get_secret_value() == "key-of-one"  # type: ignore[attr-defined]


def test_a_refused_key_is_known_to_its_lane() -> None:
    lane = AccountState("openai", lambda: 0.5, Budget(lambda: 0.0, asyncio.sleep))
    lane.failed(AuthenticationError("no", status_code=401), 0.0)
    assert lane.refused
    lane.worked(1e9)
    assert not lane.refused


def test_another_token_is_the_same_account(accounts: CallAccounts) -> None:
    for name, word in (("azure", "azure_ad_token"), ("vertex_ai", "token")):
        first, second = (accounts.resolve(name, {word: f"token-of-{hour}h"}) for hour in (10, 11))
        assert first is not second
        assert first.account == second.account != name
        accounts.renew(first.account, first)
        accounts.renew(first.account, second)
        assert accounts.get(first.account) is second


async def test_tokens_leave_few_providers(accounts: CallAccounts) -> None:
    for number in range(10 * MOST_PASSING):
        provider = accounts.resolve("azure", {"azure_ad_token": f"t{number}"})
        accounts.renew(provider.account, provider)
        await accounts.tidy()
    assert len(accounts._made) <= 3
    assert len(accounts._passing) <= MOST_PASSING
    assert accounts._retired == []
    await accounts.aclose()


def test_a_token_of_a_call_never_takes_the_place_of_a_configured_key(accounts: CallAccounts) -> None:
    own = accounts.get("azure")
    with_function = accounts.resolve("azure", {"azure_ad_token_provider": lambda: "t"})
    assert with_function.account == "azure"
    accounts.renew("azure", with_function)
    assert accounts.get("azure") is own


def test_a_function_for_tokens_serves_an_account_that_has_nothing_else(accounts: CallAccounts) -> None:
    accounts.get("vertex_ai")
    given = accounts.resolve("vertex_ai", {"token": lambda: "t"})
    accounts.renew("vertex_ai", given)
    assert accounts.get("vertex_ai") is given


def test_two_keys_stay_apart_unless_one_is_refused(accounts: CallAccounts) -> None:
    """A token that may see one batch of a tenant's need not see the others."""
    first, second = (accounts.resolve("openai", {"api_key": f"sk-{name}"}) for name in ("one", "two"))
    accounts.renew(first.account, second)
    assert accounts.get(first.account) is first
    accounts.renew(first.account, second, refused=True)
    followed = accounts.get(first.account)
    assert followed.account == first.account
    assert followed._settings.api_key.get_secret_value() == "sk-two"  # type: ignore[attr-defined]


def test_addresses_stay_apart(accounts: CallAccounts) -> None:
    here = accounts.resolve("openai", {"api_base": "http://a.test/v1", "api_key": "k"})
    there = accounts.resolve("openai", {"api_base": "http://b.test/v1", "api_key": "k"})
    assert not accounts.at_address_of(here.account, there)
    assert accounts.at_address_of("openai@a.test#123456", here)
    assert not accounts.at_address_of("openai@a.test#123456", there)
    assert not accounts.at_address_of("openai#123456", there)
    tenant = accounts.resolve("openai", {"api_base": "http://a.test/tenant-2/v1", "api_key": "k"})
    assert tenant.account != here.account


def test_a_later_call_need_not_repeat_the_address(accounts: CallAccounts) -> None:
    at = "https://y.openai.azure.com"
    first = accounts.resolve("azure", {"azure_endpoint": at, "azure_ad_token": "t10"})
    second = accounts.resolve(first.account, {"azure_ad_token": "t11"})
    assert second.account == first.account
    assert second.endpoint == first.endpoint
