"""The fake kept honest: Google's own client drives it, and finds what our provider made there."""

import asyncio

import pytest
from tests.later import Later

from batchmeter.providers import BatchRequest, CallOptions

google_genai, credentials = Later("google.genai"), Later("google.oauth2.credentials")

OPTIONS = CallOptions()


@pytest.fixture
def genai(vertex):
    client = google_genai.Client(
        vertexai=True,
        project="proj",
        location="us-central1",
        credentials=credentials.Credentials(token="test-token"),
        http_options={"base_url": vertex.base},
    )
    yield client
    client.close()


async def test_the_official_client_speaks_with_the_fake(genai, vertex):
    row = b'{"request":{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}}\n'
    vertex.bucket.put("in.jsonl", row)

    def drive():
        bucket = vertex.bucket.name
        job = genai.batches.create(
            model="gemini-2.5-flash", src=f"gs://{bucket}/in.jsonl", config={"dest": f"gs://{bucket}/out"}
        )
        assert job.state.name == "JOB_STATE_PENDING"
        vertex.advance(120)
        job = genai.batches.get(name=job.name)
        assert job.state.name == "JOB_STATE_SUCCEEDED"
        assert job.completion_stats.successful_count == 1
        assert [listed.name for listed in genai.batches.list(config={"page_size": 1})] == [job.name]
        return job

    job = await asyncio.to_thread(drive)
    assert vertex.bucket.names("out/prediction-model-")
    await asyncio.to_thread(lambda: genai.batches.delete(name=job.name))
    assert vertex.jobs == {}


async def test_it_sees_our_jobs_and_we_see_its(genai, provider, upload, vertex, chat):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    ours = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions", metadata={"run": "7"}), OPTIONS)
    seen = await asyncio.to_thread(lambda: genai.batches.get(name=ours.id))
    assert seen.model == "publishers/google/models/gemini-2.5-flash"
    assert seen.src.gcs_uri[0].endswith("/in.jsonl")
    assert seen.dest.format == "jsonl"

    uri = f"gs://{vertex.bucket.name}/out"
    theirs = await asyncio.to_thread(
        lambda: genai.batches.create(model="gemini-2.5-flash", src=seen.src.gcs_uri[0], config={"dest": uri})
    )
    adopted = await provider.retrieve_batch(theirs.name, OPTIONS)
    assert (adopted.model, adopted.endpoint) == ("gemini-2.5-flash", "/v1/chat/completions")
    assert adopted.input_file_id == file.id
    assert adopted.id == theirs.name.rsplit("/", 1)[-1]


async def test_cancel(genai, provider, upload, vertex, chat):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    batch = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions"), OPTIONS)
    await asyncio.to_thread(lambda: genai.batches.cancel(name=batch.id))
    assert (await provider.retrieve_batch(batch.id, OPTIONS)).status == "cancelling"
