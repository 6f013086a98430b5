"""An OpenAI account: the configured values, else the variables that OpenAI's own SDK reads."""

import os
import re
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from batchmeter.models import Secret
from batchmeter.providers import AccountSettings


def from_env(*names: str, default: str | None = None) -> Callable[[], str | None]:
    """A field's default factory: the first variable that is set; an empty one counts as unset."""
    return lambda: next((found for name in names if (found := os.environ.get(name, "").strip())), default)


def secret_from_env(*names: str) -> Callable[[], SecretStr | None]:
    """As `from_env`, for what must never be shown."""
    return lambda: None if (found := from_env(*names)()) is None else SecretStr(found)


def webhook_secret_from_env() -> tuple[SecretStr, ...]:
    found = secret_from_env("OPENAI_WEBHOOK_SECRET")()
    return () if found is None else (found,)


_RESIDENCY = re.compile(r"^https://([a-z]{2})\.api\.openai\.com(?:[:/]|$)")
_USUAL = "https://api.openai.com/v1"


def data_residency(api_base: str) -> str | None:
    """`eu` for `https://eu.api.openai.com/v1`; None where the address does not say."""
    found = _RESIDENCY.match(api_base)
    return found[1] if found else None


class OpenAISettings(AccountSettings):
    of_the_host: ClassVar[frozenset[str]] = frozenset({"api_key", "organization", "project"})

    api_key: Secret | None = Field(default_factory=secret_from_env("OPENAI_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = Field(default_factory=from_env("OPENAI_BASE_URL", "OPENAI_API_BASE", default=_USUAL))
    """Any server with OpenAI's `/files` and `/batches` below this address."""
    organization: str | None = Field(default_factory=from_env("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"))
    """Header `OpenAI-Organization`."""
    webhook_secrets: tuple[Secret, ...] = Field(default_factory=webhook_secret_from_env)
    """Secrets that OpenAI signs webhooks with; several while one is replaced."""
    project: str | None = Field(default_factory=from_env("OPENAI_PROJECT_ID"))
    """Header `OpenAI-Project`."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""

    @classmethod
    def is_usual(cls, address: str) -> bool:
        """OpenAI's regional hosts take the keys of its main one."""
        return super().is_usual(_USUAL if data_residency(address) else address)
