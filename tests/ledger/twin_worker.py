"""One of two processes that do the same at one moment: each line of its input is a call, whose result it prints."""

import asyncio
import json
import sys
from typing import Any

import batchmeter
from batchmeter import AsyncClient
from batchmeter.faces.client import AsyncClient as Client


async def retry(client: Client, batch_id: str, only: list[str]) -> list[Any]:
    done = await client.batches.retry(batch_id, only=only)
    return [done.batch.id, done.batch.input_file_id, done.requests]


async def create(client: Client, file_id: str, key: str) -> list[Any]:
    batch = await client.batches.create(
        input_file_id=file_id, endpoint="/v1/chat/completions", idempotency_key=key, attribution={"team": key}
    )
    return [batch.id, batch.input_file_id]


async def run(client: Client, text: str) -> list[Any]:
    results = await batchmeter.arun([text], model="gpt-5-mini", using=client)
    return [results.batch.id, results.batch.input_file_id, results.texts]


async def job(client: Client, path: str) -> list[Any]:
    made = await client.batches.create_many(path, "/v1/chat/completions")
    (batch,) = made.batches
    return [batch.id, batch.input_file_id]


CALLS = {call.__name__: call for call in (retry, create, run, job)}


def tell(result: Any) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def main(ledger: str, url: str) -> None:
    accounts = {"openai": {"api_key": "sk-test", "api_base": url}}
    async with AsyncClient(ledger=ledger, accounts=accounts, track=False) as client:
        tell("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, *given = json.loads(line)
            tell(await CALLS[name](client, *given))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
