"""Settings of the Datadog logger; Datadog's own DD_* variables stand in for what is not set here."""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from batchmeter.models import Secret

_FALSE = ("0", "false", "no", "off")


def _from(name: str, default: str | None = None) -> Any:
    """A default out of the environment: text, for pydantic to check."""
    return Field(default_factory=lambda: os.environ.get(name) or default)


def _list(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value or ()


def _host_of(site: str) -> str:
    """`https://app.datadoghq.eu/` is written for `datadoghq.eu`."""
    host = site.strip().rpartition("://")[2].partition("/")[0].lower()
    return host.removeprefix("app.").removeprefix("api.") or "datadoghq.com"


class DatadogSettings(BaseModel):
    """`[plugins.datadog]`."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    mode: Literal["agentless", "agent"] | None = None
    """`agentless`: HTTPS posts that Datadog acknowledges; the default where there is an `api_key`.
    `agent`: metrics and events to the local agent's DogStatsD, which acknowledges nothing."""
    api_key: Secret | None = _from("DD_API_KEY")
    """Datadog's API key."""
    site: Annotated[str, AfterValidator(_host_of)] = _from("DD_SITE", "datadoghq.com")
    """Such as `datadoghq.eu`."""
    api_url: str | None = None
    """In place of `https://api.<site>`: a proxy, or a receiver that speaks Datadog's API."""
    series: Literal["v2", "v1"] = "v2"
    """Version of the metrics intake; some receivers that are not Datadog speak v1 only."""
    agent_host: str | None = None
    """Else DD_AGENT_HOST, else this machine."""
    trace_agent_url: str | None = _from("DD_TRACE_AGENT_URL")
    """Of the agent's HTTP intake, in place of host and port: `http://host:8126`, or `unix:///path` of its socket."""
    agent_port: int = _from("DD_TRACE_AGENT_PORT", "8126")
    """Of the agent's HTTP intake."""
    dogstatsd_port: int | None = None
    """Else DD_DOGSTATSD_URL or DD_DOGSTATSD_PORT, else 8125."""
    dogstatsd_socket: str | None = _from("DD_DOGSTATSD_SOCKET")
    """A Unix socket, in place of host and port."""
    env: str | None = _from("DD_ENV")
    """On everything."""
    service: str = _from("DD_SERVICE", "batchmeter")
    """On everything."""
    version: str | None = _from("DD_VERSION")
    """On everything."""
    tags: Annotated[tuple[str, ...], BeforeValidator(_list)] = _from("DD_TAGS")
    """`name:value`, on everything."""
    metadata_tags: tuple[str, ...] = ()
    """Names of the caller's metadata that become tags of metrics: few values each, or they cost money."""
    max_tag_values: int = Field(default=100, ge=1)
    """Different values one tag may take on metrics; what comes after that is `other`."""
    metrics: bool = True
    """Send counts and distributions."""
    events: bool = True
    """Send an entry in the event stream for each ended batch."""
    llm_observability: bool = Field(
        default_factory=lambda: os.environ.get("DD_LLMOBS_ENABLED", "1").strip().lower() not in _FALSE
    )
    """Send LLM Observability spans."""
    ml_app: str | None = _from("DD_LLMOBS_ML_APP")
    """The LLM Observability application; else the service."""
    historical_metrics: bool = False
    """Historical Metrics Ingestion is enabled at Datadog: points older than an hour keep their own time."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds for one request."""

    @model_validator(mode="after")
    def _complete(self) -> "DatadogSettings":
        if self.mode == "agentless" and not self.api_key:
            raise ValueError("mode 'agentless' needs an api_key, here or as DD_API_KEY")
        return self

    @property
    def agentless(self) -> bool:
        return self.mode == "agentless" or (self.mode is None and self.api_key is not None)

    @property
    def trace_socket(self) -> str | None:
        """The path of the agent's HTTP socket, where it is one."""
        url = self.trace_agent_url or ""
        return url.removeprefix("unix://") if url.startswith("unix://") else None

    @property
    def agent_url(self) -> str:
        if self.trace_socket:
            return "http://localhost"
        if self.trace_agent_url:
            return self.trace_agent_url
        host = self.agent_host or os.environ.get("DD_AGENT_HOST") or "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.agent_port}"

    @property
    def base_url(self) -> str:
        return self.api_url or f"https://api.{self.site}"
