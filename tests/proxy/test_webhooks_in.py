"""A provider's webhooks: signed or refused, done once, and the batch is settled at once."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import httpx2
import pytest
from standardwebhooks import Webhook
from tests.cases import case

import openai
from batchmeter import AsyncClient, hookimpl
from batchmeter_proxy import create_app
from batchmeter_proxy.signature import BadSignatureError, verify

OLD = "whsec_" + base64.b64encode(b"old secret, twenty-four.").decode()
NEW = "whsec_" + base64.b64encode(b"new secret, twenty-four.").decode()
PLAIN = "a secret as it is"


class Endings(asyncio.Queue):
    """A logger to wait for."""

    @hookimpl
    async def batch_success(self, event):
        self.put_nowait(event)


@pytest.fixture
def ending():
    return Endings()


@pytest.fixture
async def client(sandbox, ledger, ending):
    account = {"provider": "openai", "api_base": sandbox.url, "api_key": "k", "max_retries": 0}
    accounts = {"openai": {**account, "webhook_secrets": [OLD, NEW]}, "plain": {**account, "webhook_secrets": [PLAIN]}}
    accounts["silent"] = account
    opened = AsyncClient(ledger=ledger, accounts=accounts, plugins=[ending], track=True)
    async with opened:
        yield opened


@pytest.fixture
def post(http, client):
    """Sends a webhook, signed as the official library signs it unless told otherwise."""

    async def send(body, *, account="openai", secret=NEW, webhook_id="wh_1", age=0.0, through=http, **changed):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        moment = client.ledger.now() / 1000 - age
        signer = Webhook(secret if secret.startswith("whsec_") else base64.b64encode(secret.encode()).decode())
        signature = signer.sign(webhook_id, datetime.fromtimestamp(int(moment), UTC), raw.decode())
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(moment)),
            "webhook-signature": signature,
            "content-type": "application/json",
        }
        headers = {name: text.encode("latin-1") for name, text in {**headers, **changed}.items() if text is not None}
        return await through.post(f"/webhooks/{account}", content=raw, headers=headers)

    return send


def ended(batch_id, kind="batch.completed"):
    return {"id": "evt_1", "object": "event", "type": kind, "created_at": 1, "data": {"id": batch_id}}


async def submit(sdk, lines):
    file = await sdk.files.create(file=("a.jsonl", lines(2)), purpose="batch")
    return await sdk.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


async def test_the_end_of_a_batch_is_settled_at_once(sdk, lines, clock, client, post, ending):
    batch = await submit(sdk, lines)
    clock.advance(60)
    await sdk.batches.retrieve(batch.id)
    clock.advance(1400)
    due = (await client.ledger.get_batch(batch.id)).next_poll_at
    assert due - client.ledger.now() > 5_000, "nobody would look yet"
    answer = await post(ended(batch.id))
    assert (answer.status_code, answer.json()) == (200, {"received": True, "woken": True})
    event = await asyncio.wait_for(ending.get(), 5)
    assert (event.type, event.batch_id) == ("batch_success", batch.id)
    assert event.usage.total_tokens > 0
    assert (await post(ended(batch.id), webhook_id="wh_2")).json() == {"received": True, "woken": False}


async def test_a_repeat_does_nothing_again(sdk, lines, post):
    batch = await submit(sdk, lines)
    assert (await post(ended(batch.id))).json()["woken"] is True
    for age in (0, 10):
        assert (await post(ended(batch.id), age=age)).json() == {"received": True, "repeated": True}
    assert (await post(ended(batch.id), webhook_id="wh_2")).json()["woken"] is True


async def test_another_worker_knows_what_this_one_has_done(sdk, lines, client, post):
    batch = await submit(sdk, lines)
    assert (await post(ended(batch.id))).json()["woken"] is True
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as worker:
        assert (await post(ended(batch.id), through=worker)).json() == {"received": True, "repeated": True}


async def test_what_is_not_signed_right_is_refused_and_wakes_nobody(sdk, lines, client, post):
    batch = await submit(sdk, lines)
    before = await client.ledger.get_batch(batch.id)
    body = ended(batch.id)
    tries = {
        "another secret": {"secret": "whsec_" + base64.b64encode(b"somebody else's").decode()},
        "no signature": {"webhook-signature": None},
        "empty signature": {"webhook-signature": ""},
        "another version": {"webhook-signature": "v2,AAAA"},
        "rubbish": {"webhook-signature": "v1,ü v1,== v1"},
        "no id": {"webhook-id": None},
        "another id": {"webhook-id": "wh_2"},
        "no time": {"webhook-timestamp": None},
        "another time": {"webhook-timestamp": str(client.ledger.now() // 1000 - 1)},
        "rubbish time": {"webhook-timestamp": "²"},
        "endless time": {"webhook-timestamp": "9" * 5000},
        "old": {"age": 301},
        "from the future": {"age": -302},
        "another account's secret": {"secret": PLAIN},
    }
    for name, changed in tries.items():
        answer = await post(body, **changed)
        assert answer.status_code == 401, name
        assert answer.json()["error"]["code"] == "invalid_webhook_signature", name
    signed = await post(body, age=280)
    assert signed.status_code == 200
    assert before == (await client.ledger.get_batch(batch.id)) or signed.json()["woken"]


async def test_a_changed_body_is_refused(post, client, http):
    raw = json.dumps(ended("batch_1")).encode()
    headers = {"webhook-id": "w", "webhook-timestamp": str(client.ledger.now() // 1000)}
    key = base64.b64decode(NEW.removeprefix("whsec_"))
    mac = hmac.digest(key, f"w.{headers['webhook-timestamp']}.".encode() + raw, hashlib.sha256)
    headers["webhook-signature"] = f"v1,{base64.b64encode(mac).decode()}"
    assert (await http.post("/webhooks/openai", content=raw + b" ", headers=headers)).status_code == 401
    assert (await http.post("/webhooks/openai", content=raw, headers=headers)).status_code == 200


async def test_secrets_rotate(post):
    for number, secret in enumerate((OLD, NEW)):
        assert (await post(ended("batch_x"), secret=secret, webhook_id=f"w{number}")).status_code == 200
    both = await post(ended("batch_x"), webhook_id="w9", **{"webhook-signature": "v1,AAAA v1a,BBBB"})
    assert both.status_code == 401
    assert (await post(ended("batch_x"), account="plain", secret=PLAIN)).status_code == 200


async def test_strangers_learn_nothing_about_accounts(post):
    answers = [await post(ended("b"), account=account) for account in ("silent", "nobody", "opena", "..")]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 405], (
        "`..` is the front page, which takes no form"
    )
    assert len({answer.text.replace("silent", "x").replace("nobody", "x") for answer in answers[:2]}) == 1
    assert "openai" not in "".join(answer.text for answer in answers)


STRANGE = [
    {"type": "response.completed", "data": {"id": "resp_1"}},
    {"type": "batch.completed"},
    {"type": "batch.completed", "data": {"id": 7}},
    {"type": "batch.completed", "data": {"id": "batch_nobody_knows"}},
    {"type": "batch.completed", "data": {"id": "batch_\ud83d"}},
    {"type": "batch.completed", "data": {"id": "batch_\0"}},
    [1, 2],
    b"not json",
    b"[" * 60_000,
    b"",
]


async def test_what_is_signed_but_not_for_us_is_accepted(post):
    for number, body in enumerate(STRANGE):
        with case(body):
            answer = await post(body, webhook_id=f"wh_{number}")
            assert (answer.status_code, answer.json()) == (200, {"received": True, "woken": False})


async def test_a_huge_body_is_refused(post):
    assert (await post(b"x" * (64 * 1024 + 1))).status_code == 413


async def test_strangers_bodies_are_not_read(http, client):
    async def body():
        raise AssertionError("nobody asked for it")
        yield b""

    headers = {"webhook-id": "w", "webhook-timestamp": str(client.ledger.now() // 1000), "webhook-signature": "v1,AAAA"}
    for missing in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        answer = await http.post("/webhooks/openai", content=body(), headers={**headers, missing: ""})
        assert answer.status_code == 401, missing


async def test_a_body_that_does_not_end_is_not_waited_for(client):
    async def dribble():
        yield b"{"
        await asyncio.Event().wait()

    client.settings = client.settings.model_copy(update={"proxy": {"body_seconds": 0.05}})
    headers = {"webhook-id": "w", "webhook-timestamp": str(client.ledger.now() // 1000), "webhook-signature": "v1,AAAA"}
    transport = httpx2.ASGITransport(create_app(client))
    async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:
        answer = await http.post("/webhooks/openai", content=dribble(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout")


def test_the_official_sdk_agrees_about_every_signature():
    """openai-python's own verifier, and ours, on what the reference library signs."""
    sdk = openai.OpenAI(api_key="k", webhook_secret=NEW)
    body = json.dumps(ended("batch_1"))
    now = datetime.now(UTC).replace(microsecond=0)
    for secret in (NEW, OLD):
        headers = {
            "webhook-id": "wh_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": "v1,AAAA " + Webhook(secret).sign("wh_1", now, body),
        }
        if secret is NEW:
            assert sdk.webhooks.unwrap(body, headers).data.id == "batch_1"
            assert verify(headers, body.encode(), [OLD, NEW], now=now.timestamp()) == "wh_1"
        else:
            with pytest.raises(openai.InvalidWebhookSignatureError):
                sdk.webhooks.verify_signature(body, headers)
            with pytest.raises(BadSignatureError):
                verify(headers, body.encode(), [NEW], now=now.timestamp())
    sdk.close()
