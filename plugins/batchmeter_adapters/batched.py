"""Calls of an OpenAI client as the lines of a batch: each waits for its answer, and knows nothing of the others.

A framework makes its requests as ever, by an HTTP client of ours. Inside `gather` that client holds them until every call
waits for one, then they are one batch. An agent that calls tools goes on with its answer and waits again: the next round.
"""

import asyncio
import json
import os
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Generic, TypeVar, cast

import httpx

import batchmeter
from batchmeter.errors import UsageError

Result = TypeVar("Result")

LINGER = 0.05
"""Seconds after the last call began to wait: a call may make several requests side by side."""
ENDPOINTS = ("/chat/completions", "/responses", "/embeddings", "/completions", "/moderations")
_OK, _REFUSED = 200, 400


class Answers(list[Result], Generic[Result]):
    """The calls' results in their order, and what they cost together."""

    def __init__(self, found: Iterable[Result], rounds: "Sequence[batchmeter.Results]") -> None:
        super().__init__(found)
        self.rounds = tuple(rounds)
        """The batches' own results, one a round and endpoint."""

    @property
    def cost(self) -> Decimal | None:
        """USD; None as soon as the cost of one answer is unknown."""
        totals = [one.cost.total for one in self.rounds]
        return None if None in totals else sum(cast("list[Decimal]", totals), Decimal(0))


async def gather(
    calls: Iterable[Coroutine[Any, Any, Result]], *, return_exceptions: bool = False, **options: Any
) -> Answers[Result]:
    """Run these calls at once, their model requests as batches. `options` are those of `batchmeter.arun`: `provider`, …

    The same calls find the same batches: interrupted, it waits on when it is called again. A failure of a batch is raised
    here; an error of one request is raised in its call, as the client's own error (`BadRequestError`), and
    `return_exceptions` gives it in the call's place.
    """
    rounds = Rounds(options)
    tasks: list[asyncio.Task[Result]] = []
    for number, call in enumerate(calls):
        context = copy_context()
        context.run(_CALL.set, (rounds, number))
        rounds.open.add(number)
        tasks.append(asyncio.create_task(call, context=context))
    for number, task in enumerate(tasks):
        task.add_done_callback(partial(rounds.end, number))
    try:
        found = asyncio.gather(*tasks, return_exceptions=return_exceptions)
        either: set[asyncio.Future[Any]] = {found, rounds.failure}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if rounds.failure.done():
            found.cancel()
            await asyncio.gather(found, *tasks, return_exceptions=True)
            rounds.failure.result()
        return Answers(cast("list[Result]", await found), rounds.results)
    finally:
        await rounds.close(tasks)


def api_key() -> str:
    """The framework's client wants one; a batch is sent with its account's own."""
    return os.environ.get("OPENAI_API_KEY") or "not-used-in-a-batch"


def run(calls: Coroutine[Any, Any, Result]) -> Result:
    """From code without a loop; inside a running one (a notebook), in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(calls)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, calls).result()


def http_client() -> httpx.AsyncClient:
    """For `AsyncOpenAI(http_client=…)` and whatever takes one. Outside `gather` its requests go over the network as ever."""
    return httpx.AsyncClient(transport=_Transport())


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self) -> None:
        self._network = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call = _CALL.get()
        endpoint = next((one for one in ENDPOINTS if request.url.path.endswith(one)), None)
        if call is None or endpoint is None or request.method != "POST":
            return await self._network.handle_async_request(request)
        rounds, number = call
        return await rounds.ask(number, f"/v1{endpoint}", json.loads(await request.aread()))

    async def aclose(self) -> None:
        await self._network.aclose()


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request that waits for its answer."""

    custom_id: str
    endpoint: str
    body: dict[str, Any]
    answer: "asyncio.Future[httpx.Response]"


@dataclass
class Rounds:
    """The batches of one `gather`."""

    options: dict[str, Any]
    open: set[int] = field(default_factory=set[int])
    """Calls that have not ended."""
    results: "list[batchmeter.Results]" = field(default_factory=list["batchmeter.Results"])
    failure: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _waiting: dict[int, list[_Ask]] = field(default_factory=dict[int, list[_Ask]])
    _turns: dict[int, int] = field(default_factory=dict[int, int])
    _timer: asyncio.TimerHandle | None = None
    _running: "set[asyncio.Task[None]]" = field(default_factory=set["asyncio.Task[None]"])

    async def ask(self, number: int, endpoint: str, body: dict[str, Any]) -> httpx.Response:
        """Ids follow from the calls' order: the same calls make the same file, and so find the same batch."""
        if body.get("stream"):
            self._fail(UsageError("a batch cannot stream its answers: turn streaming off for calls in `gather`"))
        turn = self._turns[number] = self._turns.get(number, 0) + 1
        answer: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(number, []).append(_Ask(f"call-{number}-{turn}", endpoint, body, answer))
        self._look()
        return await answer

    def end(self, number: int, _task: object = None) -> None:
        self.open.discard(number)
        self._look()

    async def close(self, tasks: "Sequence[asyncio.Task[Any]]") -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = [task for task in (*tasks, *self._running) if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self.failure.done():
            self.failure.exception()  # or asyncio would log that nobody saw it

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting and self.open <= self._waiting.keys():
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._flush)

    def _flush(self) -> None:
        asks = [ask for number in sorted(self._waiting) for ask in self._waiting[number]]
        self._waiting.clear()
        for endpoint in dict.fromkeys(ask.endpoint for ask in asks):
            same = [ask for ask in asks if ask.endpoint == endpoint]
            task = asyncio.create_task(self._answer(endpoint, same))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, endpoint: str, asks: Sequence[_Ask]) -> None:
        try:
            found = await batchmeter.arun({ask.custom_id: ask.body for ask in asks}, endpoint=endpoint, **self.options)
        except Exception as error:  # noqa: BLE001 - raised by `gather`: the framework's client would try again
            self._fail(error)
            return
        self.results.append(found)
        for ask in asks:
            if not ask.answer.done():
                ask.answer.set_result(_response(found[ask.custom_id]))

    def _fail(self, error: Exception) -> None:
        if not self.failure.done():
            self.failure.set_exception(error)


_CALL: ContextVar[tuple[Rounds, int] | None] = ContextVar("batchmeter_call", default=None)
"""The call that this code runs in."""


def _response(result: "batchmeter.Result") -> httpx.Response:
    """A line's error is for its call to raise, and not to try again: that would be another batch."""
    if result.error is None:
        return httpx.Response(_OK, json=result.body)
    return httpx.Response(_REFUSED, json={"error": result.error}, headers={"x-should-retry": "false"})
