"""A Gemini account: the configured values, else the variables that Google's own SDK reads."""

import os
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SecretStr

from batchmeter.models import Secret
from batchmeter.providers import ObservedRequest
from batchmeter_spool.settings import SpoolSettings

USUAL = "https://generativelanguage.googleapis.com"


def _env(*names: str) -> str | None:
    return next((found for name in names if (found := os.environ.get(name, "").strip())), None)


def _secret(*names: str) -> SecretStr | None:
    found = _env(*names)
    return None if found is None else SecretStr(found)


class GeminiSettings(SpoolSettings):
    api_key: Secret | None = Field(default_factory=lambda: _secret("GOOGLE_API_KEY", "GEMINI_API_KEY"))
    """The key, as `x-goog-api-key`."""
    api_base: str | None = Field(default_factory=lambda: _env("GOOGLE_GEMINI_BASE_URL") or USUAL)
    """The API's address, without its version."""
    api_version: str = Field(default="v1beta", pattern="^v[0-9][a-z0-9]*$")
    """The path's first part."""
    format: Literal["openai", "native"] = "openai"
    """`native`: files and answers are Gemini's own rows (`{"key", "request"}`), untouched."""
    safety_settings: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    """Gemini's `safetySettings`, put on every translated request."""
    retry_queue_full: float = Field(default=0.0, ge=0)
    """Seconds within which a create that a full queue refused (429) is tried again; 0: not."""

    @classmethod
    def of_request(cls, request: ObservedRequest) -> Mapping[str, Any] | None:
        """Settings of Google's own client: whatever version it asks, the batches are the same."""
        key = request.headers.get("x-goog-api-key")
        return {"api_base": request.base, "api_key": key} if key else None

    @property
    def host(self) -> str:
        return (self.api_base or USUAL).rstrip("/")
