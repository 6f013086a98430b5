"""Without keys the proxy answers its own machine only: not what a reverse proxy on it hands on."""

import pytest
from tests.cases import case

HEADERS = [
    {"forwarded": "for=203.0.113.7"},
    {"x-forwarded-for": "203.0.113.7"},
    {"x-forwarded-proto": "https"},
    {"x-forwarded-host": "example.com"},
    {"X-Real-IP": "203.0.113.7"},
]


async def test_a_forwarded_request_without_keys_is_refused(http):
    for headers in HEADERS:
        with case(headers):
            answer = await http.get("/v1/files", headers={"authorization": "Bearer any", **headers})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forwarded_without_keys")
            assert "batchmeter keys create" in answer.json()["error"]["message"]
            assert (await http.get("/health/liveliness", headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", HEADERS[:1], ids=["forwarded"])
async def test_a_forwarded_request_with_a_key_is_answered(caller, headers):
    ada = await caller(owner="ada")
    assert (await ada.get("/v1/files", **headers)).status_code == 200
