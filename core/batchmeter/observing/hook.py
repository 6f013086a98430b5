"""The response hooks: nothing they do is seen by the app, nothing they fail at either."""

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

from batchmeter.submit import current_traceparent

from .body import atake, take
from .exchange import exchange_of
from .record import Notice, Recorder

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
            notice = Notice(exchange.kind, exchange.caller, body, current_traceparent())
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
            notice = Notice(exchange.kind, exchange.caller, body, current_traceparent())
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
