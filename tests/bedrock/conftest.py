"""An account at a Bedrock and an S3 of our own; the tests need botocore."""

import contextlib
from importlib.util import find_spec

import pytest

from batchmeter.testing.wire import serving
from batchmeter_bedrock.provider import BedrockProvider
from batchmeter_bedrock.settings import BedrockSettings

if find_spec("boto3") is None:  # it is in the test group; botocore is in the extra `bedrock` too
    collect_ignore_glob = ["test_*.py"]
else:
    from .fake import ACCESS, REGION, ROLE, SECRET, FakeBedrock, FakeS3


@pytest.fixture
async def bedrock():
    """With its bucket as `storage`."""
    storage = FakeS3()
    fake = FakeBedrock(storage)
    async with serving(storage) as storage.url, serving(fake) as fake.url:
        yield fake


@pytest.fixture
def account(bedrock):
    return settings_at(bedrock)


def settings_at(bedrock):
    """Of an account there."""
    return {
        "api_base": bedrock.url,
        "storage_base": bedrock.storage.url,
        "bucket": "bucket",
        "region": REGION,
        "role_arn": ROLE,
        "access_key_id": ACCESS,
        "secret_access_key": SECRET,
        "min_records": 0,
        "max_retries": 0,
    }


@pytest.fixture
async def make(account):
    """`make(format="native")`: a provider that does not really sleep; closed at the end."""

    async def nap(_seconds):
        return None

    async with contextlib.AsyncExitStack() as stack:

        def made(**settings):
            provider = BedrockProvider("bedrock", BedrockSettings(**(account | settings)), http={"sleep": nap})
            stack.push_async_callback(provider.aclose)
            return provider

        yield made
