"""Connections: a create never goes over one that its server may just be closing."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from batchmeter import errors

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def closing_after_one_request():
    """A server that announces keep-alive and hangs up at a connection's second request. Yields its url and its lines."""
    lines: list[str] = []

    async def serve(reader, writer):
        try:
            lines.append((await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")[0])
            writer.write(ANSWER)
            await writer.drain()
            await reader.read(10)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines


async def test_create_goes_over_a_connection_of_its_own(connect):
    async with closing_after_one_request() as (url, lines):
        client = connect(url, max_retries=0)
        await client.request("GET", "batches")
        await client.request("POST", "batches", retry="create")
        await client.request("POST", "batches", retry="create")
        assert [line.split()[0] for line in lines] == ["GET", "POST", "POST"]
        with pytest.raises(errors.APIConnectionError):
            await client.request("POST", "files", retry="never")
