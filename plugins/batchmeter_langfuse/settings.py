"""Settings of the Langfuse logger; the Langfuse SDK's own variables stand in for what is not set here."""

import base64
import logging
import os
import re
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ImportString, SecretStr

from batchmeter.models import Secret
from batchmeter_traces import LineSample

log = logging.getLogger("batchmeter")

CLOUD = "https://cloud.langfuse.com"
_ENVIRONMENT = re.compile(r"(?!langfuse)[a-z0-9_-]{1,40}")


@cache
def _lowered(value: str) -> str:
    """Langfuse takes lower case only; told once."""
    log.warning("langfuse: environment %r is sent as %r, as Langfuse takes lower case only", value, value.lower())
    return value.lower()


def _environment(value: str | None) -> str | None:
    if value is not None and value != value.lower():
        value = _lowered(value)
    if value is not None and not _ENVIRONMENT.fullmatch(value):
        raise ValueError("up to 40 of a-z, 0-9, - and _, not beginning with 'langfuse'; Langfuse would show 'default'")
    return value


def _given(value: SecretStr | str) -> SecretStr | str:
    if not value:
        raise ValueError("is not set: give it here, or as LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY")
    return value


def _sample(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004 - pydantic takes a ValueError
            "is a table: [plugins.langfuse.lines] with ratio = 0.01, and content = true for prompts and answers"
        )
    return value


def _from(*names: str, default: str | None = None) -> Any:
    """Text, for pydantic to check."""
    return next((os.environ[name] for name in names if os.environ.get(name)), default)


class LangfuseSettings(BaseModel):
    """`[plugins.langfuse]`."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    public_key: Annotated[str, AfterValidator(str.strip), AfterValidator(_given)] = Field(
        default_factory=lambda: _from("LANGFUSE_PUBLIC_KEY", default="")
    )
    """The project's public key."""
    secret_key: Annotated[Secret, AfterValidator(_given)] = Field(
        default_factory=lambda: _from("LANGFUSE_SECRET_KEY", default="")
    )
    """The project's secret key."""
    base_url: str = Field(default_factory=lambda: _from("LANGFUSE_BASE_URL", "LANGFUSE_HOST", default=CLOUD))
    """Langfuse Cloud in the EU, unless given."""
    environment: Annotated[str | None, AfterValidator(_environment)] = Field(
        default_factory=lambda: _from("LANGFUSE_TRACING_ENVIRONMENT")
    )
    """Langfuse's environment, on every observation."""
    release: str | None = Field(default_factory=lambda: _from("LANGFUSE_RELEASE"))
    """On every observation."""
    timeout: float = Field(default_factory=lambda: _from("LANGFUSE_TIMEOUT", default="10"), gt=0)
    """Seconds for one request."""
    lines: Annotated[LineSample | None, BeforeValidator(_sample)] = None
    """A sample of each batch's requests, one observation each: a table, `[plugins.langfuse.lines]`; off unless there is one."""
    mask: ImportString[Any] | None = None
    """`module:function` that the SDK calls as `mask(data=...)` on inputs, outputs and metadata; what it returns is sent."""
    trace_parenting: Literal["link", "child"] = "link"
    """`link`: each batch is a trace of its own. `child`: it hangs in the trace of the code that submitted it."""

    @property
    def authorization(self) -> str:
        pair = f"{self.public_key}:{self.secret_key.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


def traces_path() -> str:
    return os.environ.get("LANGFUSE_OTEL_TRACES_EXPORT_PATH", "/api/public/otel/v1/traces").lstrip("/")


def enabled() -> bool:
    """By the variables with which the SDK is switched off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return os.environ.get("LANGFUSE_TRACING_ENABLED", "true").strip().lower() not in ("false", "0")
