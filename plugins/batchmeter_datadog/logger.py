"""The plugin: counts, distributions, an event and LLM Observability spans for each batch."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from batchmeter.errors import Rejected
from batchmeter.events import AlertEvent, BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl

from .intake import Intake
from .notes import Note, note_of, note_of_alert
from .once import Once
from .points import Counts, Samples, counts, samples
from .seconds import Seconds
from .settings import DatadogSettings
from .spans import Span, spans_of, tags_of
from .tags import Tags

if TYPE_CHECKING:
    from batchmeter.host import PluginHost

AnyEvent = BatchCreated | BatchSucceeded | BatchFailed
_OLDEST = timedelta(hours=24)
_OLDEST_NOTE = 17 * 3600
"""Seconds: the event stream takes no entry older than 18 hours."""
_REMEMBERED = 1000


class Sink(Protocol):
    """Where it all goes: Datadog's intake, or the local agent."""

    adds_up: bool
    """Counts sent for the same second are added to each other; else the last one replaces the others."""

    async def counts(self, second: int, counts: Counts) -> None: ...
    async def samples(self, second: int, samples: Samples) -> None: ...
    async def note(self, note: Note) -> None: ...
    async def spans(self, spans: Sequence[Span], tags: Sequence[str], ml_app: str, session: str | None) -> None: ...
    async def aclose(self) -> None: ...


class DatadogLogger:
    """Four things are sent for an ended batch; what was accepted before a failure is not sent again with the rest.

    After a process was killed in between another sends all of it again: counts and spans replace, an entry of the event
    stream carries the same `event_id`, and what would add up (distribution points, an agent's counts) is sent once, or in
    that case never.
    """

    Settings = DatadogSettings

    def __init__(self, settings: DatadogSettings | None = None) -> None:
        self.settings = settings or DatadogSettings()
        self._tags = Tags(self.settings)
        self._seconds = Seconds(self._tags, self.settings.historical_metrics)
        self._samples_once, self._counts_once = Once("datadog samples"), Once("datadog agent counts")
        self._sink = _sink(self.settings)
        self._accepted: OrderedDict[str, set[str]] = OrderedDict()

    @hookimpl
    def startup(self, host: "PluginHost") -> None:
        self._seconds.remember_in(host)
        self._samples_once.answers = self._counts_once.answers = host

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        await self._deliver(event)

    @hookimpl(optionalhook=True)
    async def budget_alert(self, event: AlertEvent) -> None:
        await self._tell(event)

    @hookimpl(optionalhook=True)
    async def alert(self, event: AlertEvent) -> None:
        await self._tell(event)

    @hookimpl(optionalhook=True)
    async def reconcile_drift(self, event: AlertEvent) -> None:
        await self._tell(event)

    @hookimpl
    async def shutdown(self) -> None:
        await self._sink.aclose()

    async def _tell(self, event: AlertEvent) -> None:
        if self.settings.events:
            await self._note(note_of_alert(event, self._tags.of_alert(event)))

    async def _deliver(self, event: AnyEvent) -> None:
        now = datetime.fromtimestamp(self._seconds.clock(), UTC)
        if now - event.time > _OLDEST and not self.settings.historical_metrics:
            raise Rejected("Datadog takes nothing older than a day; with Historical Metrics, set historical_metrics")
        done = self._accepted.setdefault(event.id, set())
        for name, send in self._parts(event, now):
            if name not in done:
                await send()
                done.add(name)
        self._accepted.pop(event.id, None)
        while len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)

    def _parts(self, event: AnyEvent, now: datetime) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """First what may safely come twice, if it may."""
        chosen = self.settings
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if chosen.metrics:
            parts.append(("counts", lambda: self._counts(event)))
        if isinstance(event, BatchCreated):
            return parts
        if chosen.llm_observability:
            parts.append(("spans", lambda: self._spans(event, now)))
        if chosen.events:
            note = note_of(event, self._tags.of(event, status=event.status))
            parts.append(("note", lambda: self._note(note)))
        if chosen.metrics:
            parts.append(("samples", lambda: self._samples(event, now)))
        return parts

    async def _counts(self, event: AnyEvent) -> None:
        if not self._sink.adds_up:
            await self._seconds.send(event, self._sink.counts)
            return
        own = counts(event, self._tags)
        if own:
            await self._counts_once(event.id, lambda: self._sink.counts(int(event.time.timestamp()), own))

    async def _note(self, note: Note) -> None:
        oldest = int(self._seconds.clock()) - _OLDEST_NOTE
        await self._sink.note(replace(note, happened=max(note.happened, oldest)))

    async def _samples(self, event: AnyEvent, now: datetime) -> None:
        found = samples(event, self._tags)
        if found:
            await self._samples_once(event.id, lambda: self._sink.samples(int(now.timestamp()), found))

    async def _spans(self, event: BatchSucceeded | BatchFailed, now: datetime) -> None:
        spans = spans_of(event, now)
        ml_app = self.settings.ml_app or self.settings.service
        if spans:
            await self._sink.spans(spans, tags_of(event, self._tags.shared, ml_app), ml_app, event.attribution.session)


def _sink(settings: DatadogSettings) -> Sink:
    if settings.agentless:
        return Intake(settings)
    from .agent import Agent  # noqa: PLC0415 - the `datadog` package is needed only here

    return Agent(settings)
