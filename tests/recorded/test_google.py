"""Recorded traffic of Vertex AI and Cloud Storage through a Vertex AI account."""

import json
from dataclasses import replace
from urllib.parse import unquote

import pytest

import batchmeter
from batchmeter import errors
from batchmeter.providers import CallOptions
from batchmeter.testing.providers import lines_of, upload_of
from batchmeter_vertex.answers import Answers
from batchmeter_vertex.provider import VertexProvider
from batchmeter_vertex.settings import VertexSettings

from .conftest import exchanges_of

PLAIN = CallOptions()
PROJECT = "100000000001"
GROUNDED = "vertex-03-predictions-grounded-flash"


@pytest.fixture
async def account():
    made = []

    def make(playing, **settings):
        given = {"project": PROJECT, "token": "t" * 9, "api_base": playing.url, "storage_base": playing.url}
        given |= {"bucket": "example-bucket", "max_retries": 0} | settings
        made.append(VertexProvider("vertex", VertexSettings(**given)))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


async def test_a_job_is_read_as_it_was_recorded(replay, account):
    playing = replay("vertex-01-pending-running")
    provider = account(playing)
    job = playing.exchanges[0].answer.json["name"].rsplit("/", 1)[-1]
    batch = await provider.retrieve_batch(job, PLAIN)
    recorded = playing.exchanges[1].answer.json
    assert (batch.id, batch.status, batch.output_file_id) == (job, "in_progress", None)
    assert batch.request_counts.total == int(recorded["completionStats"]["incompleteCount"]) == 2
    assert batch.input_file_id.startswith("gs-")


async def test_an_import_that_failed_says_why(replay, account):
    playing = replay("vertex-05-failed-import")
    batch = await account(playing).retrieve_batch("1", PLAIN)
    assert batch.status == "failed"
    assert batch.errors.data[0].code == "invalid_argument"
    assert batch.errors.data[0].message == playing.exchanges[0].answer.json["error"]["message"]


@pytest.mark.parametrize("call", ["upload", "list"])
async def test_a_missing_bucket_is_named_with_its_setting(replay, account, call):
    """Google's own words are "Not Found"."""
    name = {"upload": "gcs-07-upload-404", "list": "gcs-06-bucket-404-list"}[call]
    playing = replay(name, edit=lambda exchange: replace(exchange, path=exchange.path.rstrip("/")))
    bucket = playing.exchanges[0].path.split("/b/")[1].split("/")[0]
    provider = account(playing, bucket=bucket)
    calls = {
        "upload": lambda: provider.create_file(upload_of(lines_of(1, "gemini-2.5-flash")), PLAIN),
        "list": lambda: provider.list_files(purpose=None, after=None, limit=None, order=None, options=PLAIN),
    }
    with pytest.raises(
        errors.NotFoundError, match=rf"Not Found: there is no bucket '{bucket}' .*set \"bucket\""
    ) as caught:
        await calls[call]()
    assert caught.value.status_code == 404
    assert playing.strangers == []


async def test_a_missing_object_is_not_found(replay, account):
    playing = replay("gcs-04-object-404")
    with pytest.raises(errors.NotFoundError, match="No such object: example-bucket/test"):
        await account(playing).retrieve_file("gs://example-bucket/test", PLAIN)


async def test_a_missing_object_s_content_is_not_found(replay, account):
    """Its answer is a line of text that is labelled text/html."""
    playing = replay(
        "gcs-05-media-404", edit=lambda exchange: replace(exchange, path=exchange.path.removeprefix("/download"))
    )
    with pytest.raises(errors.NotFoundError, match="No such object: example-bucket/mapping/nonexistent"):
        async with account(playing).file_content("gs://example-bucket/mapping/nonexistent", PLAIN):
            pass


async def test_an_object_is_described_as_it_was_recorded(replay, account):
    playing = replay("gcs-02-resumable-upload")
    file = await account(playing).retrieve_file("gs://example-bucket/tmp/test/a", PLAIN)
    recorded = playing.exchanges[2].answer.json
    assert (file.bytes, file.filename, file.purpose) == (int(recorded["size"]), "a", "batch")


def test_grounded_rows_are_metered_as_their_totals_say():
    """Thoughts are output; the search's own prompts are in no total; one search found nothing, and costs nothing."""
    body = exchanges_of(GROUNDED)[0].answer.body
    answers = [json.loads(line)["response"] for line in body.splitlines()]
    usages = [answer["usageMetadata"] for answer in answers]
    read = sum(usage["promptTokenCount"] for usage in usages)
    written = sum(usage["totalTokenCount"] - usage["promptTokenCount"] for usage in usages)
    searches = sum("groundingChunks" in answer["candidates"][0]["groundingMetadata"] for answer in answers)
    found = batchmeter.meter([body], provider="vertex_ai")
    assert (found.lines.succeeded, found.lines.unpriced, searches) == (10, 0, 9)
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.web_searches) == (read, written, searches)
    rates = found.rates[0].usd_per_million
    cost = rates["input"] * read + rates["output"] * written + rates["web_search"] * searches
    assert found.cost.total == cost / 1_000_000


async def test_grounded_rows_cost_the_same_in_openai_s_shape(replay, account):
    playing = replay(GROUNDED, edit=lambda one: replace(one, path=one.path.removeprefix("/download")))
    uri = "gs://example-bucket/" + unquote(playing.exchanges[0].path.rpartition("/o/")[2])
    async with account(playing).file_content(uri, PLAIN) as content:
        answers = Answers("output", "gemini-2.5-flash", "/v1/chat/completions")
        lines = b"".join([block async for block in answers.translated(content.chunks)])
    assert playing.strangers == []
    found, rows = (batchmeter.meter([each], provider="vertex_ai") for each in (lines, playing.exchanges[0].answer.body))
    assert b'"choices"' in lines
    assert (found.usage, found.cost.total) == (rows.usage, rows.cost.total)


async def test_a_session_goes_on_at_the_account_s_own_host(replay, account):
    """The recorded Location names storage.googleapis.com, where the replay is not."""
    playing = replay(
        "gcs-02-resumable-upload", edit=lambda one: replace(one, method="PUT") if "upload_id" in one.query else one
    )
    provider = account(playing, format="native")
    file = await provider.create_file(upload_of(b"{}\n"), PLAIN)
    opened, sent = playing.requests
    assert "storage.googleapis.com" in dict(playing.exchanges[0].answer.headers)["Location"]
    assert (opened.method, sent.method, sent.body) == ("POST", "PUT", b"{}\n")
    assert sent.query["upload_id"]
    assert file.bytes == int(playing.exchanges[1].answer.json["size"])


async def test_a_refusal_shows_google_s_words(replay, account):
    playing = replay("gcs-08-403", edit=lambda one: replace(one, path="/storage/v1/b/unknown/o/a"))
    with pytest.raises(errors.PermissionDeniedError, match=r"someone@example.com does not have storage"):
        await account(playing).delete_file("gs://unknown/a", PLAIN)
