"""The webhook logger: what it posts, how that is signed, what answers mean, and where it will not go."""

import asyncio
import base64
import ipaddress
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import openai
from batchmeter import AsyncClient
from batchmeter.config import Settings, validated
from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    APIStatusError,
    BatchmeterError,
    ConfigError,
    Rejected,
    RetryLater,
)
from batchmeter.events import EVENT
from batchmeter.http import HttpClient
from batchmeter.testing.sandbox import serve_sandbox
from batchmeter_webhook import WebhookLogger, WebhookSettings
from batchmeter_webhook.public_address import is_public, public_client

OLD = "whsec_" + base64.b64encode(b"an old secret of 32 bytes.......").decode()
NEW = "whsec_" + base64.b64encode(b"a new secret of 32 bytes........").decode()
REQUEST = {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5-mini"}}
REQUEST["body"]["messages"] = [{"role": "user", "content": "hello"}]
LINE = json.dumps(REQUEST).encode() + b"\n"


@pytest.fixture
async def logger(intake):
    made = []

    def make(**settings):
        here = {"url": intake.url + "/hooks?team=a%20b", "secret": NEW, "allow_private": True, "allow_http": True}
        made.append(WebhookLogger(WebhookSettings(**{**here, **settings})))
        return made[-1]

    yield make
    for one in made:
        await one.shutdown()


def headers_of(request):
    return {name.lower(): text for name, text in request.headers.items()}


async def test_an_event_arrives_whole_and_signed(intake, events, logger):
    event = events.succeeded()
    await logger().batch_success(event)
    (request,) = intake.requests
    assert request.path == "/hooks?team=a%20b"
    headers = headers_of(request)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == event.id
    told = Webhook(NEW).verify(request.body, headers)
    assert told["type"] == "batch_success"
    assert told["timestamp"] == json.loads(event.model_dump_json())["time"]
    assert EVENT.validate_python(told["data"]) == event
    assert told["data"]["cost"]["total"] == "0.1725015"


async def test_the_openai_sdk_verifies_it_too(intake, events, logger):
    await logger().acreate_batch(events.created())
    (request,) = intake.requests
    with openai.OpenAI(api_key="k", webhook_secret=NEW) as sdk:
        sdk.webhooks.verify_signature(request.body.decode(), headers_of(request))
        with pytest.raises(openai.InvalidWebhookSignatureError):
            sdk.webhooks.verify_signature(request.body.decode() + " ", headers_of(request))


async def test_secrets_rotate(intake, events, logger):
    await logger(secret=[OLD, NEW]).batch_failure(events.failed())
    await logger(secret=OLD).batch_failure(events.failed())
    both, old = intake.requests
    for secret in (OLD, NEW):
        Webhook(secret).verify(both.body, headers_of(both))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(old.body, headers_of(old))


async def test_a_redelivery_has_the_same_id_and_body(intake, events, logger):
    event = events.succeeded()
    one = logger()
    await one.batch_success(event)
    await one.batch_success(EVENT.validate_json(event.model_dump_json()))
    first, second = intake.requests
    assert first.body == second.body
    assert headers_of(first)["webhook-id"] == headers_of(second)["webhook-id"]


async def test_text_that_is_no_unicode_goes_out(intake, events, logger):
    event = events.succeeded()
    odd = event.model_copy(update={"metadata": {"note": "\ud83d"}})
    await logger().batch_success(odd)
    assert json.loads(intake.requests[0].body)["data"]["metadata"] == {"note": "\ud83d"}


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (410, {}, Rejected),
        (429, {"retry-after": "7"}, RetryLater),
        (503, {"retry-after": "7"}, RetryLater),
        (429, {}, APIStatusError),
        (400, {}, APIStatusError),
        (401, {}, APIStatusError),
        (500, {"retry-after": "7"}, APIStatusError),
    ],
)
async def test_what_answers_mean(intake, events, logger, answer, status, headers, kind):
    intake.usual = answer(status, b"no", headers)
    with pytest.raises(kind) as caught:
        await logger().acreate_batch(events.created())
    if kind is RetryLater:
        assert caught.value.after == 7
    assert "/hooks" not in str(caught.value), "a webhook's path may be a secret"


@pytest.mark.parametrize(
    ("status", "headers"),
    [(403, {}), (500, {}), (410, {}), (307, {"location": "/in/T0K3N-0F-PATH/?key=k3y%2Bof-query"})],
)
async def test_an_address_that_the_receiver_repeats_is_not_told(
    intake, events, logger, answer, caplog, status, headers
):
    caplog.set_level("INFO")
    body = rb"no POST to \/in\/T0K3N-0F-PATH?key=k3y%2Bof-query here: k3y+of-query, /a/b"
    intake.usual = answer(status, body, headers)
    with pytest.raises(BatchmeterError) as caught:
        await logger(url=intake.url + "/in/T0K3N-0F-PATH?key=k3y%2Bof-query").acreate_batch(events.created())
    assert f"POST {intake.url}/in/[redacted]" in caplog.text, "httpx logs each request"
    told = f"{caplog.text} {caught.value!r} {caught.value} {getattr(caught.value, 'body', '')} {caught.value.__cause__}"
    assert "T0K3N" not in told
    assert "of-query" not in told


