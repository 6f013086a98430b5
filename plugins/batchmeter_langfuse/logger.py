"""The plugin: one acknowledged OTLP request an event, to Langfuse's own intake, past every global of its SDK."""

import gzip
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import langfuse
from langfuse import LangfuseOtelSpanAttributes as Names
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from batchmeter.errors import APIStatusError
from batchmeter.events import BatchCreated, BatchFailed, BatchSucceeded
from batchmeter.hookspecs import hookimpl
from batchmeter.http import Body, HttpClient, redact_url
from batchmeter.http.intake import delivery_error
from batchmeter_otel.answer import refusal

from .lines import Sample
from .observations import Writer
from .settings import LangfuseSettings, enabled, traces_path

if TYPE_CHECKING:
    from batchmeter import AsyncClient

_SDK = "langfuse-sdk"
"""The scope by which the server knows that `langfuse.*` attributes are meant."""


class LangfuseLogger:
    """Delivered means: Langfuse has stored it durably; it is to be seen some seconds later."""

    Settings = LangfuseSettings

    def __init__(self, settings: LangfuseSettings | None = None) -> None:
        self.settings = chosen = settings or LangfuseSettings()
        about = {Names.ENVIRONMENT: chosen.environment, Names.RELEASE: chosen.release}
        shared = {name: value for name, value in about.items() if value}
        scope = InstrumentationScope(_SDK, langfuse.__version__, attributes={"public_key": chosen.public_key})
        self._writer = Writer(Resource(shared), scope, shared, chosen.trace_parenting == "child")
        self._sample = Sample(chosen.lines, chosen.lines_limit)
        self._client: AsyncClient | None = None
        self._http = HttpClient(
            chosen.base_url,
            headers={
                "authorization": chosen.authorization,
                "content-encoding": "gzip",
                "x-langfuse-sdk-name": "python",
                "x-langfuse-sdk-version": langfuse.__version__,
                "x-langfuse-public-key": quote(chosen.public_key),
                "x-langfuse-ingestion-version": "4",
            },
            timeout=chosen.timeout,
            max_retries=0,
        )

    @hookimpl
    def startup(self, client: "AsyncClient") -> None:
        self._client = client

    @hookimpl
    async def acreate_batch(self, event: BatchCreated) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_success(self, event: BatchSucceeded) -> None:
        await self._deliver(event)

    @hookimpl
    async def batch_failure(self, event: BatchFailed) -> None:
        await self._deliver(event)

    @hookimpl
    async def shutdown(self) -> None:
        await self._http.aclose()

    async def _deliver(self, event: BatchCreated | BatchSucceeded | BatchFailed) -> None:
        if not enabled():
            return
        await self._send(self._writer.observations(event))
        if self._client is not None and self._sample.ratio and not isinstance(event, BatchCreated):
            for portion in await self._sample.observations(self._client, event, self._writer):
                await self._send(portion)

    async def _send(self, spans: Sequence[ReadableSpan]) -> None:
        message = encode_spans(spans).SerializeToString()
        packed = gzip.compress(message, mtime=0)  # the same bytes for the same event
        try:
            answer = await self._http.request("POST", traces_path(), body=_body(packed))
        except APIStatusError as error:
            raise delivery_error(error) from error
        where = redact_url(self.settings.base_url)
        failure = refusal(answer.status_code, answer.headers, answer.content, where=where)
        if failure is not None:
            raise failure


def _body(content: bytes) -> Body:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return Body(chunks, "application/x-protobuf", len(content))
