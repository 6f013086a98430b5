"""The local Datadog agent: DogStatsD for metrics and events, which acknowledges nothing; HTTP for spans, which does."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from datadog.dogstatsd.base import DogStatsd

from batchmeter.errors import APIConnectionError
from batchmeter.http import HttpClient, http_library

from .intake import post
from .notes import Note
from .points import Counts, Samples
from .settings import DatadogSettings
from .spans import Span


def socket_client(path: str) -> Any:
    """A client that reaches the agent's HTTP intake through its Unix socket."""
    library = http_library()
    return library.AsyncClient(transport=library.AsyncHTTPTransport(uds=path))


class Agent:
    """A DogStatsd of its own: the module's global one belongs to the application."""

    adds_up = True

    def __init__(self, settings: DatadogSettings) -> None:
        self._socket = settings.dogstatsd_socket
        self._statsd = DogStatsd(
            host=settings.agent_host,
            port=settings.dogstatsd_port,
            socket_path=self._socket,
            disable_telemetry=True,
            disable_aggregation=True,
            disable_buffering=False,  # an event's points in a datagram or two: the socket's queue is short
            flush_interval=0,  # no thread: flushed after each event
        )
        # DD_ENV and the like are in every point's tags already; DD_ENTITY_ID's says which pod they come from.
        found = cast("list[str]", self._statsd.constant_tags)
        self._statsd.constant_tags = [tag for tag in found if tag.startswith("dd.internal.")]
        self._http = HttpClient(settings.agent_url, timeout=settings.timeout, max_retries=0)
        if settings.trace_socket:
            self._http.client = socket_client(settings.trace_socket)

    async def counts(self, second: int, counts: Counts) -> None:
        """The agent adds up; `second` is the agent's own."""
        del second
        await asyncio.to_thread(self._send_counts, counts)

    async def samples(self, second: int, samples: Samples) -> None:
        del second
        await asyncio.to_thread(self._send_samples, samples)

    async def note(self, note: Note) -> None:
        await asyncio.to_thread(self._send_note, note)

    async def spans(self, spans: Sequence[Span], tags: Sequence[str], ml_app: str, session: str | None) -> None:
        del ml_app  # is among the tags
        about = {"session_id": session} if session else {}
        envelopes = [
            {"_dd.stage": "raw", "event_type": "span", "spans": [{**span, **about, "tags": tags}]} for span in spans
        ]
        await post(self._http, "evp_proxy/v4/api/v2/llmobs", envelopes, **{"x-datadog-evp-subdomain": "llmobs-intake"})

    async def aclose(self) -> None:
        self._statsd.stop()
        self._statsd.close_socket()
        client, self._http.client = self._http.client, None  # of the socket, and so ours to close
        if client is not None:
            await client.aclose()
        await self._http.aclose()

    def _send_counts(self, counts: Counts) -> None:
        self._check()
        for (metric, tags), value in counts.items():
            self._statsd.increment(metric, float(value), tags=list(tags))
        self._flush()

    def _send_samples(self, samples: Samples) -> None:
        self._check()
        for (metric, tags), value in samples.items():
            self._statsd.distribution(metric, value, tags=list(tags))
        self._flush()

    def _send_note(self, note: Note) -> None:
        self._check()
        self._statsd.event(
            note.title,
            note.text,
            alert_type=note.alert,
            aggregation_key=note.group,
            date_happened=note.happened,
            tags=list(note.tags),
        )
        self._flush()

    def _flush(self) -> None:
        """The kernel says no where nobody listens; whether the agent took it, nobody says."""
        if self._statsd.flush() is False:
            raise APIConnectionError(
                "the Datadog agent's DogStatsD did not take a datagram; is the agent running?", never_sent=True
            )

    def _check(self) -> None:
        if self._socket and not Path(self._socket.rpartition("://")[2]).exists():
            raise APIConnectionError(f"no DogStatsD socket at {self._socket}; is the agent running?", never_sent=True)
