"""Answers are read tolerantly: OpenAI's own, and what compatible servers make of them."""

import json
from pathlib import Path

import pytest

from batchmeter.errors import APIResponseError
from batchmeter.models import Batch, FileObject, Page
from batchmeter_openai.shapes import as_batch, as_deleted, as_file, as_page

DATA = Path(__file__).parents[1] / "data" / "openai"


def sample(name):
    return json.loads((DATA / name).read_text())


def batches(raw):
    return as_page(raw, as_batch, Page[Batch])


def files(raw):
    return as_page(raw, as_file, Page[FileObject])


def test_a_real_completed_batch():
    raw = sample("batch_completed_with_usage_2026-09.json")
    batch = as_batch(raw)
    assert batch.ended
    assert batch.usage is not None
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (25214, 12974)
    assert batch.metadata == {"davka": "2", "beh": "test"}
    assert {name: batch.model_dump()[name] for name in raw} == raw


def test_a_real_refused_batch():
    batch = as_batch(sample("batch_failed_validation_2026-09.json"))
    assert batch.errors is not None
    (error,) = batch.errors.data
    assert (error.code, error.line, error.param) == ("missing_required_parameter", 1, "body.messages")


def test_unknown_fields_are_kept():
    assert as_batch({"id": "b", "status": "completed", "x_new": {"a": 1}}).model_extra == {"x_new": {"a": 1}}
    assert as_file({"id": "f", "x_new": 1}).model_extra == {"x_new": 1}
    assert batches({"data": [], "x_new": 1}).model_extra == {"x_new": 1}


@pytest.mark.parametrize(
    ("raw", "status", "ended"),
    [
        ({"id": "b", "status": "cancelled"}, "cancelled", True),
        ({"job": {"id": "b", "status": "VALIDATING"}}, "validating", False),
        ({"id": "b", "status": "CANCELING"}, "cancelling", False),
        ({"id": "b", "status": "warming_up"}, "warming_up", False),
        ({"id": "b"}, "unknown", False),
    ],
    ids=["openai", "together's envelope", "together's spelling", "a new word", "none"],
)
def test_statuses(raw, status, ended):
    batch = as_batch(raw)
    assert (batch.status, batch.ended) == (status, ended)


@pytest.mark.parametrize(
    ("raw", "messages"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ({"object": "list", "data": [{"message": "m"}]}, ["m"]),
        ([{"message": "m", "count": 2}], ["m"]),
        ("text", ["text"]),
        (["a", "b"], ["a", "b"]),
        ({"code": "x", "message": "alone"}, ["alone"]),
    ],
)
def test_errors_in_any_wrapping(raw, messages):
    errors = as_batch({"id": "b", "status": "failed", "errors": raw}).errors
    assert (errors and [error.message for error in errors.data]) == messages


def test_an_optional_field_of_an_unknown_shape_costs_nothing_else():
    batch = as_batch({"id": "b", "status": "completed", "usage": "n/a", "created_at": "once", "output_file_id": "f"})
    assert (batch.usage, batch.created_at, batch.output_file_id) == (None, None, "f")


def test_metadata_values_become_text():
    assert as_batch({"id": "b", "status": "completed", "metadata": {"n": 1, "s": "x"}}).metadata == {"n": "1", "s": "x"}


@pytest.mark.parametrize("raw", [None, [], "ok", {"status": "completed"}, {"id": 7, "status": "completed"}])
def test_no_batch_is_said_so(raw):
    with pytest.raises(APIResponseError, match=r"expected a batch|without a readable"):
        as_batch(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"object": "list", "data": [{"id": "a"}, {"id": "z"}], "first_id": "a", "last_id": "z", "has_more": False},
        {"data": [{"id": "a"}, {"id": "z"}]},
        {"value": [{"id": "a"}, {"id": "z"}]},
        {"data": [{"id": "a"}, {"id": "z"}], "first_id": None, "last_id": None, "has_more": None},
        [{"id": "a"}, {"id": "z"}],
    ],
    ids=["openai", "without ends", "older azure", "null ends", "a bare array"],
)
def test_pages(raw):
    page = files(raw)
    assert [file.id for file in page] == ["a", "z"]
    assert (page.first_id, page.last_id, page.has_more) == ("a", "z", False)


def test_an_empty_page():
    page = files({"object": "list", "data": [], "has_more": False})
    assert (len(page), page.first_id, page.last_id) == (0, None, None)


@pytest.mark.parametrize("raw", [{"error": "no"}, {"data": None}, "html", None])
def test_no_list_is_said_so(raw):
    with pytest.raises(APIResponseError, match=r"expected a list.*api_base"):
        files(raw)


@pytest.mark.parametrize("raw", [{"id": "f", "object": "file.deleted", "deleted": True}, {"deleted": True}, {}])
def test_a_deletion(raw):
    deleted = as_deleted(raw, "f")
    assert (deleted.id, deleted.deleted) == ("f", True)
