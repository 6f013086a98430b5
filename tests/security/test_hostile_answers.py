"""Answers made to hurt: bombs, endless bodies, lists in circles, odd ids. Each is one clear error in bounded memory."""

import asyncio
import gzip
import itertools
import json
import struct
import tracemalloc
import zlib
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import case

from batchmeter import errors
from batchmeter.config import Settings
from batchmeter.http import MAX_ANSWER, HttpClient
from batchmeter.models import Batch, Page
from batchmeter.plugins import Plugins
from batchmeter.providers import BatchRequest, CallOptions
from batchmeter.testing.providers import lines_of, upload_of
from batchmeter.testing.wire import Answer, serving
from batchmeter_openai.shapes import as_batch, as_page

PLAIN = CallOptions()
PROVIDERS = Plugins.load(Settings(), {}).providers
MB = 1 << 20


def bomb() -> bytes:
    """Sixty-four megabytes in as many kilobytes. Each is packed by itself, so that one has to be packed for all."""
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * MB) + packer.flush(zlib.Z_FULL_FLUSH)
    last = packer.compress(b"]") + packer.flush()
    check = zlib.crc32(b"[")
    for _ in range(64):
        check = zlib.crc32(b" " * MB, check)
    check = zlib.crc32(b"]", check)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + first + block * 64 + last + struct.pack("<II", check, 64 * MB + 2)


BOMB = bomb()
assert len(BOMB) < 100_000


def always(answer):
    async def handler(_):
        return answer

    return handler


@pytest.fixture
async def ask(library):
    """`ask(answer, path="files")`: the error that a whole answer leads to, and the most memory it took."""

    async def run(answer, *, headers=None):
        async with serving(always(answer)) as url:
            client = HttpClient(url, max_retries=0, timeout=20, headers=headers or {})
            tracemalloc.start()
            try:
                with pytest.raises(errors.ProviderError) as caught:
                    await client.request("GET", "files")
                return caught.value, tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
                await client.aclose()

    return run


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        ("gzip", BOMB, "more than 16 MB in one answer"),
        ("gzip, gzip", gzip.compress(BOMB), "content-encoding 'gzip, gzip'"),
        ("gzip,gzip,gzip", gzip.compress(gzip.compress(BOMB)), "takes gzip or none"),
        ("deflate", zlib.compress(b" " * MB), "takes gzip or none"),
        ("br", b"x", "takes gzip or none"),
        ("zstd", b"x", "takes gzip or none"),
        ("x" * 500, b"x", "takes gzip or none"),
    ],
)
async def test_a_packed_bomb_is_one_error_in_bounded_memory(encoding, body, said, ask):
    error, peak = await ask(Answer(body=body, headers={"content-encoding": encoding}))
    assert said in str(error)
    assert peak < 3 * MAX_ANSWER
    assert len(str(error)) < 200


async def test_a_packed_bomb_in_an_error_is_that_error(ask):
    error, peak = await ask(Answer(400, BOMB, {"content-encoding": "gzip"}))
    assert (type(error), error.status_code) == (errors.BadRequestError, 400)
    assert len(error.content) <= MB
    assert peak < 16 * MB


@asynccontextmanager
async def pouring(chunk, pause=None):
    """The address of a body without a length and without an end."""
    open_now = set()

    async def pour(reader, writer):
        open_now.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\n\r\n")
            while True:
                writer.write(chunk)
                await (writer.drain() if pause is None else asyncio.sleep(pause))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.close()
    for task in open_now:
        task.cancel()
    await asyncio.gather(*open_now)


async def test_an_endless_answer_ends(library):
    async with pouring(b" " * 65536) as url:
        client = HttpClient(url, max_retries=0)
        with pytest.raises(errors.APIResponseError, match="more than 16 MB in one answer"):
            await client.request("GET", "batches")
        await client.aclose()


