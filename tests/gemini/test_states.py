"""States, counts, names and errors of Gemini, uploads that break, and lines that are refused: the tables."""

import json

import pytest

from batchmeter.errors import (
    APIConnectionError,
    APIResponseError,
    AuthenticationError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    NotSupportedError,
    UsageError,
)
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_gemini import upload as uploads
from batchmeter_gemini.states import MOST_NAME, STATUS_BY_STATE, batch_of, metadata_in, name_for

from .fake import problem

OPTIONS = CallOptions()
AT = "2026-09-24T18:37:24.100435Z"


def operation(state=None, done=None, error=None, stats=None, **metadata):
    told = {"createTime": AT, "endTime": AT, "model": "models/gemini-2.5-flash", **metadata}
    told |= {"state": state} if state else {}
    told |= {"batchStats": stats} if stats else {}
    made = {"name": "batches/x", "metadata": told}
    return made | ({"done": done} if done is not None else {}) | ({"error": error} if error else {})


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
@pytest.mark.parametrize("word", STATUS_BY_STATE)
def test_states_come_with_two_prefixes(prefix, word):
    batch = batch_of(operation(prefix + word), native=False)
    assert batch.status == STATUS_BY_STATE[word]
    assert (batch.ended_at is not None) == batch.ended


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (operation(), "in_progress"),
        (operation(done=True), "completed"),
        (operation("BATCH_STATE_RUNNING", done=True, error={"code": 13}), "failed"),
        (operation("BATCH_STATE_CANCELLED", done=True, error={"code": 1}), "cancelled"),
        (operation("BATCH_STATE_RESTING"), "resting"),
    ],
)
def test_a_state_that_is_left_out_or_new(given, status):
    assert batch_of(given, native=False).status == status


def test_counters_are_text_and_zeros_are_left_out():
    counts = batch_of(
        operation(stats={"requestCount": "3", "successfulRequestCount": "3"}), native=False
    ).request_counts
    assert (counts.total, counts.completed, counts.failed) == (3, 3, 0)
    assert batch_of(operation(), native=False).request_counts is None


@pytest.mark.parametrize(
    ("stats", "files"),
    [
        ({"successfulRequestCount": "3"}, (True, False)),
        ({"failedRequestCount": "3"}, (False, True)),
        ({"successfulRequestCount": "1", "failedRequestCount": "2"}, (True, True)),
        ({}, (True, True)),
    ],
)
def test_views_are_offered_where_they_have_lines(stats, files):
    given = operation("JOB_STATE_SUCCEEDED", stats=stats, output={"responsesFile": "files/batch-x"})
    batch = batch_of(given, native=False)
    assert (batch.output_file_id is not None, batch.error_file_id is not None) == files
    assert batch_of(given, native=True).error_file_id is None


def test_a_name_holds_metadata_as_far_as_it_can():
    assert metadata_in(name_for({"a": "ü"}, "f")) == {"a": "ü"}
    long = {"batchmeter_id": "i", "x": "y" * MOST_NAME}
    assert metadata_in(name_for(long, "f")) == {"batchmeter_id": "i"}
    assert name_for({"x": "y" * MOST_NAME}, "f") == "f"
    assert (name_for(None, "f"), metadata_in("d"), metadata_in("[1]"), metadata_in('{"a": 1}')) == (
        "f",
        None,
        None,
        None,
    )


async def test_a_piece_that_breaks_is_sent_on_from_where_it_stands(provider, upload, chat, vendor, monkeypatch):
    monkeypatch.setattr(uploads, "PIECE", 4096)
    vendor.broken = 2
    rows = [chat(f"r-{n}", "x" * 500) for n in range(50)]
    file = await provider.create_file(upload(rows), OPTIONS)
    assert len(vendor.files[f"files/{file.id}"].splitlines()) == 50
    commands = [headers.get("x-goog-upload-command") for _, path, headers in vendor.seen if "/upload/" in path]
    assert commands.count("query") == 2
    assert commands[-1] == "upload, finalize"


async def test_an_upload_that_fails_leaves_nothing(provider, upload, chat, vendor, tmp_path):
    vendor.broken = 100
    with pytest.raises((InternalServerError, APIConnectionError)):
        await provider.create_file(upload([chat("a")]), OPTIONS)
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


