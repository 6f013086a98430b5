"""xAI's batch has counters in place of a status, and dates in place of times."""

import json
from datetime import date

import pytest

from batchmeter.errors import APIResponseError
from batchmeter.providers import BatchRequest
from batchmeter_xai.batch import LONGEST_NAME, batch_of, name_of
from batchmeter_xai.results import line_of

TODAY = date(2026, 11, 30)


def state(requests=0, pending=0, success=0, error=0, cancelled=0):
    return {"num_requests": requests, "num_pending": pending, "num_success": success, "num_error": error} | {
        "num_cancelled": cancelled
    }


@pytest.mark.parametrize(
    ("members", "status", "files"),
    [
        ({"state": state()}, "validating", ""),
        ({}, "validating", ""),
        ({"state": state(2, 1, 1)}, "in_progress", ""),
        ({"state": state(2, 1, 1), "expire_time": "2026-11-30"}, "in_progress", ""),
        ({"state": state(2, 1, 1), "expire_time": "2026-11-29"}, "expired", "o"),
        ({"state": state(2, 0, 2)}, "completed", "o"),
        ({"state": state(2, 0, 1, 1)}, "completed", "oe"),
        ({"state": state(2, 0, 0, 2)}, "completed", "e"),
        ({"state": {"num_requests": "2", "num_success": "2"}}, "completed", "o"),
        ({"state": state(2, 0, 1, 0, 1), "cancel_time": "2026-11-30"}, "cancelled", "oe"),
        ({"cancel_time": "2026-11-30", "cancel_by_xai_message": "not supported"}, "failed", ""),
    ],
)
def test_the_status_follows_from_the_counters(members, status, files):
    batch = batch_of({"batch_id": "batch_1", "name": "mine", **members}, TODAY)
    assert batch.status == status
    named = {"o": batch.output_file_id, "e": batch.error_file_id}
    assert "".join(kind for kind, file in named.items() if file) == files
    assert batch.created_at is None
    assert batch.metadata is None


def test_why_xai_cancelled_is_told():
    batch = batch_of({"batch_id": "b", "cancel_time": "2026-11-30", "cancel_by_xai_message": "no such model"}, TODAY)
    assert [error.message for error in batch.errors.data] == ["no such model"]


@pytest.mark.parametrize(
    ("create_time", "expected"),
    [("2026-11-29", None), ("2026-11-29T10:00:00Z", 1795946400), ("soon", None), (None, None)],
)
def test_a_date_is_no_time(create_time, expected):
    assert batch_of({"batch_id": "b", "create_time": create_time}, TODAY).created_at == expected


def test_a_name_carries_endpoint_and_metadata():
    asked = BatchRequest("file_1", "/v1/responses", metadata={"team": "a&b = c", "batchmeter_id": "id-1"})
    name = name_of(asked)
    batch = batch_of({"batch_id": "b", "name": name}, TODAY)
    assert (batch.endpoint, batch.metadata) == ("/v1/responses", {"team": "a&b = c", "batchmeter_id": "id-1"})


def test_a_name_that_would_be_too_long_keeps_the_tag():
    asked = BatchRequest("file_1", "/v1/responses", metadata={"note": "x" * LONGEST_NAME, "batchmeter_id": "id-1"})
    batch = batch_of({"batch_id": "b", "name": name_of(asked)}, TODAY)
    assert batch.metadata == {"batchmeter_id": "id-1"}


@pytest.mark.parametrize("raw", [None, [], {"id": "b"}, {"batch_id": 7}])
def test_what_is_no_batch_is_refused(raw):
    with pytest.raises(APIResponseError, match="expected a batch"):
        batch_of(raw, TODAY)


@pytest.mark.parametrize(
    ("row", "answered", "part"),
    [
        (b'{"batch_request_id":"a","batch_result":{"response":{"responses":{"id":"r"}}}}', True, b'"body":{"id":"r"}'),
        (b'{"batch_request_id":"a","batch_result":{"error":"text"}}', False, b'"message":"text"'),
        (b'{"batch_request_id":"a","batch_result":{"error":{"code":1,"message":"m"}}}', False, b'"batch_cancelled"'),
        (b'{"batch_request_id":"a","batch_result":{},"error_message":"e"}', False, b'"message":"e"'),
    ],
)
def test_a_result_becomes_openais_line(row, answered, part):
    found, line = line_of(row)
    assert found is answered
    assert part in line
    assert b'"custom_id":"a"' in line


@pytest.mark.parametrize(
    ("row", "name"), [(b'{"id": 1}', None), (b'{"batch_request_id": "a", "batch_result": 1}', "a")]
)
def test_a_row_that_cannot_be_read_hides_no_other(row, name):
    answered, line = line_of(row)
    assert answered is False
    assert (json.loads(line)["custom_id"], json.loads(line)["error"]["code"]) == (name, "malformed_row")
