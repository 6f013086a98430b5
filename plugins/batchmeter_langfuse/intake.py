"""The way to Langfuse's OTLP intake: the SDK's own headers, and no one else's."""

from collections.abc import Sequence

import requests
from langfuse import __version__
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from requests.auth import AuthBase

from batchmeter_otel.otlp import USUAL_HEADERS, Channel

from .settings import LangfuseSettings, traces_path


class OnlyThese(AuthBase):
    """The exporter adds OTEL_EXPORTER_OTLP_HEADERS to whatever it is given: another vendor's keys, often."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name in [name for name in request.headers if name.lower() not in USUAL_HEADERS]:
            del request.headers[name]
        request.headers.update(self._headers)
        return request


def channel(settings: LangfuseSettings) -> Channel[Sequence[ReadableSpan]]:
    headers = {
        "Authorization": settings.authorization,
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": __version__,
        "x-langfuse-public-key": settings.public_key,
        "x-langfuse-ingestion-version": "4",
    }

    def make(session: requests.Session) -> OTLPSpanExporter:
        session.auth = OnlyThese(headers)
        return OTLPSpanExporter(
            endpoint=f"{settings.base_url.rstrip('/')}/{traces_path()}",
            headers=headers,
            timeout=settings.timeout,
            compression=Compression.Gzip,
            session=session,
        )

    return Channel(make)
