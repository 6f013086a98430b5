"""`batchmeter serve` as a process of its own: curl and the sync SDK as users run them, workers, signals, lost clients."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as specs
from tests.heavy import HEAVY, heavy
from tests.warm_python import WARM

import openai
from batchmeter.access import Access
from batchmeter.ledger import open_ledger
from batchmeter.testing.sandbox import sandbox_thread
from batchmeter_proxy.keyring import Keyring
from batchmeter_proxy.keys import create_key

from .served import serving

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def sandbox():
    with sandbox_thread() as served:
        yield served


@pytest.fixture(scope="module")
def proxy(sandbox, tmp_path_factory):
    """One for all tests here; its batches end in a moment."""
    patch = pytest.MonkeyPatch()
    patch.setenv("BATCHMETER_PLUGINS", "")
    with serving(sandbox.url, tmp_path_factory.mktemp("served")) as (url, _):
        yield url
    patch.undo()


@pytest.fixture
def sdk(proxy):
    with openai.OpenAI(base_url=f"{proxy}/v1", api_key="sk-1234", max_retries=0) as opened:
        yield opened


def curl(*arguments: str) -> dict:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)


def test_the_documented_curl_calls(proxy, tmp_path, lines):
    key, kind = ("-H", "Authorization: Bearer sk-1234"), ("-H", "Content-Type: application/json")
    (tmp_path / "mydata.jsonl").write_bytes(lines(3))
    file = curl(f"{proxy}/v1/files", *key, "-F", "purpose=batch", "-F", f"file=@{tmp_path}/mydata.jsonl")
    assert (file["purpose"], file["filename"], file["bytes"]) == ("batch", "mydata.jsonl", len(lines(3)))
    asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    batch = curl(f"{proxy}/v1/batches", *key, *kind, "-d", json.dumps(asked))
    assert (batch["object"], batch["input_file_id"]) == ("batch", file["id"])
    again = curl(f"{proxy}/v1/batches/{batch['id']}", *key, *kind)
    assert again["id"] == batch["id"]
    listed = curl(f"{proxy}/v1/batches", *key, *kind)
    assert batch["id"] in [one["id"] for one in listed["data"]]


@pytest.mark.parametrize("count", [2, 6000], ids=["small", "large"])
def test_purpose_may_come_after_the_file(proxy, tmp_path, lines, count):
    (tmp_path / "big.jsonl").write_bytes(lines(count))
    file = curl(f"{proxy}/v1/files", "-F", f"file=@{tmp_path}/big.jsonl", "-F", "purpose=batch")
    assert file["bytes"] == len(lines(count))


def test_the_sync_sdk(sdk, lines):
    file = sdk.files.create(file=("in.jsonl", lines(2500)), purpose="batch")
    batch = sdk.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    while sdk.batches.retrieve(batch.id).status != "completed":
        pass
    done = sdk.batches.retrieve(batch.id)
    with sdk.files.with_streaming_response.content(done.output_file_id) as answer:
        output = b"".join(answer.iter_bytes())
        assert int(answer.headers["content-length"]) == len(output)
    assert output.count(b"\n") == 2500
    assert batch.id in [one.id for one in sdk.batches.list(limit=1)]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.files.create(file=("in.jsonl", lines(2500) + b"oops\n" + lines(1)), purpose="batch")
    problems = caught.value.body["problems"]
    assert [(one["line"], one["code"]) for one in problems] == [
        (2501, "invalid_json_line"),
        (2502, "duplicate_custom_id"),
    ]


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


@pytest.mark.skipif(
    not HEAVY, reason="starts Node: set BATCHMETER_HEAVY=1; curl and the sync SDK are asked here always"
)
def test_openai_node(proxy, tmp_path, lines):
    modules = Path(__file__).parents[2] / ".cache" / "emulators" / "openai-node" / "node_modules"
    node = shutil.which("node")
    if node is None or not (modules / "openai").exists():
        pytest.skip("openai-node is not installed: run .ci/emulators.sh openai-node (it needs npm)")
    (tmp_path / "in.jsonl").write_bytes(lines(2500))
    script = str(Path(__file__).parent / "node_client.mjs")
    command = [node, script, f"{proxy}/v1", str(tmp_path / "in.jsonl"), str(modules / "x.js")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "bytes": len(lines(2500)),
        "metadata": {"run": "node"},
        "lines": 2500,
        "listed": True,
        "files": True,
        "refused": ["NotFoundError", 404, "string"],
        "deleted": True,
    }


def test_headers_have_a_limit(proxy):
    answer = httpx2.get(f"{proxy}/v1/models", headers={"x-long": "x" * 70_000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (431, "headers_too_large")


def test_headers_beyond_the_servers_own_limit_get_its_own_answer(proxy):
    with connected(proxy) as link:
        link.sendall(b"GET /v1/models HTTP/1.1\r\nhost: proxy\r\n" + b"x-many: 1\r\n" * 101 + b"\r\n")
        answer = link.recv(1000).lower()
    assert answer.startswith(b"http/1.1 431")
    assert b"content-length: 0\r\n" in answer


def test_a_download_that_breaks_off_is_not_taken_for_whole(sdk, lines):
    file = sdk.files.create(file=("in.jsonl", lines(3000)), purpose="batch")
    asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    batch = sdk.batches.create(**asked, metadata={"sandbox": "truncate=50"})
    while (done := sdk.batches.retrieve(batch.id)).status != "completed":
        pass
    with pytest.raises(openai.APIConnectionError):
        _ = sdk.files.content(done.output_file_id).content


CHECKS = [
    checks.not_a_server_error,
    specs.status_code_conformance,
    specs.content_type_conformance,
    specs.response_headers_conformance,
    specs.response_schema_conformance,
]


def test_no_request_breaks_it(proxy):
    """schemathesis: what the OpenAPI page allows, and more, is answered as the page says."""
    described = schemathesis.openapi.from_url(f"{proxy}/openapi.json")
    for found in described.get_all_operations():
        cases = found.ok().as_strategy()

        @settings(max_examples=heavy(5, 2), deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=cases)
        def attempt(case):
            case.call_and_validate(checks=CHECKS)

        attempt()


def files_at(sandbox) -> int:
    with openai.OpenAI(base_url=sandbox.url, api_key="k") as direct:
        return len(list(direct.files.list()))


@pytest.mark.parametrize("sent", [0, 100, 400_000], ids=["headers", "form", "file"])
def test_a_client_that_leaves_while_it_uploads_leaves_nothing(proxy, sandbox, lines, sent):
    before = files_at(sandbox)
    head = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
    head += b'Content-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    body = head + lines(10_000)
    with connected(proxy) as left:
        left.sendall(
            b"POST /v1/files HTTP/1.1\r\nhost: proxy\r\ncontent-type: multipart/form-data; boundary=b\r\n"
            b"content-length: %d\r\n\r\n" % (len(body) + 9) + body[:sent]
        )
    with openai.OpenAI(base_url=f"{proxy}/v1", api_key="k", max_retries=0) as sdk:
        sdk.files.create(file=("after.jsonl", lines(1)), purpose="batch")
    assert files_at(sandbox) == before + 1


def test_a_client_that_leaves_while_it_downloads_frees_its_connection(proxy, sdk, lines):
    file = sdk.files.create(file=("in.jsonl", lines(20_000)), purpose="batch")
    for _ in range(20):  # more than an account's pool of connections
        with sdk.files.with_streaming_response.content(file.id) as answer:
            next(answer.iter_bytes(1000))
    assert sdk.files.content(file.id).content == lines(20_000)


async def new_key(folder) -> str:
    ledger = open_ledger(str(folder / "served.db"))
    await ledger.open()
    try:
        return (await create_key(await Keyring.open(Access(ledger)), owner="ada"))[1]
    finally:
        await ledger.aclose()


def welcome(process) -> str:
    """Output after the banner's first line."""
    return process.stdout.readline() + process.stdout.readline()


