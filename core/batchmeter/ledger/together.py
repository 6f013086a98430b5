"""What is asked for at the same time shares a transaction: the first goes at once, what comes meanwhile goes together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 64
"""In one transaction, so that nobody waits long behind others."""


class Together(Generic[Item, Result]):
    """One transaction after the other, each for all that wait. `write` is all or nothing, with a result for each item.

    Where it fails because of what some item asked for (`of_one`), each is written alone: a failure is its own.
    """

    def __init__(
        self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], of_one: Callable[[Exception], bool]
    ) -> None:
        self._write = write
        self._of_one = of_one
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """A caller that is cancelled before its item's turn takes it back; after that it is written all the same."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._work is None:
            self._work = asyncio.create_task(self._work_off(), name="batchmeter-ledger-together")
        return await future

    async def aclose(self) -> None:
        if self._work is not None:
            await self._work

    async def _work_off(self) -> None:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        try:
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST))]
                await self._write_all([each for each in taken if not each[1].done()])
        finally:
            self._work = None
            for _, future in (*taken, *self._waiting):
                future.cancel()  # of whoever still waits: the loop is being closed under us

    async def _write_all(self, taken: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not taken:
            return
        try:
            results = await self._write([item for item, _ in taken])
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            await self._failed(taken, error)
            return
        for (_, future), result in zip(taken, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _failed(self, taken: list[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
        if len(taken) > 1 and self._of_one(error):
            for each in taken:
                await self._write_all([each])
            return
        for _, future in taken:
            if not future.done():
                future.set_exception(error)
