"""An Anthropic account: the configured values, else the variables that Anthropic's own SDK reads."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from batchmeter.models import Secret
from batchmeter.providers import ObservedRequest
from batchmeter_spool.settings import SpoolSettings

USUAL = "https://api.anthropic.com"
_OAUTH = "sk-ant-oat"


def _env(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _secret(name: str) -> SecretStr | None:
    found = _env(name)
    return None if found is None else SecretStr(found)


class AnthropicSettings(SpoolSettings):
    of_the_host: ClassVar[frozenset[str]] = frozenset({"api_key", "auth_token", "workspace_id"})
    renewed: ClassVar[frozenset[str]] = frozenset({"auth_token"})

    api_key: Secret | None = Field(default_factory=lambda: _secret("ANTHROPIC_API_KEY"))
    """The key, as `x-api-key`."""
    auth_token: Secret | None = Field(default_factory=lambda: _secret("ANTHROPIC_AUTH_TOKEN"))
    """An OAuth token, as `Authorization: Bearer`; a key wins, as Anthropic refuses both at once."""
    api_base: str | None = Field(default_factory=lambda: _env("ANTHROPIC_BASE_URL") or USUAL)
    """The API's address, without `/v1`."""
    version: str = "2023-06-01"
    """Header `anthropic-version`; `2026-10-21` takes no sampling parameters of any model."""
    beta: tuple[str, ...] = ()
    """Header `anthropic-beta`, for every batch: `output-300k-2026-03-24`."""
    workspace_id: str | None = None
    """Header `anthropic-workspace-id`."""
    format: Literal["openai", "native"] = "openai"
    """`native`: files and answers are Anthropic's own rows (`{"custom_id", "params"}`), untouched."""
    max_tokens: int | None = Field(default=None, gt=0)
    """`max_tokens` of translated requests that name no limit, which Anthropic demands; by default 4,096, and 16,384 where
    the model thinks."""
    retry_queue_full: float = Field(default=0.0, ge=0)
    """Seconds within which a create that a full queue refused (429) is tried again; 0: not."""

    @model_validator(mode="after")
    def _only_one_credential(self) -> "AnthropicSettings":
        if {"api_key", "auth_token"} <= self.model_fields_set and self.api_key and self.auth_token:
            raise ValueError("takes `api_key` or `auth_token`: Anthropic refuses a request with both")
        return self

    @classmethod
    def of_request(cls, request: ObservedRequest) -> Mapping[str, Any] | None:
        """Settings of Anthropic's own client, which sends an API key as a bearer too."""
        if "anthropic-version" not in request.headers:
            return None
        key = request.headers.get("x-api-key") or request.bearer or "none"
        named = {"auth_token": key, "api_key": None} if key.startswith(_OAUTH) else {"api_key": key}
        return {"api_base": request.base, **named, "workspace_id": request.headers.get("anthropic-workspace-id")}

    @property
    def host(self) -> str:
        base = (self.api_base or USUAL).rstrip("/")
        return base.removesuffix("/v1")
