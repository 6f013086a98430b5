"""run and arun: write the input file, submit it once however often it is asked, wait, and read the answers."""

import asyncio
from collections.abc import Mapping
from typing import Any

from batchmeter import api
from batchmeter.client import AsyncClient
from batchmeter.models import Attribution
from batchmeter.sync import Client

from .job import Job
from .requests import Lines, Requests
from .results import Results
from .written import write

GOES_ON = "the batch goes on; the same call waits for it again"


def run(
    requests: Requests,
    *,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str = "/v1/chat/completions",
    body: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    completion_window: str = "24h",
    attribution: Attribution | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
    again: bool = False,
    using: Client | None = None,
    **account_settings: Any,
) -> Results:
    """Run these requests as one batch; the answers by custom_id, with what they cost.

    `requests`: a list, generator, dict or data frame of texts, messages, bodies, or dicts with `custom_id`; `body` is
    what they all share. `provider` names the account. The same call finds the same batch: interrupt it, call it again,
    and it waits on, or returns what has ended; `again=True` submits anew. `timeout` (seconds) ends the waiting only.
    `progress` None shows a bar on a terminal or in a notebook. Raises InvalidInputError before anything is sent.
    """
    job = Job(
        endpoint, model, provider, metadata, completion_window, attribution, timeout, progress, again, account_settings
    )
    engine = api.engine if using is None else using.engine
    with write(requests, Lines(endpoint, model, body or {}), engine.call(job.limits)) as written:
        try:
            return engine.call(lambda client: job.run(client, written))
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(GOES_ON)
            raise


async def arun(
    requests: Requests,
    *,
    model: str | None = None,
    provider: str | None = None,
    endpoint: str = "/v1/chat/completions",
    body: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    completion_window: str = "24h",
    attribution: Attribution | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    progress: bool | None = None,
    again: bool = False,
    using: AsyncClient | None = None,
    **account_settings: Any,
) -> Results:
    """As `run`. The requests are read in a thread; cancelled, it leaves the batch for the same call to come."""
    job = Job(
        endpoint, model, provider, metadata, completion_window, attribution, timeout, progress, again, account_settings
    )
    limits = await (api.engine.acall(job.limits) if using is None else job.limits(using))
    with await asyncio.to_thread(write, requests, Lines(endpoint, model, body or {}), limits) as written:
        if using is not None:
            return await job.run(using, written)
        return await api.engine.acall(lambda client: job.run(client, written))
