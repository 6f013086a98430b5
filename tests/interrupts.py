"""`at_every_step`: cancels work at its first step, at its second, and so on, so that a test sees each moment it can be cut at."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from tests.heavy import heavy


@dataclass
class Interrupt:
    """Cancels work at the step `at` of all steps that it and its tasks take; a step lies between two waits.

    `late`: not in the step but at the end of the wait that follows it, before the task goes on.
    """

    at: int
    late: bool = False
    steps: int = 0
    work: "asyncio.Task[Any] | None" = None

    async def cuts(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Whether the work was cut short; what it raises otherwise is raised here."""
        loop = asyncio.get_running_loop()
        self.watch(loop)
        try:
            self.work = asyncio.create_task(work)
            await asyncio.wait({self.work})
        finally:
            loop.set_task_factory(None)
        if not self.work.cancelled():
            self.work.result()
        return self.work.cancelled()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the steps of tasks that begin from now on."""
        loop.set_task_factory(lambda loop, made, **more: asyncio.Task(_Stepped(made, self), loop=loop, **more))  # type: ignore[arg-type]

    def strike(self, _: object = None) -> None:
        if self.work is not None:
            self.work.cancel()


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], interrupt: Interrupt) -> None:
        self._coroutine = coroutine
        self._interrupt = interrupt

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    def send(self, value: Any) -> Any:
        return self._step(lambda: self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        return self._step(lambda: self._coroutine.throw(*error))

    def close(self) -> None:
        self._coroutine.close()

    def _step(self, go: Callable[[], Any]) -> Any:
        interrupt = self._interrupt
        interrupt.steps += 1
        now = interrupt.steps == interrupt.at
        if now and not interrupt.late:
            interrupt.strike()
        awaited = go()
        if now and interrupt.late and awaited is not None:
            awaited.add_done_callback(interrupt.strike)
        return awaited


async def at_every_step(attempt: Callable[[Interrupt], Awaitable[object]], *, short: int = 1) -> int:
    """Attempts with one interrupt each, until one comes after the work's end; the number of its steps.

    `short`: at one step of so many only, unless `BATCHMETER_HEAVY` is set.
    """
    at, late = 1, False
    while True:
        interrupt = Interrupt(at, late)
        await attempt(interrupt)
        if interrupt.steps < at and late:
            return at - 1
        at, late = (at + heavy(1, short), False) if late else (at, True)
