"""Bodies stream both ways, whole or not at all."""

import gzip
import hashlib
import importlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmeter import errors
from batchmeter.http import Body, multipart
from batchmeter.http.messages import gunzip
from batchmeter.testing.wire import Answer, Script, serving

LINE = b'{"custom_id": "r-1"}\n'


def body_of(*chunks, size=None, content_type="application/jsonl"):
    async def passing():
        for chunk in chunks:
            yield chunk

    return Body(passing, content_type, size)


async def whole(body):
    return b"".join([chunk async for chunk in body.open()])


async def test_a_form_goes_out_as_the_sdk_sends_it(connect):
    script = Script([Answer(body=b"{}")])
    form = multipart({"purpose": "batch"}, 'a "b".jsonl', "application/jsonl", body_of(LINE, LINE, size=2 * len(LINE)))
    async with serving(script) as url:
        await connect(url).request("POST", "files", body=form)
    (request,) = script.received
    boundary = request.headers["content-type"].partition("boundary=")[2]
    assert request.headers["content-length"] == str(len(request.body)) == str(form.size)
    assert "transfer-encoding" not in request.headers
    assert (
        request.body
        == (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a %22b%22.jsonl"\r\n'
            f"Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        + LINE
        + LINE
        + f"\r\n--{boundary}--\r\n".encode()
    )


async def test_a_form_of_unknown_length_goes_out_in_chunks(connect):
    script = Script([Answer(body=b"{}")])
    async with serving(script) as url:
        await connect(url).request("POST", "files", body=multipart({}, "a.jsonl", "text/plain", body_of(LINE)))
    (request,) = script.received
    assert request.headers["transfer-encoding"] == "chunked"
    assert LINE in request.body


@given(st.lists(st.binary(max_size=200)), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3))
async def test_a_form_is_as_long_as_it_says(chunks, fields):
    form = multipart(fields, "a.jsonl", "text/plain", body_of(*chunks, size=sum(map(len, chunks))))
    sent = await whole(form)
    assert len(sent) == form.size
    assert b"".join(chunks) in sent


@pytest.mark.parametrize(("size", "said"), [(30, "came to 21 bytes, but 30"), (5, "more than 5 bytes, but 5")])
@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: multipart({}, "a", "text/plain", body)])
async def test_a_body_of_another_length_than_declared_is_the_callers_error(size, said, wrap, connect, naps):
    async with serving(Script([Answer(body=b"{}")])) as url:
        with pytest.raises(errors.UsageError, match=said):
            await connect(url).request("POST", "files", body=wrap(body_of(LINE, size=size)))
    assert naps == []


class DiskError(OSError):
    pass


@pytest.mark.parametrize("failure", [DiskError("unplugged"), errors.APIConnectionError("the upstream broke")])
async def test_what_a_body_raises_comes_through_unchanged_and_is_not_retried(failure, connect, naps):
    closed = []

    async def breaking():
        try:
            yield LINE
            raise failure
        finally:
            closed.append(True)

    async with serving(Script([Answer(body=b"{}")])) as url:
        with pytest.raises(type(failure)) as caught:
            await connect(url).request("POST", "files", body=Body(breaking, "text/plain"))
    assert caught.value is failure
    assert closed == [True]
    assert naps == []


async def test_a_download_arrives_in_chunks_with_its_size(connect):
    content = b"0123456789abcdef" * 20_000
    answer = Answer(206, content, {"content-range": "bytes 0-319999/400000"})
    async with serving(Script([answer])) as url, connect(url).stream("GET", "files/f/content") as response:
        sizes, digest = [], hashlib.sha256()
        async for chunk in response.chunks:
            sizes.append(len(chunk))
            digest.update(chunk)
    assert (response.status_code, response.size) == (206, len(content))
    assert response.headers["content-range"] == "bytes 0-319999/400000"
    assert digest.digest() == hashlib.sha256(content).digest()
    assert max(sizes) <= 64 * 1024


async def test_gzip_on_the_way_is_undone(connect):
    packed = gzip.compress(LINE * 100)
    answer = Answer(body=packed, headers={"content-encoding": "gzip"})
    async with serving(Script([answer])) as url, connect(url).stream("GET", "files/f/content") as response:
        got = b"".join([chunk async for chunk in response.chunks])
    assert got == LINE * 100
    assert response.size is None