async def test_a_redirect_is_no_acceptance(intake, events, logger, answer):
    intake.usual = answer(307, headers={"location": "http://127.0.0.1:1/"})
    with pytest.raises(APIResponseError, match="redirects"):
        await logger().acreate_batch(events.created())
    assert len(intake.requests) == 1


# where it will not go


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "http://example.com/h"}, "allow_http"),
        ({"url": "https://127.0.0.1/h"}, "allow_private"),
        ({"url": "https://[::1]/h"}, "allow_private"),
        ({"url": "https://169.254.169.254/latest"}, "allow_private"),
        ({"url": "https://[::ffff:10.0.0.1]/h"}, "allow_private"),
        ({"url": "https://ada:pw@example.com/h"}, "user or password"),
        ({"url": "ftp://example.com"}, "not an http"),
        ({"url": ""}, "BATCHMETER_WEBHOOK_URL"),
        ({"url": "https://example.com", "secret": ""}, "BATCHMETER_WEBHOOK_SECRET"),
        ({"url": "https://example.com", "secret": "short"}, "too short"),
        ({"url": "https://example.com", "secret": "whsec_***"}, "base64"),
        ({"url": "https://example.com", "secert": NEW}, "did you mean 'secret'"),
    ],
)
def test_settings_that_are_refused(changed, said):
    with pytest.raises(ConfigError, match=said) as caught:
        validated(WebhookSettings, {"secret": NEW, **changed}, "batchmeter.toml: [plugins.webhook]")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.0.0.1", False),
        ("172.16.5.4", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d70e", True),
        ("2002:7f00:1::", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


async def answered_by(resolve, intake, allowed=None):
    client = public_client(resolve=resolve, allowed=allowed)
    port = intake.url.rpartition(":")[2]
    http = HttpClient(f"http://hooks.example:{port}", client=client, max_retries=0)
    try:
        return [await http.request("POST", "/x", json_body={}) for _ in range(2)]
    finally:
        await client.aclose()


async def test_a_name_that_leads_inside_is_refused(intake):
    for found in (["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"], []):

        async def resolve(host, port, found=found):
            return found

        with pytest.raises(APIConnectionError, match="not a public address"):
            await answered_by(resolve, intake)
    assert intake.requests == []


async def test_the_connection_goes_to_the_address_that_was_checked(intake):
    """A name that would lead elsewhere at a second look is looked up once a request."""
    asked = []

    async def resolve(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    await answered_by(resolve, intake, allowed=lambda address: address.is_loopback)
    assert asked == ["hooks.example", "hooks.example"]
    assert {headers_of(request)["host"].partition(":")[0] for request in intake.requests} == {"hooks.example"}


async def test_a_name_that_changes_its_mind_is_caught(intake):
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def resolve(host, port):
        return next(answers)

    with pytest.raises(APIConnectionError, match=r"127\.0\.0\.2"):
        await answered_by(resolve, intake, allowed=lambda address: str(address) == "127.0.0.1")
    assert len(intake.requests) == 1


async def test_localhost_is_refused_unless_allowed(intake, events, logger):
    url = intake.url.replace("127.0.0.1", "localhost")
    with pytest.raises(APIConnectionError, match="not a public address"):
        await logger(url=url, allow_private=False).acreate_batch(events.created())
    assert intake.requests == []


async def test_it_is_delivered_like_any_logger(intake, tmp_path, answer):
    intake.answers = [answer(503, headers={"retry-after": "0"})]
    async with serve_sandbox() as sandbox:
        settings = Settings(
            ledger=str(tmp_path / "ledger.db"),
            load=("webhook",),
            accounts={"openai": {"api_base": sandbox.url, "api_key": "k"}},
            plugins={"webhook": {"url": intake.url, "secret": NEW, "allow_private": True, "allow_http": True}},
        )
        async with AsyncClient(settings=settings, environ={}) as client:
            file = await client.files.create(("a.jsonl", LINE))
            batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions")
            settled = await client.batches.wait(batch.id, timeout=20)
            await asyncio.to_thread(intake.wait_for, 3)
    told = [Webhook(NEW).verify(request.body, headers_of(request)) for request in intake.requests[1:]]
    assert [one["type"] for one in told] == ["acreate_batch", "batch_success"]
    assert told[1]["data"]["cost"]["total"] == settled.model_dump(mode="json")["cost"]["total"]
