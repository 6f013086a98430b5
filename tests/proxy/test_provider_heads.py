"""A provider's own headers and status reach the caller, of successes and errors alike."""

import json

import httpx2
import pytest

from batchmeter import AsyncClient
from batchmeter.config import Settings
from batchmeter.errors import RateLimitError
from batchmeter.http import retry_after_seconds
from batchmeter.testing.wire import Answer, Script, serving
from batchmeter_proxy import create_app

HEADERS = {
    "content-type": "application/json",
    "x-request-id": "req_theirs",
    "apim-request-id": "apim_theirs",
    "deployment-enqueued-tokens": "17",
    "deployment-maximum-enqueued-tokens": "5000",
    "x-ratelimit-remaining-requests": "9",
    "openai-processing-ms": "3",
    "set-cookie": "secret=1",
    "x-internal": "no",
}
PASSED = {name: text for name, text in HEADERS.items() if name not in ("content-type", "set-cookie", "x-internal")}
FILE = {"id": "file-1", "object": "file", "bytes": 2, "created_at": 1, "filename": "a", "purpose": "user_data"}
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/responses",
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "in_progress",
    "created_at": 1,
}
UPLOAD = {"data": {"purpose": "user_data"}, "files": {"file": ("a", b"{}")}}
CREATE = {"json": {"input_file_id": "file-1", "endpoint": "/v1/responses"}}
LIST = {"object": "list", "data": [], "has_more": False}
CALLS = [
    ("POST", "/v1/files", UPLOAD, FILE),
    ("POST", "/v1/batches", CREATE, BATCH),
    ("POST", "/v1/batches/batch_1/cancel", {}, BATCH),
    ("GET", "/v1/batches/batch_1", {}, BATCH),
    ("GET", "/v1/batches", {}, LIST),
    ("GET", "/v1/files/file-1", {}, FILE),
    ("GET", "/v1/files/file-1/content", {}, FILE),
    ("DELETE", "/v1/files/file-1", {}, {"id": "file-1", "object": "file", "deleted": True}),
]


@pytest.fixture
async def through(ledger):
    """The proxy's answer to a call, over a vendor that answers this; and what the vendor was asked."""
    script = Script([])
    async with serving(script) as address:
        account = {"provider": "openai", "api_base": address, "api_key": "k", "max_retries": 0}
        proxy = {"freshness": 0}
        settings = Settings(ledger=ledger, accounts={"openai": account}, track=False, load=(), proxy=proxy)
        async with AsyncClient(settings=settings) as client:
            transport = httpx2.ASGITransport(create_app(client))
            async with httpx2.AsyncClient(transport=transport, base_url="http://proxy") as http:

                async def send(answer, method, path, **call):
                    script.answers = [answer]
                    return await http.request(method, path, **call), script.received[-1]

                yield send


def passed(answer):
    assert not {"set-cookie", "x-internal"} & set(answer.headers)
    return {name: answer.headers[name] for name in PASSED if name in answer.headers}


async def test_a_success_s_headers_reach_the_caller(through):
    for method, path, call, document in CALLS:
        answer, _ = await through(Answer(200, json.dumps(document).encode(), HEADERS), method, path, **call)
        assert (answer.status_code, passed(answer)) == (200, PASSED), f"{method} {path}: {answer.text}"


async def test_an_error_s_headers_reach_the_caller(through):
    error = json.dumps({"error": {"message": "Slow down.", "type": "t", "param": None, "code": None}}).encode()
    for method, path, call, _ in CALLS:
        answer, _ = await through(Answer(429, error, HEADERS | {"retry-after": "7"}), method, path, **call)
        assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (429, error, "7"), (method, path)
        assert passed(answer) == PASSED, (method, path)


async def test_the_status_of_what_was_made_reaches_the_caller(through):
    for method, path, call, document in CALLS[:2]:
        answer, _ = await through(Answer(201, json.dumps(document).encode(), HEADERS), method, path, **call)
        assert answer.status_code == 201, path


async def test_the_caller_s_accept_goes_with_a_download(through):
    answer = Answer(200, b"x", {"content-type": "application/octet-stream"})
    _, asked = await through(answer, "GET", "/v1/files/file-1/content", headers={"accept": "application/binary"})
    assert asked.headers["accept"] == "application/binary"


async def test_a_limit_of_nothing_is_the_provider_s_to_judge(through):
    for kind in ("files", "batches"):
        _, asked = await through(Answer(200, json.dumps(LIST).encode(), HEADERS), "GET", f"/v1/{kind}?limit=0")
        assert (asked.path, asked.query["limit"]) == (f"/{kind}", "0")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0"}, 0.0),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
    ],
    ids=str,
)
def test_no_milliseconds_do_not_hide_seconds(headers, seconds):
    assert retry_after_seconds(headers) == seconds
    assert RateLimitError("slow", status_code=429, headers=headers).retry_after == seconds
