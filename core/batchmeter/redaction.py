"""Redaction: events leave the ledger only through every redactor that it knows of."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from .errors import RedactorMissingError
from .ledger.serialize import dump

if TYPE_CHECKING:
    from .events import AnyEvent, Event
    from .ledger.ledger import Ledger
    from .ledger.records import StoredEvent
    from .plugins import Plugins

Redacted = TypeVar("Redacted")


class Redaction:
    """Fails closed: a redactor that was seen once, or is installed, and does not work here holds every event back."""

    def __init__(self, ledger: "Ledger", plugins: "Plugins") -> None:
        self._ledger = ledger
        self._plugins = plugins

    async def missing(self) -> str:
        """Why events are held back here; empty when they are not."""
        suspects = self._plugins.suspects
        absent = await self._ledger.missing_redactors(self._plugins)
        if not absent:
            return ""
        named = "; ".join(f"redactor {name!r} {suspects.get(name, 'is not installed here')}" for name in absent)
        return f"{named}: mend it, or end it for good with `batchmeter abandon {absent[0]}`"

    async def redact(self, event: "AnyEvent") -> "AnyEvent":
        """The event as loggers may see it. RedactorMissingError where a redactor is missing; else what one raises."""
        await self._check()
        return cast("AnyEvent", await self._plugins.redact(event))

    async def redact_all(self, events: Sequence[Redacted]) -> "list[Redacted]":
        """As `redact`, for many at once."""
        await self._check()
        return [cast("Redacted", await self._plugins.redact(cast("Event", event))) for event in events]

    async def shown(self, found: "Sequence[StoredEvent]") -> "list[StoredEvent]":
        """Recorded events as loggers may see them; the recorded bytes where nothing was changed."""
        await self._check()
        events: list[StoredEvent] = []
        for stored in found:
            event = cast("AnyEvent", await self._plugins.redact(stored.event))
            same = event == stored.event
            events.append(stored if same else replace(stored, event=event, payload=dump(event).encode()))
        return events

    async def _check(self) -> None:
        held = await self.missing()
        if held:
            raise RedactorMissingError(f"events are held back: {held}")
