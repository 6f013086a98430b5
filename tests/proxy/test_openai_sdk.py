"""The official SDK with nothing changed but its base_url."""

CHAT = "/v1/chat/completions"


async def test_a_batch_from_upload_to_output(sdk, clock, recorder, client, lines):
    file = await sdk.files.create(file=("in.jsonl", lines(3)), purpose="batch")
    assert (file.object, file.purpose, file.filename, file.bytes) == ("file", "batch", "in.jsonl", len(lines(3)))
    batch = await sdk.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"run": "7"}
    )
    assert (batch.status, batch.metadata) == ("validating", {"run": "7"})
    clock.advance(2000)
    done = await sdk.batches.retrieve(batch.id)
    print(done)
