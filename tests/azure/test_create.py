"""Around a create: files that are not ready, queues that are full, expiries Azure refuses."""

import json

import pytest

from batchmeter import errors
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, upload_of
from batchmeter_azure import queue_full

PLAIN = CallOptions()


async def uploaded(provider):
    return await provider.create_file(upload_of(lines_of(2, "batch4o")), PLAIN)


def creates(azure):
    return [request for request in azure.received if (request.method, request.path[-8:]) == ("POST", "/batches")]


async def test_a_pending_file_is_waited_for(azure, account, naps):
    azure.pending = 4
    provider = account()
    file = await uploaded(provider)
    batch = await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("validating", None, None)
    assert naps == [1.0, 2.0, 4.0, 8.0]
    assert len(creates(azure)) == 1


async def test_the_wait_is_bounded(azure, account, naps):
    azure.pending = 1000
    provider = account(file_wait=100)
    file = await uploaded(provider)
    with pytest.raises(errors.ProviderError, match=r"still pending after 100 s, so no batch was created"):
        await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert sum(naps) == 100 == provider.create_wait
    assert creates(azure) == []


@pytest.mark.parametrize("status", ["error", "deleted"])
async def test_a_file_that_was_refused_is_not_submitted(status, azure, account):
    azure.file_end = status
    provider = account()
    file = await uploaded(provider)
    with pytest.raises(errors.UsageError, match=f"its status is {status}; upload it again"):
        await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert creates(azure) == []


async def test_a_file_that_is_not_there(account):
    with pytest.raises(errors.NotFoundError):
        await account().create_batch(BatchRequest("file-gone", "/chat/completions"), PLAIN)


async def test_a_lost_look_at_the_file_leaves_no_doubt_about_the_batch(account, unused_tcp_port):
    provider = account(endpoint=f"http://127.0.0.1:{unused_tcp_port}", max_retries=0)
    with pytest.raises(errors.APIConnectionError, match="no batch was created") as caught:
        await provider.create_batch(BatchRequest("file-1", "/chat/completions"), PLAIN)
    assert caught.value.never_sent


async def test_a_full_queue_is_raised_at_once_by_default(azure, account, naps):
    azure.full = azure.pending = 1
    provider = account()
    file = await uploaded(provider)
    with pytest.raises(errors.BadRequestError, match="Enqueued token limit") as caught:
        await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert queue_full(caught.value)
    assert len(creates(azure)) == 1


async def test_one_create_is_one_try(azure, account, naps):
    """Trying again is submit's business, which has an intent for each try."""
    azure.full, azure.pending = 1, 0
    provider = account(retry_queue_full=3600)
    file = await uploaded(provider)
    with pytest.raises(errors.BadRequestError, match="Enqueued token limit") as caught:
        await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert naps == []
    pauses = [provider.queue_pause(caught.value, attempt) for attempt in (0, 1, 2, 5, 5000)]
    assert pauses == [15.0, 30.0, 60.0, 300.0, 300.0]


async def test_another_refusal_is_not_tried_again(azure, account, naps):
    provider = account(retry_queue_full=3600)
    with pytest.raises(errors.UsageError, match="needs output_folder"):
        await provider.create_batch(BatchRequest("https://acct.blob.core.windows.net/in/a.jsonl", "/x"), PLAIN)
    azure.version = "2030-01-01"
    with pytest.raises(errors.NotFoundError):
        await account(api_version="2024-10-21").create_batch(BatchRequest(None, "/x"), PLAIN)
    assert naps == []


async def test_a_queue_that_fails_the_batch_is_recognised(azure, account):
    azure.fails, azure.pending = "token_limit_exceeded", 0
    provider = account()
    file = await uploaded(provider)
    batch = await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    assert not queue_full(batch)
    await provider.retrieve_batch(batch.id, PLAIN)
    batch = await provider.retrieve_batch(batch.id, PLAIN)
    assert batch.status == "failed"
    assert queue_full(batch)
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (10, 0, 0)
    assert await provider.outputs(batch) == []


@pytest.mark.parametrize("seconds", [259_200, 2_592_000, "259200"])
async def test_expiries_azure_takes(seconds, azure, account):
    expiry = {"anchor": "created_at", "seconds": seconds}
    azure.pending = 0
    provider = account()
    upload = upload_of(lines_of(1, "batch4o"))
    upload = type(upload)(upload.filename, upload.purpose, upload.open, upload.size, expires_after=expiry)
    file = await provider.create_file(upload, PLAIN)
    await provider.create_batch(BatchRequest(file.id, "/chat/completions", output_expires_after=expiry), PLAIN)
    assert json.loads(creates(azure)[0].body)["output_expires_after"] == expiry
    assert b'name="expires_after[seconds]"\r\n\r\n' + str(seconds).encode() in azure.received[0].body


@pytest.mark.parametrize("seconds", [3600, 259_199, 2_592_001, None, "soon"])
async def test_expiries_azure_refuses(seconds, azure, account):
    expiry = {"anchor": "created_at", "seconds": seconds}
    request = BatchRequest("file-1", "/chat/completions", output_expires_after=expiry)
    with pytest.raises(errors.UsageError, match=r"output_expires_after: Azure keeps files for 3 to 30 days"):
        await account().create_batch(request, PLAIN)
    assert azure.received == []


async def test_a_batch_over_its_24_hours_is_still_open(azure, account):
    provider = account()
    file = await uploaded(provider)
    batch = await provider.create_batch(BatchRequest(file.id, "/chat/completions"), PLAIN)
    azure.batches[batch.id]["shown"] |= {"status": "in_progress", "expires_at": 1}
    assert not (await provider.retrieve_batch(batch.id, PLAIN)).ended


async def test_a_delete_without_a_body(azure, account):
    azure.silent_deletes = True
    provider = account()
    file = await uploaded(provider)
    assert (await provider.delete_file(file.id, PLAIN)).deleted


async def test_filters_go_through(azure, account):
    query = {"$filter": "created_at gt 1 and status eq 'Completed'", "$orderby": "created_at asc"}
    await account().list_batches(after="batch_0", limit=7, options=CallOptions(extra_query=query))
    assert azure.received[0].query == {"after": "batch_0", "limit": "7", **query}


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (errors.BadRequestError("x", status_code=400, body={"error": {"code": "token_limit_exceeded"}}), True),
        (errors.BadRequestError("x", status_code=400, content=b"{... token_limit_exceeded ...}"), True),
        (errors.BadRequestError("x", status_code=400, body={"error": {"code": "invalidPayload"}}), False),
        (errors.NotFoundError("x", status_code=404, content=b"token_limit_exceeded"), False),
        (Batch(id="b", status="failed"), False),
    ],
)
def test_what_a_full_queue_looks_like(error, full):
    assert queue_full(error) is full
