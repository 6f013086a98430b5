"""A key's limits are charged once for what was really sent, however the request is spelled."""

import pytest
from tests.cases import case
from tests.proxy.conftest import refused

from batchmeter.access import Access
from batchmeter_proxy.keyring import KeyLimits, keyring_of

from .conftest import CHAT

SPELLINGS = [
    ("/v1/batches", {}, {}),
    ("/openai/v1/batches", {}, {}),
    ("/v1/batches", {"custom-llm-provider": "openai"}, {}),
    ("/v1/batches?custom_llm_provider=openai", {}, {}),
    ("/batches?provider=openai", {}, {}),
    ("/v1/batches", {}, {"custom_llm_provider": "openai"}),
    ("/v1/batches", {}, {"provider": "openai"}),
]


@pytest.fixture
def post(caller):
    async def send(tenant, path, headers, body):
        headers = {"authorization": f"Bearer {tenant.secret}", **headers}
        return await tenant.http.post(path, json=body, headers=headers)

    return send


async def used(client, tenant) -> int:
    """Lines that the key has used today."""
    most = tenant.key.limits.lines_per_day
    period = client.ledger.now() // 86_400_000
    for left in range(most, -1, -1):
        if await (await keyring_of(client)).use_key(
            tenant.key.id, "lines_per_day", period=period, amount=0, most=most - left
        ):
            return most - left
    raise AssertionError("more than there are")


async def test_one_create_spelled_in_every_way_is_charged_once(caller, client, lines, post):
    ada = await caller(limits=KeyLimits(lines_per_day=10, open_batches=1))
    file = await ada.upload(lines(4))
    body = {"input_file_id": file.id, "endpoint": CHAT}
    made = set()
    for path, headers, more in SPELLINGS:
        answer = await post(ada, path, {"idempotency-key": "a", **headers}, body | more)
        assert answer.status_code == 200, answer.text
        made.add(answer.json()["id"])
    assert len(made) == 1
    assert await used(client, ada) == 4
    assert await Access(client.ledger).open_batches(ada.key.id) == 1


async def test_one_upload_spelled_in_every_way_is_one_file(caller, lines):
    ada, root = await caller(owner="ada"), await caller(admin=True)
    made = set()
    for path, headers, field in SPELLINGS:
        answer = await ada.http.post(
            path.replace("batches", "files"),
            data={"purpose": "batch", **field},
            files={"file": ("in.jsonl", lines(2))},
            headers={"authorization": f"Bearer {ada.secret}", "idempotency-key": "a", **headers},
        )
        assert answer.status_code == 200, answer.text
        made.add(answer.json()["id"])
    assert len(made) == 1
    assert [file.id async for file in root.files.list()] == list(made)


async def test_what_is_refused_late_is_not_charged(caller, client, lines, post):
    for wrong in [
        {"endpoint": "/v1/nonsense"},
        {"metadata": {"n": 5}},
        {"metadata": {"x": "y" * 600}},
        {"input_blob": "x"},
    ]:
        with case(wrong):
            ada = await caller(limits=KeyLimits(lines_per_day=10, open_batches=1))
            file = await ada.upload(lines(4))
            body = {"input_file_id": file.id, "endpoint": CHAT}
            for key in ({}, {"idempotency-key": "a"}):
                assert (await post(ada, "/v1/batches", key, body | wrong)).status_code == 400
            assert (await used(client, ada), await Access(client.ledger).open_batches(ada.key.id)) == (0, 0)
            assert (await post(ada, "/v1/batches", {"idempotency-key": "a"}, body)).status_code == 200
            assert await used(client, ada) == 4


async def test_a_repeat_that_fails_gives_nothing_back(caller, client, lines, sandbox):
    """The first create has paid, and was sent; what comes of asking again changes nothing."""
    ada = await caller(limits=KeyLimits(lines_per_day=4))
    batch = await ada.submit(lines(4), extra_headers={"Idempotency-Key": "a"})
    forgotten = {"scope": "batches openai", "name": f"{ada.key.id}:a"}
    await client.ledger.database.write(lambda session: session.run("forget_answer", **forgotten))
    again = {"input_file_id": batch.input_file_id, "endpoint": CHAT, "completion_window": "24h"}
    wrong = ada.batches.create(**again, metadata={"n": 5}, extra_headers={"Idempotency-Key": "a"})
    await refused(wrong)
    assert await refused(ada.batches.create(**again)) == (429, "rate_limit_exceeded")


async def test_a_repeat_on_another_day_is_not_charged(caller, client, lines, monkeypatch):
    moment = [client.ledger.now()]
    monkeypatch.setattr(client.ledger, "now", lambda: moment[0])
    ada = await caller(limits=KeyLimits(lines_per_day=4, open_batches=1))
    batch = await ada.submit(lines(4), extra_headers={"Idempotency-Key": "a"})
    forgotten = {"scope": "batches openai", "name": f"{ada.key.id}:a"}
    await client.ledger.database.write(lambda session: session.run("forget_answer", **forgotten))
    moment[0] += 86_400_000
    again = {"input_file_id": batch.input_file_id, "endpoint": CHAT, "completion_window": "24h"}
    assert (await ada.batches.create(**again, extra_headers={"Idempotency-Key": "a"})).id == batch.id
    assert await used(client, ada) == 0
