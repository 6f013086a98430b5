"""A Mistral account: the configured values, else the variable that Mistral's own SDK reads."""

from typing import Any

from pydantic import Field

from batchmeter.models import Secret
from batchmeter.providers import AccountSettings
from batchmeter_openai.settings import secret_from_env


class MistralSettings(AccountSettings):
    api_key: Secret | None = Field(default_factory=secret_from_env("MISTRAL_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = "https://api.mistral.ai/v1"
    """The API's address; another one gets no key from the environment."""
    retry_queue_full: float = 0.0
    """Seconds in which a create that was refused with 429 (a million requests are pending) is tried again; 0: never."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""
