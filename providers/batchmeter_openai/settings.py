"""An OpenAI account: the configured values, else the variables that OpenAI's own SDK reads."""

import os
from collections.abc import Callable
from typing import Any

from pydantic import Field, SecretStr

from batchmeter.providers import AccountSettings


def from_env(name: str, default: str | None = None) -> Callable[[], str | None]:
    """A field's default factory: the variable's value; an empty one counts as unset."""
    return lambda: os.environ.get(name, "").strip() or default


def secret_from_env(name: str) -> Callable[[], SecretStr | None]:
    """As `from_env`, for what must never be shown."""
    return lambda: SecretStr(found) if (found := os.environ.get(name, "").strip()) else None


def webhook_secret_from_env() -> tuple[SecretStr, ...]:
    found = secret_from_env("OPENAI_WEBHOOK_SECRET")()
    return () if found is None else (found,)


class OpenAISettings(AccountSettings):
    api_key: SecretStr | None = Field(default_factory=secret_from_env("OPENAI_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = Field(default_factory=from_env("OPENAI_BASE_URL", "https://api.openai.com/v1"))
    """Any server with OpenAI's `/files` and `/batches` below this address."""
    organization: str | None = Field(default_factory=from_env("OPENAI_ORG_ID"))
    """Header `OpenAI-Organization`."""
    webhook_secrets: tuple[SecretStr, ...] = Field(default_factory=webhook_secret_from_env)
    """What OpenAI signs webhooks with; several while one is replaced."""
    project: str | None = Field(default_factory=from_env("OPENAI_PROJECT_ID"))
    """Header `OpenAI-Project`."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""
