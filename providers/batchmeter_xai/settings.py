"""An xAI account: the configured values, else the variables that xAI's own SDK and LiteLLM read."""

from pydantic import Field

from batchmeter.models import Secret
from batchmeter_openai.keyed import KeyedSettings
from batchmeter_openai.settings import from_env, secret_from_env

BASE = "https://api.x.ai/v1"
"""The vendor's own address."""


class XAISettings(KeyedSettings):
    api_key: Secret | None = Field(default_factory=secret_from_env("XAI_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = Field(default_factory=from_env("XAI_API_BASE", default=BASE))
    """The API's address; another one gets no key from the environment."""
    retry_queue_full: float = 60.0
    """Seconds in which a create that was refused with 429 is tried again (a team may create one batch a second); 0: never."""
