"""A Mistral account: the configured values, else the variable that Mistral's own SDK reads."""

from pydantic import Field

from batchmeter.models import Secret
from batchmeter_openai.keyed import KeyedSettings
from batchmeter_openai.settings import secret_from_env

BASE = "https://api.mistral.ai/v1"
"""The vendor's own address."""


class MistralSettings(KeyedSettings):
    api_key: Secret | None = Field(default_factory=secret_from_env("MISTRAL_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = BASE
    """The API's address; another one gets no key from the environment."""
    retry_queue_full: float = 0.0
    """Seconds in which a create that was refused with 429 (a million requests are pending) is tried again; 0: never."""
