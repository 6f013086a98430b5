"""Statuses, counts, ids, errors and refused lines of Anthropic: the tables."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter.errors import InvalidInputError, NotFoundError, NotSupportedError, UsageError
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter_anthropic.answers import STATUS_BY_TYPE, Answers
from batchmeter_anthropic.ids import FITS, from_vendor, to_vendor
from batchmeter_anthropic.states import batch_of

OPTIONS = CallOptions()
AT, END = "2026-09-24T18:37:24.100435Z", "2026-09-24T19:00:00Z"


def row(word="ended", cancel=False, **counts):
    named = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0) | counts
    ended = END if word == "ended" else None
    return {
        "id": "msgbatch_1",
        "processing_status": word,
        "request_counts": named,
        "created_at": AT,
        "ended_at": ended,
        "cancel_initiated_at": AT if cancel else None,
    }


STATUSES = {
    "in_progress": (row("in_progress", processing=3), "in_progress", (3, 0, 0), (False, False)),
    "canceling": (row("canceling", cancel=True, processing=3), "cancelling", (3, 0, 0), (False, False)),
    "an unknown word": (row("resting", processing=3), "resting", (3, 0, 0), (False, False)),
    "all well": (row(succeeded=3), "completed", (3, 3, 0), (True, False)),
    "all errored": (row(errored=3), "completed", (3, 0, 3), (False, True)),
    "cancelled, nothing run": (row(cancel=True, canceled=3), "cancelled", (3, 0, 3), (False, True)),
    "cancelled with output": (row(cancel=True, canceled=1, succeeded=2), "cancelled", (3, 2, 1), (True, True)),
    "cancelled too late": (row(cancel=True, succeeded=3), "completed", (3, 3, 0), (True, False)),
    "expired": (row(expired=3), "expired", (3, 0, 3), (False, True)),
    "expired with output": (row(expired=1, succeeded=2), "expired", (3, 2, 1), (True, True)),
}


@pytest.mark.parametrize("name", STATUSES)
def test_statuses(name):
    given_, status, counts, files = STATUSES[name]
    batch = batch_of(given_, None, native=False)
    assert batch.status == status
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == counts
    assert (batch.output_file_id is not None, batch.error_file_id is not None) == files
    assert (batch.ended_at is not None) == batch.ended
    assert batch.created_at == batch.in_progress_at == 1790275044


@pytest.mark.parametrize("kind", [*STATUS_BY_TYPE, "new_error"])
def test_errored_results_have_http_statuses(kind):
    error = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "req_1"}
    answers = Answers("error", "/v1/chat/completions", lambda place: None)
    line = answers.answer({"custom_id": "a", "result": {"type": "errored", "error": error}})
    assert line["response"]["status_code"] == STATUS_BY_TYPE.get(kind, 500)
    assert line["response"]["body"]["error"]["code"] == kind


def test_a_result_of_an_unknown_type_is_an_error_line():
    line = Answers("error", None, lambda place: None).answer({"custom_id": "a", "result": {"type": "postponed"}})
    assert line["error"]["code"] == "unknown_result"


@given(st.text(max_size=80))
def test_any_id_fits_and_comes_back(name):
    kept = []

    def keep(long):
        kept.append(long)
        return len(kept) - 1

    coded = to_vendor(name, keep)
    assert FITS.fullmatch(coded)
    assert from_vendor(coded, kept.__getitem__) == name


def test_a_long_id_whose_file_is_gone_keeps_its_place():
    assert from_vendor("bml-7", lambda place: None) == "bml-7"
    assert from_vendor("bml-x", lambda place: "y") == "bml-x"


def messages(**params):
    full = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **params}
    return {name: value for name, value in full.items() if value is not None}


REFUSED = {
    "no model": (messages(model=None), "model"),
    "no limit": (messages(max_tokens=0), "max_tokens"),
    "no messages": (messages(messages=[]), "messages"),
    "stream": (messages(stream=True), "stream"),
    "speed": (messages(speed="fast"), "speed"),
    "sampling": (messages(temperature=0.5), "temperature"),
    "a budget": (messages(thinking={"type": "enabled", "budget_tokens": 1024}), "thinking"),
    "prefill": (messages(messages=[{"role": "assistant", "content": "Once"}]), "messages"),
}


@pytest.mark.parametrize("form", ["openai", "native"])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_would_fail_hours_later_is_refused_by_line(make, upload, name, form, tmp_path):
    params, field = REFUSED[name]

    def line(custom_id, body):
        if form == "native":
            return {"custom_id": custom_id, "params": body}
        return {"custom_id": custom_id, "method": "POST", "url": "/v1/messages", "body": body}

    with pytest.raises(InvalidInputError, match="line 2: ") as caught:
        await make(format=form).create_file(upload([line("a", messages()), line("b", params)]), OPTIONS)
    (problem,) = caught.value.problems
    assert (problem.line, problem.custom_id) == (2, "b")
    assert problem.param == f"{'params' if form == 'native' else 'body'}.{field}"
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"not json\n", "invalid_json_line"),
        (b'{"custom_id": "a b", "params": {}}\n', "unsupported_parameter"),
        (json.dumps({"custom_id": "a", "params": messages()}).encode() + b"\n", None),
        ((json.dumps({"custom_id": "a", "params": messages()}).encode() + b"\n") * 2, "duplicate_custom_id"),
    ],
)
async def test_native_rows_are_checked(make, upload, content, code):
    native = make(format="native")
    if code is None:
        assert (await native.create_file(upload(content), OPTIONS)).status == "processed"
        return
    with pytest.raises(InvalidInputError) as caught:
        await native.create_file(upload(content), OPTIONS)
    assert caught.value.problems[0].code == code


async def test_what_is_left_out_is_said(provider, upload, chat):
    file = await provider.create_file(upload([chat("a", model="claude-opus-5-5", temperature=0.2, seed=1)]), OPTIONS)
    assert len(file.warnings) == 2


async def test_a_create_that_cannot_be_is_refused_before_it_is_sent(provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    other = await provider.create_file(upload(b"text", purpose="user_data"), OPTIONS)
    for request, error in [
        (BatchRequest(file.id, "/v1/messages"), UsageError),
        (BatchRequest(None, "/v1/chat/completions"), UsageError),
        (BatchRequest(other.id, "/v1/chat/completions"), UsageError),
        (BatchRequest(file.id, "/v1/chat/completions", output_expires_after={"seconds": 3600}), NotSupportedError),
        (BatchRequest("file-nobody", "/v1/chat/completions"), NotFoundError),
    ]:
        with pytest.raises(error):
            await provider.create_batch(request, OPTIONS)
    assert vendor.seen == []


async def test_more_members_of_a_create_go_before_its_requests(provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a"), chat("b")]), OPTIONS)
    options = CallOptions(extra_body={"note": "ü"}, extra_headers={"anthropic-beta": "x"})
    await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions"), options)
    method, path, headers = vendor.seen[-1]
    assert (method, path, headers["anthropic-beta"]) == ("POST", "/v1/messages/batches", "x")
    assert headers["content-length"].isdecimal()


async def test_views_of_an_open_batch_are_not_there(provider, upload, chat, vendor):
    file = await provider.create_file(upload([chat("a")]), OPTIONS)
    batch = await provider.create_batch(BatchRequest(file.id, "/v1/chat/completions"), OPTIONS)
    vendor.looks = 100
    with pytest.raises(NotFoundError):
        await provider.retrieve_file(f"anthropic-output-{batch.id}", OPTIONS)
    vendor.end(batch.id)
    assert (await provider.retrieve_file(f"anthropic-output-{batch.id}", OPTIONS)).purpose == "batch_output"
    with pytest.raises(NotFoundError):
        await provider.retrieve_file(f"anthropic-error-{batch.id}", OPTIONS)
    with pytest.raises(NotSupportedError):
        await provider.delete_file(f"anthropic-output-{batch.id}", OPTIONS)
    with pytest.raises(NotFoundError):
        await provider.retrieve_batch("../files", OPTIONS)
