"""The HTTP client: what it sends by itself, whose library it uses, and how small it stays."""

import asyncio
import sys
import traceback

import httpx
import httpx2
import pytest
from tests.warm_python import WARM

from batchmeter import __version__, errors
from batchmeter.http import HttpClient
from batchmeter.testing.wire import HANG_UP, Answer, Received, Script, serving


async def test_the_library_is_the_one_asked_for(library, connect):
    client = connect("http://127.0.0.1:1", max_retries=0)
    with pytest.raises(errors.APIConnectionError) as caught:
        await client.request("GET", "files")
    assert type(caught.value.__cause__).__module__.partition(".")[0] == library


async def test_another_library_is_refused_by_name(monkeypatch, connect):
    monkeypatch.setenv("BATCHMETER_HTTP", "requests")
    with pytest.raises(errors.ConfigError, match="BATCHMETER_HTTP is 'requests'; it can be 'httpx' or 'httpx2'"):
        await connect("http://127.0.0.1:1").request("GET", "files")


async def test_headers_and_parameters_of_account_and_call(connect):
    script = Script([Answer(body=b"{}")])
    async with serving(script) as url:
        client = connect(f"{url}/v1/", headers={"OpenAI-Project": "p"}, params={"api-version": "2024-10-21"})
        await client.request("GET", "/files", params={"limit": 5, "after": None}, headers={"X-Mine": "1"})
    (request,) = script.received
    assert request.target == "/v1/files?api-version=2024-10-21&limit=5"
    assert request.headers["user-agent"] == f"batchmeter/{__version__}"
    assert request.headers["openai-project"] == "p"
    assert request.headers["x-mine"] == "1"
    assert "x-stainless-lang" not in request.headers


@pytest.mark.parametrize("owner", [httpx, httpx2])
class TestTheCallersOwnClient:
    async def test_it_is_used_and_left_open(self, owner, connect):
        script = Script([Answer(body=b"{}")])
        async with serving(script) as url, owner.AsyncClient(headers={"x-mine": "yes"}) as mine:
            client = connect(url, client=mine)
            await client.request("GET", "files")
            await client.aclose()
            assert not mine.is_closed
        assert script.received[0].headers["x-mine"] == "yes"

    async def test_its_exceptions_are_understood(self, owner, connect, naps):
        async with serving(Script([HANG_UP, Answer(body=b"{}")])) as url, owner.AsyncClient() as mine:
            await connect(url, client=mine).request("GET", "files")
        assert len(naps) == 1

    async def test_its_timeouts_are_understood(self, owner, connect):
        never = asyncio.Event()
        async with serving(Script([Answer(after=never)])) as url, owner.AsyncClient() as mine:
            with pytest.raises(errors.APITimeoutError):
                await connect(url, client=mine, max_retries=0, timeout=0.05).request("GET", "files")
            never.set()

    async def test_its_transport_may_be_in_process(self, owner):
        transport = owner.MockTransport(lambda request: owner.Response(200, json={"path": request.url.path}))
        async with owner.AsyncClient(transport=transport) as mine:
            answer = await HttpClient("http://nowhere/v1", client=mine).request("GET", "files")
        assert answer.json() == {"path": "/v1/files"}

    async def test_its_answers_may_be_whole_already(self, owner):
        transport = owner.MockTransport(lambda request: owner.Response(200, content=b"lines"))
        async with (
            owner.AsyncClient(transport=transport) as mine,
            HttpClient("http://nowhere", client=mine).stream("GET", "f") as response,
        ):
            assert [chunk async for chunk in response.chunks] == [b"lines"]

    async def test_its_transport_may_not_count(self, owner):
        async def short():
            yield b"lin"

        headers = {"content-length": "5"}
        transport = owner.MockTransport(lambda request: owner.Response(200, headers=headers, content=short()))
        async with owner.AsyncClient(transport=transport) as mine:
            with pytest.raises(errors.APIResponseError, match="sent 3 of 5 bytes and then stopped"):
                async with HttpClient("http://nowhere", client=mine).stream("GET", "f") as response:
                    [chunk async for chunk in response.chunks]

    async def test_its_own_headers_stay_secret_too(self, owner):
        async with serving(Script([Answer()])) as url, owner.AsyncClient(headers={"x-key": "secret-0123\n"}) as mine:
            with pytest.raises(errors.APIConnectionError, match="LocalProtocolError") as caught:
                await HttpClient(url, client=mine, max_retries=0).request("GET", "f")
        assert "secret-0123" not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__cause__ is None

    async def test_it_has_to_be_async(self, owner):
        with owner.Client() as mine, pytest.raises(errors.ConfigError, match="http_client is a Client"):
            await HttpClient("http://nowhere", client=mine).request("GET", "f")