@pytest.mark.parametrize("missing", [1, 8, 2000, 199_000])
async def test_gzip_without_its_end_raises(connect, missing):
    """Though HTTP's own framing is whole, as when a proxy on the way lost its upstream."""
    packed = gzip.compress(random.Random(1).randbytes(200_000))
    answer = Answer(body=packed[:-missing], headers={"content-encoding": "gzip"})
    async with serving(Script([answer])) as url:
        with pytest.raises(errors.APIResponseError, match="broke off"):
            async with connect(url).stream("GET", "files/f/content") as response:
                [chunk async for chunk in response.chunks]


@pytest.mark.parametrize("tail", [b"", gzip.compress(LINE * 3), b"\0" * 100], ids=["nothing", "member", "zeros"])
@pytest.mark.parametrize("size", [0, 1, 30_000])
async def test_gzip_of_any_size_in_any_pieces(tail, size):
    content = LINE * size
    packed = gzip.compress(content) + tail

    async def pieces(length):
        for start in range(0, len(packed), length):
            yield packed[start : start + length]

    for length in (7, 1000, len(packed)):
        got = [chunk async for chunk in gunzip(pieces(length), "here")]
        assert b"".join(got) == content + (LINE * 3 if tail[:1] == b"\x1f" else b"")
        assert max(map(len, got), default=0) <= 64 * 1024


async def test_gzip_that_was_read_already(connect, library):
    """As an event hook of one's own httpx client does."""

    async def read(response):
        await response.aread()

    packed = Answer(body=gzip.compress(LINE), headers={"content-encoding": "gzip"})
    async with (
        importlib.import_module(library).AsyncClient(event_hooks={"response": [read]}) as own,
        serving(Script([packed])) as url,
        connect(url, client=own).stream("GET", "f") as response,
    ):
        assert b"".join([chunk async for chunk in response.chunks]) == LINE


async def test_gzip_of_nothing(connect):
    empty = Script([Answer(headers={"content-encoding": "gzip"})])
    async with serving(empty) as url, connect(url).stream("GET", "f") as response:
        assert [chunk async for chunk in response.chunks] == []


async def test_gzip_that_is_not_gzip(connect):
    async with serving(Script([Answer(body=LINE, headers={"content-encoding": "gzip"})])) as url:
        with pytest.raises(errors.APIResponseError):
            async with connect(url).stream("GET", "files/f/content") as response:
                [chunk async for chunk in response.chunks]


async def test_a_range_asks_for_plain_bytes(connect):
    script = Script([Answer(206, b"ab")])
    async with serving(script) as url, connect(url).stream("GET", "f", headers={"Range": "bytes=0-1"}) as response:
        [chunk async for chunk in response.chunks]
    assert script.received[0].headers["range"] == "bytes=0-1"
    assert script.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("answer", [Answer(body=LINE, length=1000), Answer(body=LINE, length=1000, chunked=True)])
async def test_a_download_that_breaks_off_raises(answer, connect):
    got = b""
    async with serving(Script([answer])) as url:
        with pytest.raises((errors.APIConnectionError, errors.APIResponseError)):  # noqa: PT012 - where, the transport says
            async with connect(url).stream("GET", "files/f/content") as response:
                async for chunk in response.chunks:
                    got += chunk
    assert LINE.startswith(got)


async def test_a_download_left_early_gives_its_connection_back(connect):
    script = Script([Answer(body=b"x" * 1_000_000)])
    async with serving(script) as url:
        client = connect(url)
        for _ in range(20):  # more than the pool holds
            async with client.stream("GET", "f") as response:
                async for _ in response.chunks:
                    break
    assert len(script.received) == 20


async def test_the_caller_own_error_inside_a_stream_is_left_alone(connect):
    async with serving(Script([Answer(body=LINE)])) as url:
        with pytest.raises(DiskError):
            async with connect(url).stream("GET", "f"):
                raise DiskError


async def test_json_goes_out_compact_and_in_utf8(connect):
    script = Script([Answer(body=b"{}")])
    async with serving(script) as url:
        await connect(url).request("POST", "batches", json_body={"metadata": {"tëam": "søk"}})
    assert script.received[0].body == '{"metadata":{"tëam":"søk"}}'.encode()
    assert json.loads(script.received[0].body)["metadata"] == {"tëam": "søk"}
