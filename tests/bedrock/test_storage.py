"""Objects in S3 as they really behave: parts, answers that are lost, errors after 200, slow-downs, keys of any character."""

import itertools
import json

import pytest

from batchmeter import errors
from batchmeter.providers import BatchRequest, CallOptions, FileUpload
from batchmeter.testing.providers import read_file, upload_of
from batchmeter_bedrock import upload as parts
from batchmeter_bedrock.names import Blob, parse_file_id

from .test_flow import CHAT, CLAUDE, lines

PLAIN = CallOptions()


def large(size):
    """OpenAI lines of about `size` bytes, each with 64 KB of text."""
    line = json.loads(lines("x" * 65_000))

    async def chunks():
        for number in range(size // 65_000 + 1):
            yield json.dumps({**line, "custom_id": f"r{number}"}).encode() + b"\n"

    return FileUpload("in.jsonl", "batch", chunks, replayable=False)


def operations(storage):
    """Method and the query's names, in order."""
    return [(one.method, *sorted(one.query)) for one in storage.received if one.method in ("PUT", "POST", "DELETE")]


async def test_large_files_go_in_parts(bedrock, make):
    bedrock.storage.lose_complete = True
    file = await make(max_retries=2).create_file(large(9 << 20), PLAIN)  # S3 refuses parts of less than 5 MiB
    asked = operations(bedrock.storage)
    assert asked.count(("PUT", "partNumber", "uploadId")) == 4  # two of the file, two of its rows
    assert bedrock.storage.uploads == {}
    assert len(bedrock.storage.objects) == 2
    assert file.bytes > 9 << 20


@pytest.mark.parametrize("fault", ["late", "refused", "broken"])
async def test_a_failed_upload_leaves_nothing(fault, bedrock, make, monkeypatch):
    monkeypatch.setattr(parts, "PART", 256 << 10)
    upload = large(300 << 10)
    if fault == "broken":
        first = json.loads(lines("x"))
        bad = json.dumps({**first, "custom_id": "bad", "body": {**first["body"], "n": 2}}).encode()
        inner = upload.open

        async def chunks():
            async for chunk in inner():
                yield chunk
            yield bad

        upload = FileUpload("in.jsonl", "batch", chunks, replayable=False)
    bedrock.storage.late_error = fault == "late"
    bedrock.storage.refuse = [("PUT", 403, "AccessDenied")] if fault == "refused" else []
    expected = {"late": errors.InternalServerError, "refused": errors.PermissionDeniedError}
    with pytest.raises(expected.get(fault, errors.InvalidInputError)) as caught:
        await make().create_file(upload, PLAIN)
    assert (bedrock.storage.objects, bedrock.storage.uploads) == ({}, {})
    assert "XAmz" not in str(caught.value)


async def test_a_slow_down_is_tried_again_and_signed_again(bedrock, make):
    naps = []

    async def nap(seconds):
        naps.append(seconds)

    from batchmeter_bedrock.provider import BedrockProvider

    settings = make(max_retries=2).settings
    provider = BedrockProvider("bedrock", settings, http={"sleep": nap})
    bedrock.storage.refuse = [("PUT", 503, "SlowDown"), ("HEAD", 500, "InternalError")]
    file = await provider.create_file(upload_of(lines("a")), PLAIN)
    assert (await read_file(provider, file.id), len(naps)) == (lines("a"), 2)
    await provider.aclose()


@pytest.mark.parametrize("name", ["in.jsonl", "a b+c=d%e&f.jsonl", "ü/日本.jsonl", "..", "x" * 500, "q?#.txt"])
async def test_any_filename_comes_back(name, bedrock, make):
    """Of very long ones the end."""
    provider = make()
    content = lines("a")
    file = await provider.create_file(upload_of(content, filename=name), PLAIN)
    assert file.filename == name[-200:]
    (listed,) = await provider.list_files(purpose="batch", after=None, limit=None, order=None, options=PLAIN)
    assert (listed.id, listed.filename, listed.created_at) == (file.id, name[-200:], file.created_at)
    assert await read_file(provider, file.id) == content
    batch = await provider.create_batch(BatchRequest(file.id, CHAT), PLAIN)
    assert batch.input_file_id == file.id
    await provider.delete_file(file.id, PLAIN)
    assert bedrock.storage.objects == {}


async def test_other_purposes_are_kept_as_they_are(bedrock, make):
    provider = make()
    upload = upload_of(b"any bytes")
    file = await provider.create_file(FileUpload("a.txt", "user_data", upload.open, 9), PLAIN)
    assert (file.purpose, await read_file(provider, file.id)) == ("user_data", b"any bytes")
    assert len(bedrock.storage.objects) == 1


async def test_a_foreign_object_is_read_by_its_uri(bedrock, make):
    """A job over records that somebody else put there; a range of them."""
    provider = make()
    row = {"recordId": "R1", "modelInput": {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9}}
    bedrock.storage.store("own/in.jsonl", json.dumps(row).encode() + b"\n")
    request = BatchRequest("s3://bucket/own/in.jsonl", CHAT, model=CLAUDE)
    batch = await provider.create_batch(request, PLAIN)
    for _ in itertools.count():
        if (batch := await provider.retrieve_batch(batch.id, PLAIN)).ended:
            break
    assert batch.output_file_id is not None
    assert b'"custom_id":"R1"' in await read_file(provider, batch.output_file_id)
    async with provider.file_content(
        "s3://bucket/own/in.jsonl", CallOptions(extra_headers={"range": "bytes=2-9"})
    ) as part:
        assert (part.status_code, b"".join([chunk async for chunk in part.chunks])) == (206, b"recordId")
    described = await provider.retrieve_file(batch.output_file_id, PLAIN)
    assert described.bytes > 0
    await provider.delete_file(batch.output_file_id, PLAIN)
    with pytest.raises(errors.APIResponseError, match="were they moved or deleted"):
        await provider.outputs(batch)


@pytest.mark.parametrize(
    ("file_id", "message"),
    [
        ("s3://bucket/none.jsonl", "No such file: s3://bucket/none.jsonl"),
        ("s3://elsewhere/x", "No such bucket: elsewhere"),
        ("s3://bucket/../x", "No such file"),
        ("s3-!!", "No such file"),
        ("file-1", "No such file"),
        ("bedrock-output-nobodyhasit0", "The job was not found"),
    ],
)
async def test_files_that_are_not_there(file_id, message, make):
    with pytest.raises(errors.NotFoundError, match=message):
        await read_file(make(), file_id)


async def test_a_wrong_bucket_is_named_with_its_cure(bedrock, make):
    with pytest.raises(errors.NotFoundError, match='No such bucket: another; set "bucket"'):
        await make(bucket="another").create_file(upload_of(lines("a")), PLAIN)


async def test_a_key_that_ends_in_a_slash_is_its_own_object(bedrock, make):
    """Folders' markers are such keys."""
    bucket = make()
    file = await bucket.create_file(upload_of(lines("x"), filename="x.jsonl"), PLAIN)
    place = parse_file_id(file.id)
    marker = Blob(place.bucket, f"{place.key}/")
    for call in (bucket.retrieve_file, bucket.delete_file):
        with pytest.raises(errors.NotFoundError):
            await call(marker.uri, PLAIN)
    assert (await bucket.retrieve_file(file.id, PLAIN)).id == file.id
