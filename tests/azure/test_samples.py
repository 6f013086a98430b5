"""Samples of Microsoft's documentation, read as they are."""

import json
from pathlib import Path

import pytest

from batchmeter.models import Batch, Page
from batchmeter_openai.shapes import as_batch, as_file, as_page

DATA = Path(__file__).parents[1] / "data" / "azure"


def sample(name):
    return json.loads((DATA / f"{name}.json").read_text())


def test_iso_times_capitals_and_null_counts():
    batch = as_batch(sample("batch_create_rest_docs"))
    assert (batch.status, batch.created_at, batch.expires_at) == ("validating", 1721409237, 1721495637)
    assert batch.request_counts is not None
    assert batch.request_counts.total == 0


def test_empty_ids():
    batch = as_batch(sample("batch_empty_string_ids"))
    assert (batch.output_file_id, batch.error_file_id, batch.ended) == (None, None, False)


def test_an_endpoint_of_null():
    batch = as_batch(sample("batch_completed_endpoint_null"))
    assert (batch.endpoint, batch.ended, batch.ended_at) == (None, True, 1722477429)


def test_a_failed_batch_with_null_counts():
    batch = as_batch(sample("batch_failed_counts_null"))
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (10, 0)
    assert batch.errors is not None
    assert batch.errors.data[0].code == "empty_file"


async def test_blob_outputs(account):
    output, error = await account().outputs(as_batch(sample("batch_blob_completed")))
    assert (output.kind, output.id.rpartition("/")[2]) == ("output", "results.jsonl")
    assert (error.kind, error.id.rpartition("/")[2]) == ("error", "errors.jsonl")


def test_a_list():
    page = as_page(sample("batch_list"), as_batch, Page[Batch])
    assert [batch.status for batch in page] == ["completed"]
    assert page.last_id == "batch_6287485f-50fc-4efa-bcc5-b86690037f43"


def test_an_upload_in_waiting():
    assert as_file(sample("file_upload_2024-10-01-preview")).status == "pending"


@pytest.mark.parametrize("word", ["canceled", "Cancelled", "CANCELED"])
def test_the_docs_spell_it_differently(word):
    assert as_batch({"id": "b", "status": word}).status == "cancelled"
