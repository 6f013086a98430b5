"""AWS's own client at our server: it takes what the server says, and the server takes its signatures."""

import asyncio
import io
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from batchmeter.testing.wire import Answer, Script, serving

from .fake import ACCESS, REGION, ROLE, SECRET

ONCE = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})


@pytest.fixture
def client(bedrock):
    session = boto3.Session(aws_access_key_id=ACCESS, aws_secret_access_key=SECRET, region_name=REGION)
    opened = []

    def made(service, **more):
        url = bedrock.storage.url if service == "s3" else bedrock.url
        opened.append(session.client(service, endpoint_url=url, config=ONCE, **more))
        return opened[-1]

    yield made
    for one in opened:
        one.close()


def fill(s3):
    for name in ("a", "b c+ü"):
        s3.put_object(Bucket="bucket", Key=f"in/{name}", Body=b"0123456789", Metadata={"note": "x"})
    large = io.BytesIO(b"x" * (9 << 20))
    s3.upload_fileobj(large, "bucket", "in/large.jsonl")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="in/", MaxKeys=1)
    found = {item["Key"]: item["Size"] for page in pages for item in page["Contents"]}
    part = s3.get_object(Bucket="bucket", Key="in/a", Range="bytes=2-4")["Body"].read()
    head = s3.head_object(Bucket="bucket", Key="in/b c+ü")
    s3.delete_object(Bucket="bucket", Key="in/a")
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="bucket", Key="in/a")
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
        s3.list_objects_v2(Bucket="another")
    return found, part, head["Metadata"]


async def test_boto3_stores_and_lists_objects(bedrock, client):
    bedrock.storage.page = 2
    found, part, notes = await asyncio.to_thread(fill, client("s3"))
    assert found == {"in/a": 10, "in/b c+ü": 10, "in/large.jsonl": 9 << 20}
    assert (part, notes) == (b"234", {"note": "x"})


def run(jobs, number):
    """A job from its creation to its end; the same token is the same job."""
    asked = {
        "jobName": f"job{number}",
        "roleArn": ROLE,
        "modelId": "amazon.nova-lite-v1:0",
        "clientRequestToken": f"token-{number}",
        "modelInvocationType": "Converse",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://bucket/in.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
    }
    arn = jobs.create_model_invocation_job(**asked)["jobArn"]
    assert jobs.create_model_invocation_job(**asked)["jobArn"] == arn
    return arn


def follow(jobs):
    first, second = run(jobs, 1), run(jobs, 2)
    jobs.stop_model_invocation_job(jobIdentifier=first)
    seen = [jobs.get_model_invocation_job(jobIdentifier=arn)["status"] for arn in (first, second, second)]
    pages = jobs.get_paginator("list_model_invocation_jobs").paginate(PaginationConfig={"PageSize": 1})
    listed = [row["jobArn"] for page in pages for row in page["invocationJobSummaries"]]
    with pytest.raises(jobs.exceptions.ConflictException):
        jobs.stop_model_invocation_job(jobIdentifier=first)
    with pytest.raises(jobs.exceptions.ResourceNotFoundException):
        jobs.get_model_invocation_job(jobIdentifier="nobodyhasit0")
    return seen, listed == [second, first]


async def test_boto3_runs_jobs(bedrock, client):
    row = b'{"recordId": "R1", "modelInput": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}\n'
    bedrock.storage.store("in.jsonl", row * 2)
    assert await asyncio.to_thread(follow, client("bedrock")) == (["Stopped", "Submitted", "Completed"], True)
    assert len([key for key in bedrock.storage.objects if key.endswith("in.jsonl.out")]) == 2


async def test_a_wrong_secret_is_refused(client):
    jobs = client("bedrock", aws_access_key_id=ACCESS, aws_secret_access_key="another-secret")
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        await asyncio.to_thread(jobs.list_model_invocation_jobs)


async def test_a_body_kept_back_is_asked_for():
    """AWS's client sends `expect: 100-continue`, and waits a second for the word to go on."""
    script = Script([Answer(body=b"kept")])
    async with serving(script) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        writer.write(b"PUT /k HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()
    assert script.received[0].body == b"hi"
