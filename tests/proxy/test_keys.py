"""Keys of the proxy: who is let in, what each sees of others, and where a key's limits end."""

import httpx2
from tests.cases import case

from batchmeter_proxy import create_app
from batchmeter_proxy.auth import REMEMBERED_SECONDS, Keys
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key, hash_of

from .conftest import refused

CHAT = "/v1/chat/completions"


# callers that are let in


async def test_without_keys_any_token_is_an_administrator_on_this_machine(sdk, http, lines):
    await sdk.files.create(file=("a.jsonl", lines(1)), purpose="batch")
    assert (await http.get("/v1/files")).status_code == 200


async def test_without_keys_other_machines_are_refused(client):
    for host in ["10.1.2.3", "8.8.8.8", "2001:db8::1", "::ffff:10.0.0.1"]:
        with case(host):
            transport = httpx2.ASGITransport(create_app(client), client=(host, 1))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
                answer = await http.get("/v1/files", headers={"authorization": "Bearer anything"})
                assert answer.status_code == 401
                assert (await http.get("/health/liveliness")).status_code == 200


async def test_without_keys_this_machine_has_many_names(client):
    for host in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "testclient"]:
        with case(host):
            transport = httpx2.ASGITransport(create_app(client), client=(host, 1))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
                assert (await http.get("/v1/files")).status_code == 200


async def test_with_keys_one_is_needed(caller, http):
    ada = await caller(owner="ada")
    wrong = [
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {ada.secret}"},
        {"authorization": ada.secret},
        {"authorization": f"Bearer {ada.secret[:-1]}"},
        {"authorization": f"Bearer {ada.secret}x"},
        {"authorization": f"Bearer {hash_of(ada.secret)}"},
        {"authorization": f"Bearer {ada.key.id}"},
        {"authorization": "Bearer " + "x" * 5000},
        {"x-api-key": "bm-wrong"},
        {"x-api-key": ""},
        {"authorization": "Bearer bm-wrong", "x-api-key": ada.secret},
    ]
    for headers in wrong:
        answer = await http.get("/v1/batches", headers=headers)
        assert answer.status_code == 401, headers
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
        assert ada.secret not in answer.text
        assert answer.headers["www-authenticate"] == "Bearer"
    for headers in ({"authorization": f"bearer {ada.secret}"}, {"x-api-key": ada.secret}):
        assert (await http.get("/v1/batches", headers=headers)).status_code == 200, headers
    assert (await http.get("/v1/nonsense")).status_code == 404
    assert (await http.get("/health/readiness")).status_code == 200


async def test_a_revoked_or_expired_key_stops_within_seconds(client):
    now = [0.0]
    keys = Keys(client, clock=lambda: now[0])
    key, secret = await create_key(await keyring_of(client), owner="ada")
    transport = httpx2.ASGITransport(create_app(client, authenticate=keys.authenticate))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:

        async def status(token=secret):
            return (await http.get("/v1/models", headers={"authorization": f"Bearer {token}"})).status_code

        assert await status() == 200
        await (await keyring_of(client)).revoke_key(key.id)
        now[0] += REMEMBERED_SECONDS
        assert await status() == 401
        _, short = await create_key(await keyring_of(client), expires_at=client.ledger.now() + 60_000)
        assert await status(short) == 200
        later = client.ledger.now() + 60_000
        client.ledger.now = lambda: later
        assert await status(short) == 401, "remembered or not"


async def test_the_first_key_closes_the_door(client):
    now = [0.0]
    keys = Keys(client, clock=lambda: now[0])
    transport = httpx2.ASGITransport(create_app(client, authenticate=keys.authenticate))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        assert (await http.get("/v1/models")).status_code == 200
        key, _ = await create_key(await keyring_of(client))
        now[0] += REMEMBERED_SECONDS
        assert (await http.get("/v1/models")).status_code == 401
        await (await keyring_of(client)).revoke_key(key.id)
        assert (await http.get("/v1/models")).status_code == 401


async def test_secrets_are_long_random_and_kept_nowhere(client, caller, tmp_path):
    ada, bob = await caller(owner="ada"), await caller(owner="ada")
    assert ada.secret != bob.secret
    assert ada.secret.startswith("bm-")
    assert len(ada.secret) >= 43
    assert ada.secret not in repr(await (await keyring_of(client)).keys())
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("proxy.db*"))
    assert ada.key.id.encode() in stored
    assert ada.secret.encode() not in stored


# owners


