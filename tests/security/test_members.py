"""A plain key sends its provider nothing that the proxy does not know: it would be used with the account's rights."""

import pytest
from tests.cases import case
from tests.proxy.conftest import refused

from batchmeter_proxy.keyring import KeyLimits

from .conftest import CHAT

BLOB = "https://stranger.blob.core.windows.net/c/in.jsonl"
MEMBERS = [
    {"input_blob": BLOB},
    {"output_folder": {"url": "https://stranger.blob.core.windows.net/c"}},
    {"inputConfig": {"gcsSource": {"uris": ["gs://theirs/rows.jsonl"]}}},
    {"outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://stranger/"}}},
    {"serviceAccount": "root@project.iam.gserviceaccount.com"},
    {"priority": None},
]
RESOURCES = ["projects/p/locations/l/models/7", "gs://bucket/model", "arn:aws:bedrock:eu:1:model/x", "/etc", "a/../b"]


def create(tenant, **more):
    return tenant.batches.create(input_file_id="file-1", endpoint=CHAT, completion_window="24h", extra_body=more)


async def test_a_plain_key_s_unknown_member_is_refused(vendor):
    ada = await vendor.tenant(owner="ada")
    for member in MEMBERS:
        with case(member):
            assert await refused(create(ada, **member)) == (400, "unknown_parameter")
            assert vendor.sent == []


@pytest.mark.parametrize("rights", [{"admin": True}, {"allow_raw": True}], ids=str)
async def test_an_admin_s_and_a_raw_key_s_members_go_on(vendor, rights):
    ada = await vendor.tenant(**rights)
    await create(ada, input_blob=BLOB, model="projects/p/locations/l/models/7")
    assert vendor.sent[0]["input_blob"] == BLOB


@pytest.mark.parametrize("limits", [{"limits": KeyLimits(lines_per_day=5)}, {"models": ["gpt-4o"]}], ids=str)
async def test_a_raw_key_s_uncounted_input_is_refused(vendor, limits):
    """Lines and models of an input that a member names cannot be counted against the key's limits."""
    ada = await vendor.tenant(allow_raw=True, **limits)
    assert await refused(create(ada, input_blob=BLOB)) == (403, "input_file_not_checked")
    await create(ada)
    assert len(vendor.sent) == 1


async def test_a_member_that_the_settings_name_goes_on(vendor, monkeypatch):
    ada = await vendor.tenant(owner="ada")
    app = vendor.http._transport.app
    options = app.state.options.model_copy(update={"members": frozenset({"priority"})})
    monkeypatch.setattr(app.state, "options", options)
    await create(ada, priority=1)
    assert vendor.sent[0]["priority"] == 1


async def test_a_member_that_its_provider_declares_goes_on(vendor, monkeypatch):
    ada = await vendor.tenant(owner="ada")
    monkeypatch.setattr(vendor.client.accounts.get("openai"), "plain_members", frozenset({"priority"}), raising=False)
    await create(ada, priority=1)
    assert vendor.sent[0]["priority"] == 1


async def test_a_resource_in_place_of_a_model_is_refused(vendor):
    ada = await vendor.tenant(owner="ada")
    for model in RESOURCES:
        with case(model):
            assert await refused(create(ada, model=model)) == (403, "model_not_allowed")
            assert vendor.sent == []


async def test_a_resource_that_the_key_names_goes_on(vendor):
    ada = await vendor.tenant(owner="ada", models=RESOURCES[:1])
    await create(ada, model=RESOURCES[0])
    assert len(vendor.sent) == 1


async def test_an_endpoint_that_is_none_is_refused(vendor):
    ada = await vendor.tenant(owner="ada")
    for endpoint in ["https://stranger.example/v1", "/v1/../admin", "gs://b/o", "", "/v1/x?y=1"]:
        with case(endpoint):
            answer = await ada.http.post(
                "/v1/batches",
                json={"input_file_id": "file-1", "endpoint": endpoint},
                headers={"authorization": f"Bearer {ada.secret}"},
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "endpoint")
            assert vendor.sent == []


async def test_a_file_id_that_is_not_the_caller_s_is_refused(vendor):
    ada = await vendor.tenant(owner="ada")
    for file_id in ["gs://theirs/rows.jsonl", BLOB, "file-2", "projects/p/jobs/7"]:
        with case(file_id):
            body = {"input_file_id": file_id, "endpoint": CHAT}
            answer = await ada.http.post("/v1/batches", json=body, headers={"authorization": f"Bearer {ada.secret}"})
            assert answer.status_code == 404
            for path in ("/v1/files/{}", "/v1/files/{}/content", "/v1/batches/{}", "/v1/batches/{}/cost"):
                quoted = file_id.replace("/", "%2F").replace(":", "%3A")
                assert (await ada.get(path.format(quoted))).status_code == 404
            assert vendor.script.received == []


async def test_query_parameters_go_nowhere(vendor):
    ada = await vendor.tenant(owner="ada")
    body = {"input_file_id": "file-1", "endpoint": CHAT}
    path = "/v1/batches?api-version=1&input_blob=x&key=y"
    await ada.http.post(path, json=body, headers={"authorization": f"Bearer {ada.secret}"})
    assert [one.target for one in vendor.script.received] == ["/batches"]


async def test_a_plain_key_s_unknown_form_field_is_refused(caller, lines):
    ada, root = await caller(owner="ada"), await caller(admin=True)
    for size in [1, 9000]:
        for late in [False, True]:
            with case(size, late):
                strange, file = ("bucket", (None, "gs://stranger")), ("file", ("in.jsonl", lines(size)))
                parts = [("purpose", (None, "batch")), *([file, strange] if late else [strange, file])]
                answer = await ada.http.post(
                    "/v1/files", files=parts, headers={"authorization": f"Bearer {ada.secret}"}
                )
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")
                assert [one.id async for one in root.files.list()] == []


async def test_a_line_s_resource_in_place_of_a_model_is_refused(caller, lines):
    ada = await caller(owner="ada")
    assert await refused(ada.upload(lines(1, model=RESOURCES[0]))) == (403, "model_not_allowed")


async def test_a_field_that_is_given_twice_is_refused(caller, lines):
    """A provider might read the other one."""
    ada = await caller(owner="ada")
    parts = [("purpose", (None, "user_data")), ("purpose", (None, "batch")), ("file", ("in.jsonl", lines(1)))]
    answer = await ada.http.post("/v1/files", files=parts, headers={"authorization": f"Bearer {ada.secret}"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "purpose")
