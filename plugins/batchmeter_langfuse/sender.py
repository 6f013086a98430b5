"""Events as OTLP requests. Everything heavy is imported with this file, on first use."""

import gzip
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from batchmeter.errors import APIStatusError
from batchmeter.events import BatchCreated
from batchmeter.http import Body, HttpClient, redact_url
from batchmeter.http.intake import delivery_error
from batchmeter_otel.answer import refusal

from . import names
from .about import AnyEvent
from .lines import Sample
from .observations import Writer
from .settings import LangfuseSettings, traces_path

if TYPE_CHECKING:
    from batchmeter import AsyncClient


class Sender:
    """One request an event, and one for each portion of sampled lines."""

    def __init__(self, settings: LangfuseSettings, http: HttpClient) -> None:
        about = {names.ENVIRONMENT: settings.environment, names.RELEASE: settings.release}
        shared = {name: value for name, value in about.items() if value}
        scope = InstrumentationScope(names.SCOPE, names.SDK_VERSION, attributes={"public_key": settings.public_key})
        self._writer = Writer(Resource(shared), scope, shared, settings.trace_parenting == "child")
        self._sample = Sample(settings.lines, settings.lines_limit)
        self._where = redact_url(settings.base_url)
        self._http = http

    async def deliver(self, event: AnyEvent, client: "AsyncClient | None") -> None:
        await self._send(self._writer.observations(event))
        if client is not None and self._sample.ratio and not isinstance(event, BatchCreated):
            for portion in await self._sample.observations(client, event, self._writer):
                await self._send(portion)

    async def _send(self, spans: Sequence[ReadableSpan]) -> None:
        message = encode_spans(spans).SerializeToString()
        packed = gzip.compress(message, mtime=0)  # the same bytes for the same event
        try:
            answer = await self._http.request("POST", traces_path(), body=_body(packed))
        except APIStatusError as error:
            raise delivery_error(error) from error
        failure = refusal(answer.status_code, answer.headers, answer.content, where=self._where)
        if failure is not None:
            raise failure


def _body(content: bytes) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return Body(chunks, "application/x-protobuf", len(content))
