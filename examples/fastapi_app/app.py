"""A FastAPI app that submits batches, follows them itself, and serves batchmeter's proxy beside its own routes.

    pip install 'batchmeter[proxy]' fastapi uvicorn openai
    OPENAI_API_KEY=sk-… uvicorn app:app

Nothing runs beside it: the lifespan tracks. With several workers, each tracks: batches are claimed by lease.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, UploadFile

import batchmeter
from batchmeter_proxy import create_app

meter = batchmeter.AsyncClient()
"""One client in the app's own loop, for the routes below, the tracker and the proxy."""

endings: deque[dict[str, str]] = deque(maxlen=100)


@batchmeter.on("batch_success", "batch_failure")
async def remember(event: batchmeter.BatchSucceeded | batchmeter.BatchFailed) -> None:
    """Tell whoever waits: here a list, in your app a queue, a row or a message."""
    cost = "unknown" if event.cost.total is None else f"{event.cost.total:f}"
    endings.append({"batch": event.batch_id, "status": event.status, "usd": cost, "user": event.attribution.user or ""})


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with batchmeter.tracking(meter):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/llm", create_app(meter))
"""Any OpenAI client with `base_url="http://…/llm/v1"` goes through batchmeter."""


@app.post("/jobs/{user}")
async def submit(user: str, requests: UploadFile) -> dict[str, str]:
    """A JSONL of chat requests, charged to a user."""
    file = await meter.files.create(file=requests)
    batch = await meter.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", attribution={"user": user}
    )
    return {"batch": batch.id, "status": batch.status}


@app.get("/jobs/{batch_id}/cost")
async def cost(batch_id: str) -> batchmeter.Cost:
    """From the ledger alone."""
    settlement = await meter.batches.settlement(batch_id)
    if settlement is None:
        raise HTTPException(404, f"{batch_id} is open or unknown")
    return settlement.cost


@app.get("/endings")
async def latest() -> list[dict[str, str]]:
    return list(endings)
