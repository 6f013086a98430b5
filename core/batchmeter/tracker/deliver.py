"""Events from the ledger to loggers: a lane for each, so that a slow or broken one delays no other and no submission."""

import asyncio
import logging
import random as stdlib_random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from batchmeter.errors import LedgerError
from batchmeter.hook_calls import Logger
from batchmeter.ledger.ledger import Ledger
from batchmeter.ledger.outbox import unattended_text
from batchmeter.plugins import Plugins
from batchmeter.redaction import Redaction

from .delivery_lane import LaneOptions, LoggerLane
from .lease import Sleep, nap, owner_name
from .schedule import Random

log = logging.getLogger("batchmeter")

DEFAULTS = LaneOptions()
ATTEND_SECONDS = 60.0


class Deliverer:
    """Delivers every enabled logger's events; any number of processes may run one."""

    def __init__(
        self,
        ledger: Ledger,
        plugins: Plugins,
        *,
        owner: str | None = None,
        options: LaneOptions = DEFAULTS,
        random: Random = stdlib_random.random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.owner = owner or owner_name()
        self._ledger = ledger
        self._plugins = plugins
        self._options = options
        self._random = random
        self._sleep = sleep
        self.redaction = Redaction(ledger, plugins)
        self._attended_at = float("-inf")
        self._warned: set[str] = set()
        self._lanes: dict[str, LoggerLane] = {}
        self._served: Mapping[str, Logger] | None = None
        """The loggers whose lanes run."""
        self._wake = asyncio.Event()
        self._closing = False

    def notify(self) -> None:
        """New events may be in the ledger."""
        if self._plugins.loggers is not self._served:
            self._wake.set()  # one came or went
        for lane in self._lanes.values():
            lane.wake.set()

    async def run(self) -> None:
        """Until closed, after which what is under way is finished; or cancelled, and that goes back to the ledger."""
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while not self._closing:
                self._wake.clear()
                await self._attend()
                self._start_and_stop(running)
                await nap(self._sleep, self._wake, self._options.idle)
            if running:
                await asyncio.wait(running.values())
        finally:
            await _stop(list(running.values()))

    def close(self) -> None:
        """End `run` when what is under way is done."""
        self._closing = True
        for lane in self._lanes.values():
            lane.closing = True
            lane.wake.set()
        self._wake.set()

    async def drain(self, timeout: float) -> bool:
        """Deliver what is due now, then stop; False when `timeout` (seconds) was too short. Call it instead of `run`."""
        work = [
            asyncio.create_task(self._lane(name).empty(), name=f"batchmeter drain {name}")
            for name in list(self._plugins.loggers)
        ]
        if not work:
            return True
        try:
            _, pending = await asyncio.wait(work, timeout=timeout)
        finally:
            await _stop([task for task in work if not task.done()])
        for task in work:
            if not task.cancelled() and isinstance(error := task.exception(), LedgerError):
                log.warning("deliveries: %s", error)
        return not pending

    async def deliver(self, name: str) -> None:
        """Deliver what is due for one logger now, if it works here; beside `run`, too."""
        await self._lane(name).empty()

    async def _attend(self) -> None:
        """Every minute: the ledger learns what works here, and the log of events that nobody delivers."""
        now = self._ledger.now() / 1000
        try:
            await self._ledger.subscribe(self._plugins.subscriptions)
            if 0 <= now - self._attended_at < ATTEND_SECONDS:  # less: the clock was set back
                return
            self._attended_at = now
            await self._ledger.touch_subscriptions({*self._plugins.loggers, *self._plugins.redactors})
            unattended = await self._ledger.unattended()
            for one in unattended:
                if one.name not in self._warned:
                    log.warning("%s", unattended_text(one))
            self._warned = {one.name for one in unattended}
        except LedgerError as error:
            log.warning("subscriptions: %s", error)

    def _start_and_stop(self, running: dict[str, asyncio.Task[None]]) -> None:
        """Loggers come and go while a client is open."""
        names = list(self._plugins.loggers)
        self._served = self._plugins.loggers
        for name in [name for name in running if name not in names]:
            running.pop(name).cancel()
        for name in names:
            if name not in running or running[name].done():
                running[name] = asyncio.create_task(self._lane(name).run(), name=f"batchmeter deliver {name}")

    def _lane(self, name: str) -> LoggerLane:
        if name not in self._lanes:
            seconds, options = self._plugins.loggers[name].seconds, self._options
            if seconds:  # a companion reads files: one event at a time
                options = replace(options, timeout=seconds, lease=2 * seconds, block=1)
            self._lanes[name] = LoggerLane(
                name, self._ledger, self._plugins, self.redaction, self.owner, options, self._random, self._sleep
            )
        self._lanes[name].closing = self._closing  # also of one that is made while closing
        return self._lanes[name]


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