async def test_an_upload_goes_to_no_host_that_an_answer_names(provider, upload, chat, vendor):
    vendor.upload_host = "http://127.0.0.1:9"
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    assert f"files/{file.id}" in vendor.files
    with pytest.raises(APIResponseError):
        uploads._session(None, vendor.base)


async def test_a_wrong_key_is_an_authentication_error_with_googles_status(make):
    with pytest.raises(AuthenticationError, match="API key not valid") as caught:
        await make(api_key="AIza-wrong-0123456789").list_batches(after=None, limit=1, options=OPTIONS)
    assert caught.value.status_code == 400


async def test_a_file_that_is_nobodys_is_not_found(provider, vendor):
    for call in (provider.retrieve_file, provider.delete_file):
        with pytest.raises(NotFoundError):
            await call("files/nobody", OPTIONS)
    with pytest.raises(NotFoundError):
        await provider.retrieve_batch("../files/x", OPTIONS)


async def test_files_made_elsewhere_are_described_and_deleted(provider, vendor):
    vendor.keep({"name": "files/theirs", "displayName": "rows.jsonl"}, b"{}")
    shown = await provider.retrieve_file("files/theirs", OPTIONS)
    assert (shown.id, shown.bytes, shown.status, shown.filename) == ("theirs", 2, "processed", "rows.jsonl")
    request = BatchRequest("files/theirs", "/v1/chat/completions", model="models/gemini-2.5-flash")
    batch = await provider.create_batch(request, OPTIONS)
    assert batch.model == "gemini-2.5-flash"
    assert (await provider.delete_file("theirs", OPTIONS)).deleted


async def test_a_create_that_cannot_be_is_refused_before_it_is_sent(make, provider, upload, chat):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    other = await provider.create_file(upload(b"text", purpose="user_data"), OPTIONS)
    native = await make(format="native").create_file(upload([{"key": "a", "request": {}}]), OPTIONS)
    for request, error in [
        (BatchRequest(file.id, "/v1/embeddings"), UsageError),
        (BatchRequest(None, "/v1/chat/completions"), UsageError),
        (BatchRequest(other.id, "/v1/chat/completions"), UsageError),
        (BatchRequest(native.id, "/v1/chat/completions"), UsageError),
        (BatchRequest(file.id, "/v1/chat/completions", output_expires_after={"seconds": 3600}), NotSupportedError),
    ]:
        with pytest.raises(error):
            await provider.create_batch(request, OPTIONS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("a", {}), ("b", {"model": "gemini-3.8-flash"})], "line 2: .*model"),
        ([("a", {"model": "gemini-embedding-001"})], "line 1: .*embedding model"),
        ([("a", {}), ("b", {"logprobs": True, "nonsense": 1})], "line 2: .*nonsense"),
        (
            [
                ("a", {}),
                ("b", {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}}),
            ],
            "line 2: .*items",
        ),
    ],
)
async def test_lines_are_refused_by_number(provider, upload, chat, vendor, lines, message):
    with pytest.raises(InvalidInputError, match=message):
        await provider.create_file(upload([chat(name, **body) for name, body in lines]), OPTIONS)
    assert vendor.seen == []


async def test_lists_go_on_after_any_id(provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    request = BatchRequest(file.id, "/v1/chat/completions")
    made = [(await provider.create_batch(request, OPTIONS)).id for _ in range(5)][::-1]
    first = await provider.list_batches(after=None, limit=2, options=OPTIONS)
    assert [one.id for one in first] == made[:2]
    second = await provider.list_batches(after=made[1], limit=2, options=OPTIONS)
    assert [one.id for one in second] == made[2:4]
    walked = await provider.list_batches(after=made[0], limit=2, options=OPTIONS)
    assert [one.id for one in walked] == made[1:2]
    full = problem(400, "INVALID_ARGUMENT", "page token")
    vendor.refuse = [("/batches", full[0], full[1])]
    again = await provider.list_batches(after=made[1], limit=2, options=OPTIONS)
    assert [one.id for one in again] == made[2:4]
    with pytest.raises(NotFoundError):
        await provider.list_batches(after="nobody", limit=2, options=OPTIONS)


async def test_more_members_of_a_create_go_into_its_batch(provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    options = CallOptions(extra_body={"priority": "7", "model": "gemini-2.5-pro"})
    batch = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions"), options)
    assert batch.model == "gemini-2.5-pro"
    assert json.dumps(list(vendor.operations))
