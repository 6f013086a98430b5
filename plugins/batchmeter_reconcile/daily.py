"""Each day's reconciliation, once it is settled: by one process of all that share the ledger, again later where it fails."""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from batchmeter.errors import BatchmeterError, ConfigError

from .reconciler import BILL_SETTLES, Reconciler, Request

log = logging.getLogger("batchmeter.reconcile")

FIRST, EVERY = 30.0, 600.0
"""Seconds until the first look, and between two."""
_LEASE = 900.0
_LONGEST_PAUSE = timedelta(hours=6)
SCOPE = "reconcile"


@dataclass(slots=True)
class Daily:
    """State of one process."""

    reconciler: Reconciler
    _pause: dict[str, tuple[datetime, timedelta]] = field(
        default_factory=dict[str, "tuple[datetime, timedelta]"], init=False
    )
    """Bill -> when it is tried again, and how long the pause was."""

    async def forever(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(FIRST)
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> list[str]:
        """Ids of the documents that this look made."""
        made: list[str] = []
        for name in self.reconciler.settings.bills:
            now = self.reconciler.now
            if now < self._pause.get(name, (now, timedelta()))[0]:
                continue
            try:
                day = self._due(name, now)
                made += [] if day is None else await self._once(name, day)
                self._pause.pop(name, None)
            except (BatchmeterError, OSError) as error:
                self._wait(name, now, error)
            except Exception:
                log.exception("reconcile: the daily comparison of %s failed", name)
                self._wait(name, now, None)
        return made

    def _due(self, name: str, now: datetime) -> date | None:
        """The last day that the vendor has settled; None before the hour at which it is looked at."""
        bill = self.reconciler.bill(name)
        known = self.reconciler.sources().get(bill.source or name)
        usual = BILL_SETTLES if known is None else known.settle_hours
        settled = now - timedelta(hours=usual if bill.settle_hours is None else bill.settle_hours)
        return settled.date() - timedelta(days=1) if now.hour >= self.reconciler.settings.hour else None

    async def _once(self, name: str, day: date) -> list[str]:
        host, settings = self.reconciler.host, self.reconciler.settings
        note = f"{name}:{day}"
        if (await host.reserve(SCOPE, note, lease_seconds=_LEASE)).state != "mine":
            return []
        try:
            found = await self.reconciler.run(name, Request(day - timedelta(days=settings.days - 1), day))
            await self.reconciler.tell(found)
        except BaseException:
            await host.drop(SCOPE, note)
            raise
        await host.keep(SCOPE, note, found["id"])
        log.info("reconcile: %s, %s to %s: %s (%s)", name, found["from"], found["to"], found["status"], found["id"])
        return [found["id"]]

    def _wait(self, name: str, now: datetime, error: Exception | None) -> None:
        """Twice as long each time: a vendor that refuses a key goes on to."""
        _, before = self._pause.get(name, (now, timedelta(seconds=EVERY) / 2))
        pause = min(before * 2, _LONGEST_PAUSE)
        self._pause[name] = (now + pause, pause)
        if isinstance(error, ConfigError):
            log.info("reconcile: this process does not compare %s: %s", name, error)
        elif error is not None:
            log.warning("reconcile: %s could not be asked, again in %s: %s", name, pause, error)
