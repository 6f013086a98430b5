"""observe and unobserve: a response hook on the httpx or httpx2 client, alone or inside an OpenAI client.

The app sees nothing that the hook does, nor its failures.
"""

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from batchmeter.calls.arguments import attribution_of
from batchmeter.calls.submission import current_traceparent
from batchmeter.errors import UsageError
from batchmeter.faces import api
from batchmeter.faces.client import AsyncClient
from batchmeter.faces.engine import Engine
from batchmeter.faces.sync import Client
from batchmeter.models import Attribution

from .exchange import atake, exchange_of, take
from .record import Host, Notice, Recorder

Observed = TypeVar("Observed")


def observe(
    client: Observed,
    *,
    using: AsyncClient | Client | None = None,
    attribution: Attribution | Mapping[str, Any] | None = None,
) -> Observed:
    """Meter this client's batches; returns the same client.

    Takes any client of the `openai` package, and of httpx or httpx2. A create that succeeds
    is an open batch and an `acreate_batch`; what a retrieve, a list or a cancel shows advances it. Answers and errors
    reach the app as they came; where batchmeter itself fails, that is logged and the call goes on.
    `using` an open client of yours in place of the default one; `attribution` rides on every event.
    """
    http = _http_client(client)
    recorder = Recorder(_host(using), attribution_of(attribution))
    hook = AsyncHook(recorder) if hasattr(http, "aclose") else Hook(recorder)
    # First: a hook of the app's own that raises must not hide a batch that exists.
    _set(http, [hook, *_others(http)])
    return client


def unobserve(client: Observed) -> Observed:
    """Undo `observe`; nothing if it was not observed. What was recorded stays tracked."""
    http = _http_client(client)
    _set(http, _others(http))
    return client


def _http_client(client: object) -> Any:
    """The httpx client itself, or the one inside an OpenAI client, where its own instrumentations find it too."""
    for found in (client, getattr(client, "_client", None)):
        if hasattr(found, "event_hooks") and hasattr(found, "build_request"):
            return found
    raise UsageError(
        f"cannot observe {type(client).__name__}: give a client of the `openai` package, "
        "or a Client or AsyncClient of httpx or httpx2"
    )


def _host(using: AsyncClient | Client | None) -> Host:
    engine: Engine = api.engine
    if using is None:
        return engine
    return using.engine if isinstance(using, Client) else using


def _others(http: Any) -> list[Any]:
    return [hook for hook in http.event_hooks.get("response", ()) if not isinstance(hook, Hook | AsyncHook)]


def _set(http: Any, hooks: list[Any]) -> None:
    http.event_hooks = {**http.event_hooks, "response": hooks}


log = logging.getLogger("batchmeter")


class Hook:
    """For sync clients."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, response: Any) -> None:
        try:
            exchange = exchange_of(response)
            if exchange is None:
                return
            body = take(response)
            if not body:
                return
            notice = Notice(exchange.kind, exchange.request, body, current_traceparent(), exchange.wire)
            future, seconds = self._recorder.tell(notice), self._recorder.patience(notice)
            if seconds and not _is_here(self._recorder.host.loop):
                self._recorder.waited(notice, _finished(future, seconds))
        except Exception as error:  # noqa: BLE001 - the app's call is not ours to fail
            self._recorder.failed(error)


class AsyncHook:
    """For async clients: the app's event loop is never held up."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, response: Any) -> None:
        try:
            exchange = exchange_of(response)
            if exchange is None:
                return
            body = await atake(response)
            if not body:
                return
            notice = Notice(exchange.kind, exchange.request, body, current_traceparent(), exchange.wire)
            # In a thread: the first one makes the client, which reads settings and plugins.
            future = await asyncio.to_thread(self._recorder.tell, notice)
            if seconds := self._recorder.patience(notice):
                done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=seconds)
                self._recorder.waited(notice, bool(done))
        except Exception as error:  # noqa: BLE001 - as above
            self._recorder.failed(error)


def _is_here(loop: asyncio.AbstractEventLoop | None) -> bool:
    """This thread runs that loop, so waiting for it would wait for ever."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _finished(future: "Future[None]", seconds: float) -> bool:
    try:
        future.result(seconds)
    except TimeoutError:
        return False
    return True