async def test_an_endless_download_ends(library):
    got = 0
    async with pouring(b" " * 65536) as url:
        client = HttpClient(url, max_retries=0, max_download=5 * MB)
        with pytest.raises(errors.APIResponseError, match="more than 5 MB"):  # noqa: PT012 - where it ends is the point
            async with client.stream("GET", "files/f/content") as response:
                async for chunk in response.chunks:
                    got += len(chunk)
        await client.aclose()
    assert 4 * MB < got <= 5 * MB


async def test_an_answer_that_trickles_is_a_timeout(library):
    async with pouring(b" ", pause=0.02) as url:
        client = HttpClient(url, max_retries=0, timeout=0.2)
        with pytest.raises(errors.APITimeoutError, match="did not come to the end of its answer in 0.2 s"):
            await client.request("GET", "batches")
        await client.aclose()


async def test_json_nested_without_end_is_one_error(library):
    for body in [b"[" * 100_000, b'{"a":' * 100_000, b'{"error":' * 50_000 + b"1" + b"}" * 50_000]:
        with case(body):
            for status, expected in ((200, errors.APIResponseError), (400, errors.BadRequestError)):
                async with serving(always(Answer(status, body))) as url:
                    client = HttpClient(url, max_retries=0)
                    with pytest.raises(expected):
                        (await client.request("GET", "batches")).json()
                    await client.aclose()


@pytest.mark.parametrize("bad", ["", "\x1b[2J", "batch\r\nx: y", "a\nb", "..", ".", "a\0b", "x" * 5000, "batch\u2028"])
def test_an_id_that_is_none_is_refused(bad):
    with pytest.raises(errors.APIResponseError):
        as_batch({"id": bad, "status": "completed"})
    if bad:
        with pytest.raises(errors.APIResponseError):
            as_batch({"id": "b", "status": "completed", "output_file_id": bad})


def test_a_bad_row_hides_no_other(caplog):
    rows = [{"id": "a\nb", "status": "x"}, "text", None, {"status": "x"}, {"id": "good", "status": "completed"}]
    page = as_page({"data": rows, "has_more": True, "last_id": "good"}, as_batch, Page[Batch])
    assert [batch.id for batch in page] == ["good"]
    assert page.has_more
    assert len(caplog.records) == 4


def test_a_batch_nested_deeply_can_be_kept():
    deep = {"id": "b", "status": "completed", "extra": json.loads('{"a":' * 250 + '"x"' + "}" * 250)}
    batch = as_batch(deep)
    assert Batch.model_validate_json(batch.model_dump_json()) == batch
    odd = as_batch(json.loads('{"id": "b", "status": "s", "x": NaN, "y": [1e999, -Infinity]}'))
    assert json.loads(odd.model_dump_json())["y"] == [None, None]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["gs://b/o", ".."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                [
                    "id",
                    "status",
                    "data",
                    "items",
                    "name",
                    "bucket",
                    "size",
                    "state",
                    "jobs",
                    "batchPredictionJobs",
                    "has_more",
                    "last_id",
                    "job",
                    "errors",
                    "metadata",
                    "nextPageToken",
                    "outputInfo",
                    "inputConfig",
                    "gcsSource",
                    "uris",
                    "labels",
                    "request_counts",
                    "usage",
                    "error",
                    "completionStats",
                    "created_at",
                    "createTime",
                    "timeCreated",
                    "output_file_id",
                    "output_blob",
                    "model",
                ],
                inner,
            ),
        )
    ),
    max_leaves=12,
)
SETTINGS = {
    "openai": {"api_key": "key-0123456789"},
    "azure": {"api_key": "key-0123456789", "file_wait": 0, "api_version": "2024-10-21"},
    "vertex_ai": {"token": "token-0123456789", "project": "p", "bucket": "b"},
}


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([200, 200, 200, 404]), ODD), min_size=1, max_size=4))
async def test_any_json_leads_to_an_answer_or_an_error_of_ours(name, answers):
    turns = itertools.cycle(answers)

    def answer(_):
        status, body = next(turns)
        return httpx.Response(status, content=json.dumps(body).encode())

    factory = PROVIDERS[name]
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as lent:
        given = {**SETTINGS[name], "api_base": "http://nowhere", "max_retries": 0}
        provider = factory(name, factory.Settings(**given))
        for client in (getattr(provider, "_http", None), getattr(provider, "_api", None)):
            if isinstance(client, HttpClient):
                client.client = lent
        if name == "vertex_ai":
            provider._storage.http.client = lent
        for call in operations(provider):
            with suppress(errors.BatchmeterError):
                await call()


