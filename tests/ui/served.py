"""The pages behind a real server in this process, so that tests see what it holds."""

import asyncio
import socket
from contextlib import asynccontextmanager

import granian.constants
from granian.server.embed import Server

from batchmeter_proxy import create_app


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@asynccontextmanager
async def served(client, app=None):
    """Its address."""
    port = free_port()
    interface = granian.constants.Interfaces.ASGINL
    server = Server(app or create_app(client), address="127.0.0.1", port=port, interface=interface)
    task = asyncio.create_task(server.serve())
    try:
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        await task


async def until(condition, seconds=20):
    """Returns when it holds; fails after a long time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the server does tells nobody
            await asyncio.sleep(0.01)
