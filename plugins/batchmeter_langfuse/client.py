"""Langfuse's own client, for batchmeter alone: a tracer provider, ids and an exporter that no one else sees or shares.

The only file that touches names which the SDK keeps to itself; each of its 5.x releases is held to them by the tests.
"""

import atexit
import logging
import math
import threading
from dataclasses import dataclass

from langfuse import Langfuse
from langfuse._client.resource_manager import LangfuseResourceManager  # pyright: ignore[reportMissingTypeStubs] - a folder without __init__.py
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, Tracer

from batchmeter_otel.ids import context_of

from .acknowledged import AcknowledgedExporter
from .intake import channel
from .settings import LangfuseSettings

log = logging.getLogger("batchmeter.langfuse")

MOST = 200
"""Observations in one request."""
_NEVER = 3600.0
"""Seconds between exports on the SDK's own account: each delivery flushes what it made."""
LAST = 3.0
"""Seconds for the end; the SDK itself would wait for each export, and each upload with its retries."""


class GivenIds(IdGenerator):
    """The ids of the next span, where the SDK would draw lots."""

    def __init__(self) -> None:
        self.next: SpanContext = context_of(1, 1)

    def generate_span_id(self) -> int:
        return self.next.span_id

    def generate_trace_id(self) -> int:
        return self.next.trace_id


@dataclass(frozen=True, slots=True)
class Connection:
    """The client with what was put into it."""

    client: Langfuse
    tracer: Tracer
    ids: GivenIds
    exporter: AcknowledgedExporter
    provider: TracerProvider

    def close(self) -> None:
        """Ends the SDK's threads; images in sampled lines that are not uploaded in time are left behind."""
        resources = self.client._resources  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if resources is not None:
            atexit.unregister(resources.shutdown)  # which would wait without a bound
        ending = threading.Thread(target=self._end, args=(resources,), name="batchmeter-langfuse-shutdown", daemon=True)
        ending.start()
        ending.join(LAST)
        if ending.is_alive():
            log.warning(
                "the langfuse SDK still waited for Langfuse after %g s: images in sampled lines may be missing", LAST
            )

    def _end(self, resources: LangfuseResourceManager | None) -> None:
        """The client's own shutdown leaves a thread and its connections."""
        self.provider.shutdown()
        if resources is not None:
            resources.prompt_cache._task_manager.shutdown()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self.client.shutdown()
        if resources is not None:
            resources.httpx_client.close()


def connect(settings: LangfuseSettings) -> Connection:
    """The span limits are given too: OTEL_* of an application must not cut what Langfuse reads as JSON."""
    ids, exporter = GivenIds(), AcknowledgedExporter(channel(settings))
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource({}),
        id_generator=ids,
        span_limits=SpanLimits(
            max_span_attributes=SpanLimits.UNSET,
            max_attribute_length=SpanLimits.UNSET,
            max_span_attribute_length=SpanLimits.UNSET,
        ),
        shutdown_on_exit=False,
    )
    client = _unlisted(settings, provider, exporter)
    return Connection(client, client._otel_tracer, ids, exporter, provider)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the public methods take no start time


def _unlisted(settings: LangfuseSettings, provider: TracerProvider, exporter: SpanExporter) -> Langfuse:
    """The SDK keeps one client a public key, and hands it to whoever asks.

    Ours must not be that one, nor be given the application's: it is made under the SDK's lock and taken off its list.
    """
    listed = LangfuseResourceManager._instances  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    key = settings.public_key
    with LangfuseResourceManager._lock:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        theirs = listed.pop(key, None)
        try:
            return Langfuse(
                public_key=key,
                secret_key=settings.secret_key.get_secret_value(),
                base_url=settings.base_url.rstrip("/"),
                timeout=math.ceil(settings.timeout),
                environment=settings.environment,
                release=settings.release,
                sample_rate=1.0,
                mask=settings.mask,
                flush_at=MOST + 1,
                flush_interval=_NEVER,
                tracer_provider=provider,
                span_exporter=exporter,
            )
        finally:
            listed.pop(key, None)
            if theirs is not None:
                listed[key] = theirs
