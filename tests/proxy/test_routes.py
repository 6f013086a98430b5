"""Paths, accounts, envelopes, the description of it all."""

import asyncio
import json
import re

import httpx2
from tests.cases import case

from batchmeter import AsyncClient
from batchmeter_proxy import Identity, Refusal, Route, create_app
from batchmeter_proxy.app import ROUTES

CHAT = "/v1/chat/completions"


async def upload(http, content: bytes, path: str = "/v1/files", headers=None, **fields) -> dict:
    form = {"purpose": "batch", **fields}
    answer = await http.post(path, data=form, files={"file": ("in.jsonl", content)}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def account_of(client, object_id: str) -> str | None:
    return await client.ledger.account_of(object_id)


async def test_everything_is_refused_in_openais_envelope(http):
    for method, path, status, code in [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/", 404, "unknown_url"),
        ("POST", "/nobody/v1/chat/completions", 404, "unknown_url"),
        ("PUT", "/v1/files", 405, "method_not_allowed"),
        ("DELETE", "/v1/batches/batch_1", 405, "method_not_allowed"),
        ("GET", "/webhooks/openai", 405, "method_not_allowed"),
        ("GET", "/nobody/v1/batches", 404, "unknown_account"),
        ("GET", "/v1/batches?limit=101", 400, "invalid_value"),
        ("GET", "/v1/files?limit=ten", 400, "invalid_value"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("POST", "/v1/files", 400, "invalid_content_type"),
        ("POST", "/v1/batches", 400, "missing_required_parameter"),
    ]:
        with case(method, path):
            answer = await http.request(method, path)
            assert answer.status_code == status
            error = answer.json()["error"]
            assert set(error) >= {"message", "type", "param", "code"}
            assert error["code"] == code
            assert re.fullmatch(r"req_\w{32}", answer.headers["x-request-id"])
            assert ("allow" in answer.headers) is (status == 405)


async def test_wrong_bodies_are_refused(http):
    for body, param in [
        (b"[1]", None),
        (b"{", None),
        (b'{"input_file_id": "file-1"}', "endpoint"),
        (b'{"input_file_id": 7, "endpoint": "/v1/responses"}', "input_file_id"),
        (b'{"input_file_id": "f", "endpoint": "/v1/responses", "metadata": "m"}', "metadata"),
        (b'{"input_file_id": "f", "endpoint": "/v1/responses", "metadata": {"a": 1}}', None),
    ]:
        with case(body):
            answer = await http.post("/v1/batches", content=body, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_deep_json_body_is_refused(http, client, lines):
    file = await upload(http, lines(1))
    for depth in [70, 900, 990, 100_000]:
        with case(depth):
            head = b'{"input_file_id": "%s", "endpoint": "%s", "x": ' % (file["id"].encode(), CHAT.encode())
            answer = await http.post("/v1/batches", content=head + b"[" * depth + b"]" * depth + b"}")
            assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
            assert await client.ledger.open_intents(created_before=2**62) == []


async def test_a_number_of_five_thousand_digits_is_refused(http):
    for path in ["/v1/batches?limit=", "/v1/files?limit=", "/v1/events?limit=", "/v1/events?after="]:
        with case(path):
            answer = await http.get(path + "9" * 5000)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


async def test_what_needs_no_key_answers_head_without_a_body(http):
    """As load balancers look."""
    for path in ["/health/liveliness", "/health/readiness", "/docs", "/openapi.json"]:
        with case(path):
            head, whole = await http.head(path), await http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            for name in ("content-length", "content-type"):
                assert head.headers[name] == whole.headers[name]
            assert (await http.put(path)).headers["allow"] == "GET, HEAD"


async def test_a_large_json_body_is_refused(http):
    answer = await http.post("/v1/batches", content=b" " * 2_000_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_half_a_character_in_metadata_reaches_the_provider(http, client, lines):
    """As JavaScript's slice(0, 512) cuts emojis."""
    file = await upload(http, lines(1))
    body = b'{"input_file_id": "%s", "endpoint": "%s", "metadata": {"note": "cut \\ud83d"}}'
    answer = await http.post(
        "/v1/batches", content=body % (file["id"].encode(), CHAT.encode()), headers={"idempotency-key": "once"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"]["note"].startswith("cut ")
    assert await client.ledger.open_intents(created_before=2**62) == []


async def test_what_can_be_no_id_is_refused(http):
    for odd in [b"\\ud83d", b"\\u0000"]:
        with case(odd):
            body = b'{"input_file_id": "file-%s", "endpoint": "/v1/responses"}' % odd
            answer = await http.post("/v1/batches", content=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input_file_id")
            assert (await http.get("/v1/batches/batch_%00")).status_code == 400
            assert (await http.get("/v1/events?batch_id=%00")).status_code == 400


async def test_a_body_that_does_not_end_is_not_waited_for(client):
    async def dribble():
        yield b'{"input_file_id": '
        await asyncio.Event().wait()

    for option in ("body_seconds", "upload_idle_seconds"):
        client.settings = client.settings.model_copy(update={"proxy": {option: 0.05}})
        async with httpx_over(create_app(client)) as http:
            answer = await http.post("/v1/batches", content=dribble())
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "request_timeout"), option
        assert answer.headers["connection"] == "close", option


async def test_with_and_without_version_and_account(http, client, lines):
    for prefix in ["/v1", "", "/openai/v1", "/other/v1"]:
        with case(prefix):
            file = await upload(http, lines(1), f"{prefix}/files")
            assert await account_of(client, file["id"]) == ("other" if "other" in prefix else "openai")
            for path in ("files", "batches", f"files/{file['id']}", f"files/{file['id']}/content", "models"):
                assert (await http.get(f"{prefix}/{path}")).status_code == 200
            assert (await http.get(f"{prefix}/files/{file['id']}/")).json()["id"] == file["id"]


async def test_where_the_account_comes_from(http, client, lines):
    """Path, header, query or form; then what the ledger knows; then the default."""
    by_header = await upload(http, lines(1), headers={"custom-llm-provider": "other"})
    by_query = await upload(http, lines(1), "/v1/files?provider=other")
    by_form = await upload(http, lines(1), custom_llm_provider="other")
    by_path = await upload(http, lines(1), "/openai/v1/files", headers={"custom-llm-provider": "other"})
    default = await upload(http, lines(1))
    found = [await account_of(client, file["id"]) for file in (by_header, by_query, by_form, by_path, default)]
    assert found == ["other", "other", "other", "openai", "openai"]
    for named in ({}, {"custom_llm_provider": "other"}):
        body = {"input_file_id": by_header["id"], "endpoint": CHAT, "completion_window": "24h", **named}
        batch = (await http.post("/v1/batches", json=body)).json()
        assert await account_of(client, batch["id"]) == "other"
        assert (await http.get(f"/v1/batches/{batch['id']}")).json()["id"] == batch["id"]
    unknown = await http.post("/v1/files", data={"purpose": "batch", "provider": "nobody"}, files={"file": b"x"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_account")


async def test_models_lead_to_accounts(client, lines, tmp_path):
    settings = client.settings.model_copy(update={"models": {"gpt-4o-mini": "other", "o3": "openai"}, "track": False})
    async with (
        AsyncClient(settings=settings, ledger=tmp_path / "models.db") as routed,
        httpx_over(create_app(routed)) as http,
    ):
        listed = (await http.get("/v1/models")).json()
        assert [(model["id"], model["owned_by"]) for model in listed["data"]] == [
            ("gpt-4o-mini", "other"),
            ("o3", "openai"),
        ]
        assert (await http.get("/v1/models/o3")).json()["owned_by"] == "openai"
        assert await account_of(routed, (await upload(http, lines(2)))["id"]) == "other"
        assert await account_of(routed, (await upload(http, lines(2, model="gpt-5")))["id"]) == "openai"
        assert await account_of(routed, (await upload(http, lines(1), "/openai/v1/files"))["id"]) == "openai"


def httpx_over(app):

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://proxy")


async def test_an_id_may_hold_anything_once_it_is_escaped(http):
    """Gateways' ids are base64; `%2F` is no slash of the path."""
    answer = await http.get("/v1/batches/a%2Fb%3D%3D")
    assert answer.status_code == 404
    assert "a/b==" in answer.json()["error"]["message"]


async def test_health(http, client):
    assert (await http.get("/health/liveliness")).json() == {"status": "alive"}
    assert (await http.get("/health/readiness")).json() == {"status": "ready"}


async def test_not_ready_without_its_ledger(http, client):
    await client.ledger.aclose()
    answer = await http.get("/health/readiness")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_unavailable")


async def test_the_description_names_every_route(http):
    described = (await http.get("/openapi.json")).json()
    found = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
    own = {(route.method, f"/v1{route.path}" if route.versioned else route.path) for route in ROUTES if route.described}
    assert found == own | {("GET", "/v1/export/costs"), ("GET", "/v1/export/focus")}, "the proxy's and its plugins'"
    references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert references <= set(described["components"]["schemas"])
    names = [operation["operationId"] for item in described["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)
    page = await http.get("/docs")
    assert "/v1/batches/{batch_id}/cancel" in page.text
    assert "://" not in page.text
    parts = re.findall(r'"(docs/[^"]+)"', page.text)
    assert len(parts) == 3
    for part in parts:
        answer = await http.get(f"/{part}", headers={"accept-encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        for policy in (page.headers["content-security-policy"], answer.headers["content-security-policy"]):
            assert "script-src 'self'; style-src 'self';" in policy
            assert "unsafe" not in policy
    assert (await http.get("/docs/other.js")).status_code == 404


async def test_who_asks_and_what_is_allowed_plug_in(client):
    """The seam for keys: an identity per request, limits, routes of one's own."""
    asked = []

    async def authenticate(request):
        if request.headers.get("authorization") != "Bearer right":
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
        return Identity(accounts=frozenset({"openai"}))

    async def admit(identity, action):
        asked.append(action.kind)
        if len(asked) > 3:
            raise Refusal(429, "Slow down.", code="rate_limit_exceeded", headers={"retry-after": "3"})

    async def mine(call):
        raise Refusal(418, f"{call.ids['tea']} for {sorted(call.identity.accounts)}")

    routes = (*ROUTES, Route("GET", "/teas/{tea}", mine, "Tea"))
    async with httpx_over(create_app(client, authenticate=authenticate, admit=admit, routes=routes)) as http:
        assert (await http.get("/v1/batches")).json()["error"]["type"] == "authentication_error"
        assert (await http.get("/health/liveliness")).status_code == 200
        http.headers["authorization"] = "Bearer right"
        assert (await http.get("/other/v1/batches")).json()["error"]["code"] == "account_not_allowed"
        assert "green for ['openai']" in (await http.get("/v1/teas/green")).text
        assert (await http.get("/v1/batches")).json()["data"] == []
        limited = await http.get("/v1/batches")
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")


async def test_everybody_sees_their_own(client, lines):
    async def authenticate(request):
        from batchmeter.models import Attribution

        key = request.headers["authorization"].removeprefix("Bearer ")
        return Identity(Attribution(key=key), admin=key == "boss")

    async with httpx_over(create_app(client, authenticate=authenticate)) as http:
        ids = {}
        for key in ("ann", "bob", "ann", "bob", "ann"):
            headers = {"authorization": f"Bearer {key}"}
            file = await upload(http, lines(1), headers=headers)
            body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
            batch = (await http.post("/v1/batches", json=body, headers=headers)).json()
            ids.setdefault(key, []).append((file["id"], batch["id"]))
        ann = {"authorization": "Bearer ann"}
        file_id, batch_id = ids["bob"][0]
        tried = [("GET", f"/v1/files/{file_id}"), ("DELETE", f"/v1/files/{file_id}")]
        tried += [("GET", f"/v1/files/{file_id}/content"), ("GET", f"/v1/batches/{batch_id}")]
        tried += [("POST", f"/v1/batches/{batch_id}/cancel"), ("GET", f"/other/v1/batches/{batch_id}")]
        for method, path in tried:
            assert (await http.request(method, path, headers=ann)).status_code == 404
        stolen = await http.post("/v1/batches", json={"input_file_id": file_id, "endpoint": CHAT}, headers=ann)
        assert stolen.status_code == 404
        seen, after = [], ""
        while True:
            page = (await http.get(f"/v1/batches?limit=2{after}", headers=ann)).json()
            seen += [batch["id"] for batch in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert seen == [batch_id for _, batch_id in ids["ann"]][::-1]
        files = (await http.get("/v1/files", headers=ann)).json()["data"]
        assert {file["id"] for file in files} == {file_id for file_id, _ in ids["ann"]}
        everything = (await http.get("/v1/batches", headers={"authorization": "Bearer boss"})).json()
        assert len(everything["data"]) == 5
