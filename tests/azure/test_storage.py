"""Batches on the caller's own storage: submitted by blob, their outputs read with a SAS or as an Entra identity."""

import datetime as dt
import json
import time
from types import SimpleNamespace

import pytest
from tests.heavy import HEAVY

from batchmeter import errors
from batchmeter.models import Batch
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, read_output
from batchmeter.testing.wire import Answer, serving

PLAIN = CallOptions()
SAS = "sv=2023-11-03&sp=r&sig=secret%2Fsignature"
TOKEN = "storage-token-0123456789"


class Identity:
    def get_token(self, *scopes):
        return SimpleNamespace(token=f"{TOKEN} for {scopes[0]}".replace(" ", "_"), expires_on=time.time() + 3600)


@pytest.fixture
async def storage(azure):
    """A blob server that wants a SAS or a bearer token with a service version; `azure.blobs` is what it holds."""

    async def blobs(request):
        signed = request.query.get("sig") == "secret/signature"
        named = request.headers.get("authorization", "").startswith("Bearer ") and "x-ms-version" in request.headers
        if not (signed or named):
            return Answer(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
        if request.path.startswith("/gone/"):
            return Answer(
                404, b"<Error><Code>ContainerNotFound</Code></Error>", {"x-ms-error-code": "ContainerNotFound"}
            )
        content = azure.blobs.get(f"http://{request.headers['host']}{request.path}")
        if content is None:
            return Answer(404, b"<Error><Code>BlobNotFound</Code></Error>", {"x-ms-error-code": "BlobNotFound"})
        return Answer(200, content, {"content-type": "application/octet-stream"})

    async with serving(blobs) as url:
        azure.blobs[f"{url}/in/test.jsonl"] = lines_of(3, "batch4o")
        yield url


async def finished(provider, batch):
    while not batch.ended:
        batch = await provider.retrieve_batch(batch.id, PLAIN)
    return batch


def by_input_file_id(storage):
    return BatchRequest(f"{storage}/in/test.jsonl", "/chat/completions", metadata={"batchmeter_id": "i"}), PLAIN


def by_extra_body(storage):
    blobs = {"input_blob": f"{storage}/in/test.jsonl", "output_folder": {"url": f"{storage}/out"}}
    return BatchRequest(None, "/chat/completions"), CallOptions(extra_body=blobs)


@pytest.mark.parametrize("asking", [by_input_file_id, by_extra_body])
@pytest.mark.parametrize("access", [{"storage_sas": f"?{SAS}"}, {"credential": Identity()}], ids=["sas", "entra"])
async def test_from_blob_to_blob(asking, access, storage, azure, account):
    azure.files.clear()
    provider = account(output_folder=f"{storage}/out", api_key="azure-key-0123456789", **access)
    if "credential" in access:  # the fake resource knows no such token
        azure.allowed = lambda request, v1: True
    batch = await finished(provider, await provider.create_batch(*asking(storage)))
    assert (batch.input_file_id, batch.output_file_id, batch.error_file_id) == (None, None, None)
    output, error = await provider.outputs(batch)
    assert (output.kind, error.kind) == ("output", "error")
    rows = [json.loads(line) for line in (await read_output(output)).splitlines()]
    assert [row["custom_id"] for row in rows] == ["r-0", "r-1", "r-2"]
    assert await read_output(error) == b""  # the URL is there, the blob is not


async def test_what_is_submitted(storage, azure, account):
    await account(output_folder=f"{storage}/out").create_batch(*by_input_file_id(storage))
    assert json.loads(azure.received[0].body) == {
        "input_blob": f"{storage}/in/test.jsonl",
        "output_folder": {"url": f"{storage}/out"},
        "endpoint": "/chat/completions",
        "completion_window": "24h",
    }


def blob_batch(storage, completed=3, folder="out"):
    return Batch.model_validate(
        {
            "id": "batch_1",
            "status": "completed",
            "request_counts": {"total": 3, "completed": completed, "failed": 3 - completed},
            "output_blob": f"{storage}/{folder}/results.jsonl",
            "error_blob": f"{storage}/{folder}/errors.jsonl?sig=theirs",
        }
    )


async def test_no_rows_where_the_counts_say_none(storage, account):
    output, error = await account(storage_sas=SAS, storage_accounts=[storage]).outputs(blob_batch(storage, completed=0))
    assert await read_output(output) == b""
    assert await read_output(error) == b""


async def test_answers_that_were_deleted_are_not_nothing(storage, account):
    output, _ = await account(storage_sas=SAS, storage_accounts=[storage]).outputs(blob_batch(storage, completed=3))
    with pytest.raises(errors.NotFoundError):
        await read_output(output)


async def test_a_container_that_is_gone_is_not_nothing(storage, account):
    _, error = await account(storage_sas=SAS, storage_accounts=[storage]).outputs(blob_batch(storage, folder="gone"))
    with pytest.raises(errors.NotFoundError):
        await read_output(error)


async def test_a_refused_sas_shows_no_signature(storage, account):
    output, error = await account(storage_sas="sig=wrong-signature-0123", storage_accounts=[storage]).outputs(
        blob_batch(storage)
    )
    with pytest.raises(errors.PermissionDeniedError) as caught:
        await read_output(output)
    assert "wrong-signature" not in f"{caught.value!r} {caught.value} {caught.value.body}"
    assert "sig=" not in f"{output.id} {error.id}"


async def test_without_any_access(storage, account, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "azure.identity", None)
    output, _ = await account(api_key="azure-key-0123456789", storage_accounts=[storage]).outputs(blob_batch(storage))
    with pytest.raises(
        errors.ConfigError, match=r"cannot read its own storage: set storage_sas under \[accounts.azure-eu"
    ):
        await read_output(output)


async def test_the_keys_of_the_api_do_not_go_to_the_storage(storage, azure, account):
    seen = []

    async def listening(request):
        seen.append(request.headers)
        return Answer(200, b"")

    async with serving(listening) as url:
        provider = account(storage_sas=SAS, storage_accounts=[url], headers={"x-private": "1"})
        output, _ = await provider.outputs(blob_batch(url))
        await read_output(output)
    assert not {"api-key", "authorization", "x-private"} & set(seen[0])


@pytest.mark.skipif(not HEAVY, reason="azurite takes seconds to start: set BATCHMETER_HEAVY=1")
async def test_azurite_takes_our_sas(emulator, account):
    """Microsoft's own storage emulator, its blobs put there by Microsoft's own client."""
    blob = pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is not installed")
    arguments = ("--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck")
    url = emulator("azurite", "azurite-blob", *arguments)
    name, key = (
        "devstoreaccount1",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    )
    access = {"account_name": name, "account_key": key}
    with (
        blob.BlobServiceClient(f"{url}/{name}", credential=access) as service,
        service.create_container("out") as container,
    ):
        container.upload_blob("results.jsonl", b'{"custom_id": "r-0"}\n' * 100_000)
    sas = blob.generate_container_sas(
        name,
        "out",
        account_key=key,
        permission="r",
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    output, error = await account(storage_sas=sas, storage_accounts=[url]).outputs(blob_batch(f"{url}/{name}"))
    assert len(await read_output(output)) == 2_100_000
    assert await read_output(error) == b""
    (wrong, _) = await account(storage_sas=sas[:-6] + "AAA%3D", storage_accounts=[url]).outputs(
        blob_batch(f"{url}/{name}")
    )
    with pytest.raises(errors.PermissionDeniedError):
        await read_output(wrong)