async def test_half_a_character_goes_out_as_its_escape(connect):
    script = Script([Answer(body=b"{}")] * 2)
    async with serving(script) as url:
        client = connect(url)
        for text in ("ä 😀", "cut \ud83d"):
            await client.request("POST", "batches", json_body={"metadata": {"note": text}})
    whole, half = script.received
    assert whole.body == '{"metadata":{"note":"ä 😀"}}'.encode()
    assert half.body == b'{"metadata":{"note":"cut \\ud83d"}}'


async def test_no_more_than_sixteen_connections(connect):
    gate, busy, most = asyncio.Event(), 0, 0

    async def handler(request):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        if busy == 16:
            gate.set()
        await gate.wait()
        busy -= 1
        return Answer(body=b"{}")

    async with serving(handler) as url:
        client = connect(url)
        await asyncio.gather(*(client.request("GET", "batches/b") for _ in range(40)))
    assert most == 16


async def test_a_closed_client_can_be_used_again(connect):
    async with serving(Script([Answer(body=b"{}")])) as url:
        client = connect(url)
        await client.request("GET", "files")
        await client.aclose()
        assert (await client.request("GET", "files")).status_code == 200


async def test_what_is_under_way_when_a_client_is_closed_comes_to_its_end(connect):
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Received) -> Answer:
        arrived.set()
        return Answer(body=b"{}", after=answer)

    async with serving(slow) as url:
        client = connect(url)
        request = asyncio.create_task(client.request("GET", "files"))
        await arrived.wait()
        await client.aclose()
        pool = client._left[0]
        answer.set()
        assert (await request).status_code == 200
        assert pool.is_closed


FIRST = """
import asyncio, sys, threading
from batchmeter.http import HttpClient
from batchmeter.errors import APIConnectionError

def imported(event, arguments):
    if event == "import" and threading.current_thread() is threading.main_thread() and asking:
        late.append(arguments[0])

late, asking = [], []
sys.addaudithook(imported)

async def main():
    asking.append(True)
    try:
        await HttpClient("http://127.0.0.1:1", max_retries=0).request("GET", "files")
    except APIConnectionError:
        asking.clear()
        print(*late)

asyncio.run(main())
"""


async def test_nothing_is_imported_on_the_event_loop(library, monkeypatch):
    """An import would hold up everybody else's work, for 30 ms."""
    monkeypatch.setenv("BATCHMETER_HTTP", library)
    process = await asyncio.create_subprocess_exec(WARM, "-c", FIRST, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    ours = {"batchmeter", *sys.stdlib_module_names}
    assert not [name for name in out.decode().split() if name.partition(".")[0] not in ours]


async def test_importing_http_imports_no_http_library():
    code = "import batchmeter.http, sys; print({'httpx', 'httpx2', 'ssl'} & set(sys.modules))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert b"httpx" not in out


def test_every_name_of_the_package_is_there():
    """Names are imported when first used: one whose file has moved would fail only then."""
    from batchmeter import http

    assert [name for name in http.__all__ if not hasattr(http, name)] == []