def test_workers_share_a_ledger(sandbox, tmp_path, lines):
    secret = asyncio.run(new_key(tmp_path))
    with (
        serving(sandbox.url, tmp_path, "--workers", "2") as (url, process),
        openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0) as sdk,
    ):
        assert "OPENAI_API_KEY=YOUR_KEY" in welcome(process)
        file = sdk.files.create(file=("in.jsonl", lines(2)), purpose="batch")

        def submit(_: int) -> str:
            again = {"Idempotency-Key": "only-one"}
            asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
            return sdk.batches.create(**asked, extra_headers=again).id

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(submit, range(8)))) == 1


def test_transfers_are_finished_before_it_stops(sandbox, tmp_path, lines):
    body = lines(100)
    head = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
    head += b'Content-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    whole = head + body + b"\r\n--b--\r\n"
    with serving(sandbox.url, tmp_path) as (url, process):
        assert "OPENAI_API_KEY=any-key" in welcome(process)
        with connected(url) as slow:
            slow.sendall(
                b"POST /v1/files HTTP/1.1\r\nhost: proxy\r\ncontent-type: multipart/form-data; boundary=b\r\n"
                b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(whole)
            )
            assert slow.recv(100).startswith(b"HTTP/1.1 100")  # it is being read
            process.send_signal(signal.SIGTERM)
            slow.sendall(whole)
            answer = b""
            while piece := slow.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200")
        process.wait(timeout=20)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])
def test_it_stays_on_loopback_without_keys(tmp_path, host):
    command = [WARM, "-m", "batchmeter", "serve", "--port", "0", "--host", host]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=30)
    assert (done.returncode, "create a key first" in done.stderr) == (2, True), done.stderr


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [WARM, "-m", "batchmeter", "serve", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=30)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
