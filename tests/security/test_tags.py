"""Tags are bounded in number and length: whoever may submit cannot make reports heavy."""

import pytest
from tests.cases import case

from batchmeter.errors import UsageError
from batchmeter_proxy.keyring import keyring_of
from batchmeter_proxy.keys import create_key

from .conftest import CHAT

BODY = {"input_file_id": "file-1", "endpoint": CHAT}


async def test_too_many_or_too_long_tags_are_refused(vendor):
    ada = await vendor.tenant(owner="ada")
    for tags in [",".join(f"t{n}" for n in range(33)), "x" * 129]:
        for header in ["x-batchmeter-tags", "x-litellm-tags"]:
            with case(tags, header):
                headers = {"authorization": f"Bearer {ada.secret}", header: tags}
                answer = await ada.http.post("/v1/batches", json=BODY, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
                assert vendor.sent == []


async def test_both_headers_tags_are_added_once_each(vendor):
    ada = await vendor.tenant(owner="ada", tags=["team"])
    headers = {"authorization": f"Bearer {ada.secret}", "x-litellm-tags": "a, b", "x-batchmeter-tags": "b,c"}
    assert (await ada.http.post("/v1/batches", json=BODY, headers=headers)).status_code == 200
    tracked = await vendor.client.ledger.get_batch("batch_1", "openai")
    assert tracked.submission.attribution.tags == ("team", "b", "c", "a")


async def test_a_key_s_own_tags_are_bounded(vendor):
    for tags in [[f"t{n}" for n in range(33)], ["x" * 129]]:
        with case(tags), pytest.raises(UsageError, match="32 tags of at most 128 characters"):
            await create_key(await keyring_of(vendor.client), tags=tags)


async def test_a_traceparent_that_is_none_is_ignored(vendor):
    ada = await vendor.tenant(owner="ada")
    headers = {"authorization": f"Bearer {ada.secret}", "traceparent": "5"}
    assert (await ada.http.post("/v1/batches", json=BODY, headers=headers)).status_code == 200
    tracked = await vendor.client.ledger.get_batch("batch_1", "openai")
    assert tracked.submission.traceparent is None
