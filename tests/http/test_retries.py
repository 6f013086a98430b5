"""Retries follow the official SDK: what is tried again, after how long, and what never is."""

import asyncio
import email.utils
import time

import pytest

from batchmeter import errors
from batchmeter.http import Body, retry_after_seconds
from batchmeter.testing.wire import HANG_UP, Answer, Script, serving

OK = Answer(body=b'{"id": "batch_1"}')


def refusal(status, code=None, **headers):
    body = b'{"error": {"message": "no", "code": "%s"}}' % (code or "x").encode()
    return Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_a_passing_trouble_is_tried_twice_more(status, connect, naps):
    script = Script([refusal(status), refusal(status), OK])
    async with serving(script) as url:
        answer = await connect(url).request("GET", "batches/batch_1")
    assert answer.json() == {"id": "batch_1"}
    assert len(script.received) == 3
    assert 0.375 <= naps[0] <= 0.5
    assert 0.75 <= naps[1] <= 1.0


async def test_after_the_last_try_the_error_itself_is_raised(connect):
    script = Script([refusal(503)])
    async with serving(script) as url:
        with pytest.raises(errors.InternalServerError) as caught:
            await connect(url, max_retries=1).request("GET", "files")
    assert caught.value.status_code == 503
    assert len(script.received) == 2


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400),
        refusal(401),
        refusal(404),
        refusal(422),
        refusal(429, "insufficient_quota"),
        refusal(429, retry_after="121"),
        refusal(503, x_should_retry="false"),
    ],
    ids=["400", "401", "404", "422", "insufficient_quota", "retry-after over 120 s", "x-should-retry false"],
)
async def test_a_lasting_refusal_is_not_tried_again(answer, connect, naps):
    script = Script([answer, OK])
    async with serving(script) as url:
        with pytest.raises(errors.APIStatusError):
            await connect(url).request("GET", "files")
    assert len(script.received) == 1
    assert naps == []


@pytest.mark.parametrize(
    ("answer", "nap"),
    [
        (refusal(429, retry_after="7"), 7.0),
        (refusal(429, retry_after_ms="1500", retry_after="60"), 1.5),
        (refusal(503, retry_after="120"), 120.0),
        (refusal(400, x_should_retry="true", retry_after="3"), 3.0),
    ],
)
async def test_the_provider_says_when(answer, nap, connect, naps):
    async with serving(Script([answer, OK])) as url:
        await connect(url).request("GET", "files")
    assert naps == [nap]


async def test_a_lost_connection_is_tried_again(connect, naps):
    script = Script([HANG_UP, OK])
    async with serving(script) as url:
        assert (await connect(url).request("GET", "files")).status_code == 200
    assert len(naps) == 1


async def test_an_answer_that_breaks_off_is_tried_again(connect):
    script = Script([Answer(body=b'{"id":', length=20), OK])
    async with serving(script) as url:
        assert (await connect(url).request("GET", "files")).json() == {"id": "batch_1"}


@pytest.mark.parametrize("first", [HANG_UP, refusal(500), refusal(429), Answer(body=b"{", length=20)])
async def test_what_must_happen_once_happens_once(first, connect):
    script = Script([first, OK])
    async with serving(script) as url:
        with pytest.raises(errors.ProviderError):
            await connect(url).request("POST", "batches", json_body={"a": 1}, retry="never")
    assert len(script.received) == 1


async def test_a_body_that_cannot_be_read_again_is_sent_once(connect):
    async def once():
        yield b"line\n"

    script = Script([refusal(503), OK])
    async with serving(script) as url:
        with pytest.raises(errors.InternalServerError):
            await connect(url).request("POST", "files", body=Body(once, "text/plain", 5, replayable=False))
    assert len(script.received) == 1


async def test_each_try_gets_a_fresh_body_and_fresh_credentials(connect):
    tokens = iter(["first", "second"])

    async def auth():
        return {"authorization": f"Bearer {next(tokens)}"}

    async def lines():
        yield b"a\n"
        yield b"b\n"

    script = Script([refusal(503), OK])
    async with serving(script) as url:
        await connect(url, auth=auth).request("POST", "files", body=Body(lines, "text/plain"))
    assert [request.body for request in script.received] == [b"a\nb\n"] * 2
    assert [request.headers["authorization"] for request in script.received] == ["Bearer first", "Bearer second"]


async def test_nobody_there(connect, naps, unused_tcp_port):
    with pytest.raises(
        errors.APIConnectionError, match=rf"http://127.0.0.1:{unused_tcp_port}/v1: ConnectError"
    ) as caught:
        await connect(f"http://127.0.0.1:{unused_tcp_port}/v1").request("GET", "files")
    assert caught.value.never_sent
    assert len(naps) == 2


async def test_an_answer_that_does_not_come_in_time(connect):
    late = asyncio.Event()
    async with serving(Script([Answer(body=b"{}"), Answer(after=late)])) as url:
        client = connect(url, max_retries=0)
        await client.request("GET", "files")  # connects: the time is for the answer
        with pytest.raises(errors.APITimeoutError, match="did not answer in time") as caught:
            await client.request("GET", "files", timeout=0.05)
        assert not caught.value.never_sent
        late.set()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "4"}, 4.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}, 0.0),
    ],
)
def test_retry_after_is_read_tolerantly(headers, seconds):
    assert retry_after_seconds(headers) == seconds


def test_retry_after_may_be_a_date():
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    seconds = retry_after_seconds({"retry-after": date})
    assert seconds is not None
    assert 27 < seconds <= 30
