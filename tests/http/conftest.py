"""Every HTTP test runs over httpx and over httpx2."""

import contextlib

import pytest

from batchmeter.http import HttpClient


@pytest.fixture(params=["httpx", "httpx2"])
def library(request, monkeypatch):
    monkeypatch.setenv("BATCHMETER_HTTP", request.param)
    return request.param


@pytest.fixture
def naps():
    """The seconds a client would have slept between its tries."""
    return []


@pytest.fixture
async def connect(naps, library):
    """`connect(url, **settings)`: a client that notes its naps instead of taking them, closed at the end."""

    async def nap(seconds):
        naps.append(seconds)

    async with contextlib.AsyncExitStack() as stack:

        def make(url, **settings):
            client = HttpClient(url, **{"sleep": nap, **settings})
            stack.push_async_callback(client.aclose)
            return client

        yield make