async def test_nobody_else_s_objects_can_be_touched(caller, lines, ended, client):
    ada, bob, root = await caller(owner="ada"), await caller(owner="bob"), await caller(owner="root", admin=True)
    batch = await ada.submit(lines(2))
    settled = await ended(batch.id)
    output = settled.batch.output_file_id
    for file_id in (batch.input_file_id, output):
        assert (await refused(bob.files.retrieve(file_id)))[0] == 404
        assert (await refused(bob.files.content(file_id)))[0] == 404
        assert (await refused(bob.files.delete(file_id)))[0] == 404
        assert (await bob.get(f"/openai/v1/files/{file_id}/content")).status_code == 404
        assert (await bob.get(f"/other/v1/files/{file_id}/content")).status_code == 404
        assert (await bob.get(f"/files/{file_id}?provider=other")).status_code == 404
        assert (await bob.get(f"/v1/files/{file_id}", **{"custom-llm-provider": "other"})).status_code == 404
        again = bob.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
        assert (await refused(again))[0] == 404
        elsewhere = bob.batches.create(
            input_file_id=file_id, endpoint=CHAT, completion_window="24h", extra_body={"custom_llm_provider": "other"}
        )
        assert (await refused(elsewhere))[0] == 404
    assert (await refused(bob.batches.retrieve(batch.id)))[0] == 404
    assert (await refused(bob.batches.cancel(batch.id)))[0] == 404
    assert (await bob.get(f"/other/v1/batches/{batch.id}")).status_code == 404
    missing = await bob.get("/v1/batches/batch_none")
    theirs = await bob.get(f"/v1/batches/{batch.id}")
    assert theirs.text.replace(batch.id, "batch_none") == missing.text, "what is somebody's looks like what is not"
    for key in (ada, root):
        assert (await key.batches.retrieve(batch.id)).status == "completed"
        assert (await key.files.content(output)).content.count(b"\n") == 2
    assert len(await client.ledger.list_batches()) == 1


async def test_a_key_keeps_to_its_accounts_and_models(caller, lines):
    ada = await caller(owner="ada", accounts=["openai"], models=["gpt-4o-mini"])
    batch = await ada.submit(lines(1))
    assert batch.id
    for path in ("/other/v1/files", "/other/v1/batches", "/v1/files?provider=other", f"/other/v1/files/{batch.id}"):
        assert (await ada.get(path)).status_code in (403, 404), path
    status, code = await refused(
        ada.files.create(file=("a.jsonl", lines(1)), purpose="batch", extra_headers={"custom-llm-provider": "other"})
    )
    assert (status, code) == (403, "account_not_allowed")
    status, code = await refused(ada.upload(lines(1, model="o3")))
    assert (status, code) == (403, "model_not_allowed")
    assert len([file async for file in ada.files.list()]) == 1


async def test_an_administrator_of_some_accounts_gets_no_sums_of_all(caller, lines):
    ada, root = await caller(owner="ada"), await caller(owner="root", admin=True, accounts=["openai"])
    batch = await ada.submit(lines(1))
    assert (await root.batches.retrieve(batch.id)).id == batch.id
    for path in ("/v1/costs", "/v1/events", "/metrics"):
        answer = await root.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "account_not_allowed"), path


async def test_attribution_rides_on_both_events(caller, lines, ended, recorder, client):
    ada = await caller(owner="ada", team="search", tags=["eval"])
    batch = await ada.submit(lines(1), extra_headers={"x-batchmeter-tags": "nightly, eval"})
    await ended(batch.id)
    await client.deliverer.drain(5)
    attributions = [event.attribution for event in recorder.events]
    assert len(attributions) == 2
    for one in attributions:
        assert (one.key, one.user, one.team, one.tags) == (ada.key.id, "ada", "search", ("eval", "nightly"))


async def test_one_key_s_idempotency_key_is_not_another_s(caller, lines):
    ada, bob = await caller(owner="ada"), await caller(owner="bob")
    header = {"Idempotency-Key": "same"}
    made = {}
    for who in (ada, bob):
        file = await who.files.create(file=("a.jsonl", lines(1)), purpose="batch", extra_headers=header)
        batch = await who.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h", extra_headers=header
        )
        made[who] = (file.id, batch.id)
    assert len({*made[ada], *made[bob]}) == 4


async def test_what_a_key_may_not_use_looks_alike_there_or_not(caller, lines):
    """Nobody learns the names of accounts that are not theirs, by any route or spelling."""
    for account in ["other", "no-such-account"]:
        with case(account):
            ada = await caller(owner="ada", accounts=["openai"])
            file = await ada.upload(lines(1))
            who = {"authorization": f"Bearer {ada.secret}"}
            create, form = {"input_file_id": file.id, "endpoint": CHAT}, {"file": ("in.jsonl", lines(1))}
            answers = [
                await ada.http.post(f"/{account}/v1/files", data={"purpose": "batch"}, files=form, headers=who),
                await ada.http.post(
                    "/v1/files", data={"purpose": "batch", "provider": account}, files=form, headers=who
                ),
                await ada.get(f"/{account}/v1/files"),
                await ada.get(f"/{account}/v1/batches"),
            ]
            assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
                (403, "account_not_allowed")
            ] * len(answers)
            answers = [
                await ada.http.post(f"/{account}/v1/batches", json=create, headers=who),
                await ada.http.post("/v1/batches", json={**create, "provider": account}, headers=who),
                await ada.get(f"/{account}/v1/files/{file.id}"),
                await ada.get(f"/{account}/v1/batches/batch_1"),
                await ada.get(f"/{account}/v1/batches/batch_1/cost"),
            ]
            assert [answer.status_code for answer in answers] == [404] * len(answers)
            assert all("known" not in answer.text for answer in answers)


async def test_a_key_sees_models_of_its_accounts_only(caller, client):
    client.settings.models.update({"gpt-4o": "openai", "secret-model": "other"})
    ada = await caller(owner="ada", accounts=["openai"])
    assert [model["id"] for model in (await ada.get("/v1/models")).json()["data"]] == ["gpt-4o"]
    assert (await ada.get("/v1/models/secret-model")).status_code == 404
    assert (await ada.get("/v1/models/gpt-4o")).json()["owned_by"] == "openai"
