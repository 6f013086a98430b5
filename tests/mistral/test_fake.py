"""Mistral's own SDK accepts every answer of the test server, and sees what our provider made there."""

import pytest

from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, upload_of

from .site import KEY

_sdk = pytest.importorskip("mistralai.client", reason="mistralai is not installed: it is in the group `test`")
Mistral, File = _sdk.Mistral, _sdk.models.File
PLAIN = CallOptions()
CHAT = "/v1/chat/completions"


async def test_the_sdk_runs_a_job_of_its_own(mistral):
    async with Mistral(api_key=KEY, server_url=mistral.url.removesuffix("/v1")) as sdk:
        line = b'{"custom_id": "0", "body": {"messages": [{"role": "user", "content": "hi"}]}}\n'
        file = await sdk.files.upload_async(file=File(file_name="in.jsonl", content=line), purpose="batch")
        job = await sdk.batch.jobs.create_async(
            input_files=[file.id], endpoint=CHAT, model="mistral-small-latest", metadata={"team": "search"}
        )
        while (job := await sdk.batch.jobs.get_async(job_id=job.id)).status not in ("SUCCESS", "FAILED"):
            pass
        assert (job.status, job.succeeded_requests) == ("SUCCESS", 1)
        assert (await sdk.files.retrieve_async(file_id=file.id)).num_lines == 1
        listed = await sdk.batch.jobs.list_async(metadata={"team": "search"})
        assert [one.id for one in listed.data] == [job.id]
        assert (await sdk.files.delete_async(file_id=file.id)).deleted


async def test_the_sdk_sees_what_our_provider_made(mistral, account):
    file = await account.create_file(upload_of(lines_of(2, "mistral-small-latest", CHAT)), PLAIN)
    batch = await account.create_batch(BatchRequest(file.id, CHAT, "2d", metadata={"team": "search"}), PLAIN)
    async with Mistral(api_key=KEY, server_url=mistral.url.removesuffix("/v1")) as sdk:
        job = await sdk.batch.jobs.get_async(job_id=batch.id)
        assert (job.metadata, job.input_files, job.endpoint) == ({"team": "search"}, [file.id], CHAT)
        assert (await sdk.files.retrieve_async(file_id=file.id)).filename == "input~chat-completions.jsonl"
        assert (await sdk.batch.jobs.cancel_async(job_id=batch.id)).status == "CANCELLATION_REQUESTED"
    assert (await account.retrieve_batch(batch.id, PLAIN)).status == "cancelling"
    assert (await account.retrieve_batch(batch.id, PLAIN)).status == "cancelled"


async def test_our_provider_sees_what_the_sdk_made(mistral, account):
    """A file without our mark comes back as it lies there, and an inline job has its answers."""
    line = b'{"custom_id":"0","body":{"messages":[{"role":"user","content":"hi"}]}}\n'
    async with Mistral(api_key=KEY, server_url=mistral.url.removesuffix("/v1")) as sdk:
        file = await sdk.files.upload_async(file=File(file_name="in.jsonl", content=line), purpose="batch")
        job = await sdk.batch.jobs.create_async(
            requests=[{"custom_id": "a", "body": {"messages": []}}], endpoint=CHAT, model="mistral-small-latest"
        )
    async with account.file_content(file.id, PLAIN) as content:
        assert b"".join([chunk async for chunk in content.chunks]) == line
    while not (batch := await account.retrieve_batch(job.id, PLAIN)).ended:
        pass
    (output,) = await account.outputs(batch)
    async with output.open() as content:
        (row,) = b"".join([chunk async for chunk in content.chunks]).splitlines()
    assert b'"custom_id": "a"' in row
