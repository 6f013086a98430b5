"""A key's entries in the ledger are bounded: names of answers, and creates, refused ones too."""

from tests.cases import case

from batchmeter.access import Access

from .conftest import CHAT

LARGE = {"metadata": {"a": "x" * 65_536}}


async def test_a_long_idempotency_key_is_refused(caller, lines):
    ada, root = await caller(owner="ada"), await caller(admin=True)
    for number, path in enumerate(("/v1/batches", "/v1/files"), 1):
        with case(path):
            file = await ada.upload(lines(1))
            asked = {"json": {"input_file_id": file.id, "endpoint": CHAT}}
            if path.endswith("files"):
                asked = {"data": {"purpose": "batch"}, "files": {"file": ("in.jsonl", lines(2))}}
            for length, status in ((256, 400), (255, 200)):
                headers = {"authorization": f"Bearer {ada.secret}", "idempotency-key": f"{number}".ljust(length, "k")}
                answer = await ada.http.post(path, headers=headers, **asked)
                assert answer.status_code == status, answer.text
            kept = [file async for file in root.files.list()], [batch async for batch in root.batches.list()]
            assert sum(map(len, kept)) == 2 * number, "what was refused made nothing"


async def test_a_plain_key_s_large_create_is_refused_before_it_is_kept(vendor):
    ada = await vendor.tenant(owner="ada")
    body = {"input_file_id": "file-1", "endpoint": CHAT, **LARGE}
    answer = await ada.http.post("/v1/batches", json=body, headers={"authorization": f"Bearer {ada.secret}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert (vendor.sent, (await Access(vendor.client.ledger).stats())["open_intents"]) == ([], 0)


async def test_a_raw_key_s_large_create_goes_on(vendor):
    ada = await vendor.tenant(allow_raw=True)
    body = {"input_file_id": "file-1", "endpoint": CHAT, "rows": ["x" * 65_536]}
    answer = await ada.http.post("/v1/batches", json=body, headers={"authorization": f"Bearer {ada.secret}"})
    assert answer.status_code == 200
