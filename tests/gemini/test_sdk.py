"""Google's own SDK as the client of the fake: it keeps the fake honest, and sees what our provider has made."""

import json

import pytest
from tests.later import Later

from batchmeter.providers import BatchRequest, CallOptions

from .fake import KEY

genai, errors, types = Later("google.genai"), Later("google.genai.errors"), Later("google.genai.types")

OPTIONS = CallOptions()
ROW = {"request": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}}


@pytest.fixture(params=[None, "v1beta"])
def sdk(vendor, request):
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=vendor.base, api_version=request.param))
    yield client
    client.close()


def test_the_fake_is_one_for_the_official_client(sdk, vendor, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"key": f"r-{n}", **ROW}) + "\n" for n in range(3)))
    file = sdk.files.upload(file=path, config={"display_name": "rows", "mime_type": "jsonl"})
    assert (file.state, file.size_bytes) == (types.FileState.ACTIVE, path.stat().st_size)
    batch = sdk.batches.create(model="gemini-2.5-flash", src=file.name, config={"display_name": "d"})
    while not (batch := sdk.batches.get(name=batch.name)).done:
        assert batch.state in (types.JobState.JOB_STATE_PENDING, types.JobState.JOB_STATE_RUNNING)
    assert batch.state == types.JobState.JOB_STATE_SUCCEEDED
    rows = [json.loads(line) for line in sdk.files.download(file=batch.dest.file_name).splitlines()]
    assert [row["key"] for row in rows] == ["r-0", "r-1", "r-2"]
    others = [sdk.batches.create(model="gemini-2.5-flash", src=file.name).name for _ in range(3)]
    assert [one.name for one in sdk.batches.list(config={"page_size": 2})] == [*others[::-1], batch.name]
    sdk.batches.cancel(name=others[0])
    assert sdk.batches.get(name=others[0]).state == types.JobState.JOB_STATE_CANCELLED
    sdk.batches.delete(name=batch.name)
    with pytest.raises(errors.ClientError, match="404"):
        sdk.batches.get(name=batch.name)
    sdk.files.delete(name=file.name)
    with pytest.raises(errors.ClientError, match="403"):
        sdk.batches.create(model="gemini-2.5-flash", src=file.name)


async def test_batches_of_our_provider_are_read_by_the_sdk(sdk, provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a"), chat("b", "FAIL")]), OPTIONS)
    made = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions", metadata={"team": "x"}), OPTIONS)
    vendor.finish(f"batches/{made.id}", "SUCCEEDED")
    batch = sdk.batches.get(name=f"batches/{made.id}")
    assert batch.display_name == '{"team":"x"}'
    rows = {row["key"]: row for row in map(json.loads, sdk.files.download(file=batch.dest.file_name).splitlines())}
    assert types.GenerateContentResponse.model_validate(rows["a"]["response"]).text == "écho 🎈 hi"
    assert rows["b"]["error"]["code"] == 3


async def test_batches_of_the_sdk_are_read_by_our_provider(sdk, provider, vendor):
    """Made inline, with chat and with embeddings."""
    inline = [types.InlinedRequest(contents="hi", metadata={"key": f"r-{n}"}) for n in range(2)]
    chat = sdk.batches.create(model="gemini-2.5-flash", src=inline)
    source = {"inlined_requests": {"contents": ["one", "four"]}}
    with pytest.warns(Warning, match="experimental"):
        embeds = sdk.batches.create_embeddings(model="gemini-embedding-001", src=source)
    for one, endpoint in ((chat, "/v1/chat/completions"), (embeds, "/v1/embeddings")):
        vendor.finish(one.name, "SUCCEEDED")
        batch = await provider.retrieve_batch(one.name.removeprefix("batches/"), OPTIONS)
        assert (batch.status, batch.endpoint, batch.input_file_id) == ("completed", endpoint, None)
        async with provider.file_content(batch.output_file_id, OPTIONS) as content:
            lines = b"".join([chunk async for chunk in content.chunks]).splitlines()
        assert len(lines) == 2


def test_our_rows_are_what_the_sdk_sends(chat):
    """The translation, read by the SDK's own types: nothing in it is unknown to them."""
    from batchmeter_translate.gemini_request import gemini_request
    from batchmeter_translate.untranslatable import Notes

    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body = chat("a", tools=[tool], tool_choice="auto", response_format=form, reasoning_effort="low", temperature=1)
    made = gemini_request(body["body"], "gemini-2.5-flash", Notes(), [])
    for content in made["contents"]:
        types.Content.model_validate(content)
    types.GenerationConfig.model_validate(made["generationConfig"])
    for given in made["tools"]:
        types.Tool.model_validate(given)
    types.ToolConfig.model_validate(made["toolConfig"])
