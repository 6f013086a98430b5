"""Connections that send nothing, or half a request, are closed and leave their places to others."""

import socket

import httpx2
import pytest
from tests.proxy.served import serving

from batchmeter.errors import UsageError
from batchmeter.testing.sandbox import sandbox_thread
from batchmeter_proxy import server

SETTINGS = """
[proxy]
connections = 8
idle_seconds = 0.3
"""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("connections")
    (folder / "batchmeter.toml").write_text(SETTINGS)
    with sandbox_thread() as sandbox, serving(sandbox.url, folder, BATCHMETER_PLUGINS="") as (url, _):
        yield url


def test_idle_connections_leave_their_places(proxy):
    """Connections that send nothing, half a request, or a whole one and no other."""
    host, port = proxy.removeprefix("http://").split(":")
    texts = (b"", b"GET /v1/models HT", b"GET /health/liveliness HTTP/1.1\r\nHost: x\r\n\r\n")
    idle = [socket.create_connection((host, int(port)), timeout=20) for _ in range(5 * len(texts))]
    try:
        for number, one in enumerate(idle):
            one.sendall(texts[number % len(texts)])
        assert httpx2.get(f"{proxy}/v1/models", timeout=20).status_code == 200
        for one in idle:
            while one.recv(65536):
                pass
    finally:
        for one in idle:
            one.close()


def test_more_connections_than_files_may_be_open_are_cut(monkeypatch, caplog):
    import resource

    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert server._room(4096, 1) == 1000 - 128
    assert asked == [(1000, 1000)]
    assert "each worker serves 872 connections, not 4096" in caplog.text
    assert server._room(500, 1) == 500
    assert server._room(4096, 6) == 1000 - 128 - 5 * 24
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    with pytest.raises(UsageError, match="may open 40 files, and a server needs 64: ulimit -n"):
        server._room(4096, 1)


async def test_who_shows_no_good_key_is_answered_once(caller):
    """The connection's place goes back to those with keys."""
    ada = await caller(owner="ada")
    wrong = {"authorization": "Bearer bm-wrong"}
    for path in ("/health/liveliness", "/health/readiness", "/docs", "/openapi.json", "/nonsense", "/v1/files"):
        assert (await ada.http.get(path, headers=wrong)).headers["connection"] == "close", path
    assert (await ada.http.put("/v1/files", headers=wrong)).headers["connection"] == "close"
    assert (await ada.http.post("/webhooks/openai", headers=wrong)).headers["connection"] == "close"
    for path in ("/v1/files", "/v1/files/file-none"):
        assert "connection" not in (await ada.get(path)).headers, path
