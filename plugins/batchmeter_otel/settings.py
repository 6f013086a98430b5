"""Settings of the OpenTelemetry logger; whatever OTEL_* says is honoured where nothing is set here."""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from batchmeter_traces import LineSample

if TYPE_CHECKING:
    import requests

Made = TypeVar("Made")

_SIGNALS = ("traces", "metrics", "logs")
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PHOENIX = re.compile(r"https?://([\w.-]+:6006|([\w-]+\.)*arize\.com(:\d+)?)(/|$)")


class OTelSettings(BaseModel):
    """`[plugins.otel]`."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["durable", "embedded"] = "durable"
    """`durable`: an OTLP/HTTP exporter of our own; an event counts as delivered when the receiver has accepted it.
    `embedded`: spans go to the tracer provider that the application has configured, best effort from there."""
    endpoint: str | None = None
    """Base URL, such as `http://localhost:4318`; else OTEL_EXPORTER_OTLP_ENDPOINT and its per-signal variants."""
    headers: Annotated[dict[str, str], Field(repr=False)] = {}
    """Sent with each export, over OTEL_EXPORTER_OTLP_HEADERS."""
    trace_parenting: Literal["link", "child"] = "link"
    """`link`: a batch is a trace of its own, linked to the caller's. `child`: it hangs in the caller's trace."""
    traces: bool | None = None
    """Send spans; by default when OTEL_* gives them an endpoint and does not set them to `none`."""
    metrics: bool | None = None
    """Send metrics; by default as `traces`."""
    logs: bool | None = None
    """Send log events; by default as `traces`."""
    openinference: bool | None = None
    """Spans as Arize Phoenix reads them: kinds, and one more span a model with its tokens; by default where the endpoint is
    Phoenix's (port 6006, or a host of arize.com)."""
    lines: LineSample | None = None
    """A sample of each batch's requests, one span each: a table, `[plugins.otel.lines]`; off unless there is one."""
    metrics_interval: Annotated[float, Field(gt=0)] | None = None
    """Seconds between two exports of the metrics; else OTEL_METRIC_EXPORT_INTERVAL (milliseconds), else 60."""

    @model_validator(mode="after")
    def _durable(self) -> Self:
        if self.mode == "embedded" and (self.lines is not None or self.openinference):
            raise ValueError(
                "lines and openinference need mode = 'durable': an application's provider may drop spans unseen"
            )
        return self

    @property
    def for_phoenix(self) -> bool:
        if self.openinference is not None or self.mode == "embedded":
            return bool(self.openinference)
        named = self.endpoint or os.environ.get(_endpoint_of("traces")) or os.environ.get(_ENDPOINT) or ""
        return bool(_PHOENIX.match(named))

    def sends(self, signal: Literal["traces", "metrics", "logs"]) -> bool:
        chosen: bool | None = getattr(self, signal)
        if chosen is not None:
            return chosen
        if os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() == "none":
            return False
        if self.endpoint or os.environ.get(_ENDPOINT):
            return True
        named = {name for name in _SIGNALS if os.environ.get(_endpoint_of(name))}
        return signal in named or not named

    def exporter(
        self, signal: Literal["traces", "metrics", "logs"], make: Callable[..., Made]
    ) -> "Callable[[requests.Session], Made]":
        """Makes the signal's exporter around a session; what is not given here it takes from OTEL_* itself."""
        given: dict[str, Any] = {}
        if self.endpoint:
            given["endpoint"] = f"{self.endpoint.rstrip('/')}/v1/{signal}"
        if self.headers:
            given["headers"] = self.headers
        return lambda session: make(session=session, **given)

    @property
    def interval(self) -> float:
        """Seconds."""
        millis = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
        return self.metrics_interval or (float(millis) / 1000 if millis.isdecimal() and int(millis) else 60.0)


def _endpoint_of(signal: str) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