def operations(provider):
    async def outputs():
        batch = await provider.retrieve_batch("1", PLAIN)
        for file in await provider.outputs(batch):
            async with file.open() as content:
                async for _ in content.chunks:
                    pass

    async def content(file_id):
        async with provider.file_content(file_id, PLAIN) as stream:
            async for _ in stream.chunks:
                pass

    model = "gemini-2.5-flash" if provider.name == "vertex_ai" else "gpt-4o-mini"
    return [
        lambda: provider.retrieve_file("gs://b/o", PLAIN),
        lambda: provider.list_files(purpose=None, after=None, limit=2, order=None, options=PLAIN),
        lambda: provider.delete_file("vertex-output-1", PLAIN),
        lambda: provider.create_file(upload_of(lines_of(1, model)), PLAIN),
        lambda: provider.create_batch(BatchRequest("gs://b/o", "/v1/chat/completions", model="m"), PLAIN),
        lambda: provider.list_batches(after="1", limit=2, options=PLAIN),
        lambda: provider.cancel_batch("1", PLAIN),
        outputs,
        lambda: content("vertex-error-1"),
    ]


async def test_lists_that_lead_in_circles_end():
    """Cloud Storage's and Vertex AI's tokens; OpenAI's cursors are checked by `rounds.list_polling`."""
    factory = PROVIDERS["vertex_ai"]
    page = {"items": [], "batchPredictionJobs": [], "nextPageToken": "again"}
    async with serving(always(Answer(body=json.dumps(page).encode()))) as url:
        given = {"token": "t" * 9, "project": "p", "bucket": "b", "api_base": url, "storage_base": url}
        provider = factory("v", factory.Settings(**given))
        with pytest.raises(errors.APIResponseError, match="leads in a circle"):
            await provider.list_files(purpose=None, after=None, limit=2, order=None, options=PLAIN)
        with pytest.raises(errors.APIResponseError, match="leads in a circle"):
            await provider.list_batches(after="1", limit=2, options=PLAIN)
        await provider.aclose()


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("whsec_", "less than 8 bytes"),
        ("whsec_====", "less than 8 bytes"),
        ("whsec_!!!", "without base64"),
        (" ", "empty"),
    ],
)
def test_a_webhook_secret_that_is_none_is_refused(secret, said):
    factory = PROVIDERS["openai"]
    with pytest.raises(ValueError, match=said):
        factory.Settings(webhook_secrets=[secret])


ECHO = "AuthenticationFailed: sr=c&sig=S3cret%2BSig%3D and https://a.blob/x?sv=1&amp;sig=S3cret%2BSig%3D&se=2"


@pytest.mark.parametrize("way", ["status", "batch", "list"])
async def test_an_echoed_signature_is_not_kept(way):
    """Azure quotes the URL of an input blob with its signature, in errors and in batches."""
    body = {"id": "b", "status": "failed", "errors": {"data": [{"code": "x", "message": ECHO}]}, "output_folder": ECHO}
    answer = {"status": {"error": {"message": ECHO}}, "batch": body, "list": {"data": [body]}}[way]
    factory = PROVIDERS["azure"]
    async with serving(always(Answer(400 if way == "status" else 200, json.dumps(answer).encode()))) as url:
        provider = factory("azure", factory.Settings(endpoint=url, api_key="k" * 9))
        try:
            if way == "list":
                seen = repr(await provider.list_batches(after=None, limit=None, options=PLAIN))
            else:
                seen = repr(await provider.retrieve_batch("b", PLAIN))
        except errors.BadRequestError as error:
            seen = f"{error!r} {error} {error.body} {error.content!r}"
        await provider.aclose()
    assert "S3cret" not in seen
    assert "sig=[redacted]" in seen
