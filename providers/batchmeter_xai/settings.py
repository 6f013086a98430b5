"""An xAI account: the configured values, else the variables that xAI's own SDK and LiteLLM read."""

from typing import Any

from pydantic import Field

from batchmeter.models import Secret
from batchmeter.providers import AccountSettings
from batchmeter_openai.settings import from_env, secret_from_env


class XAISettings(AccountSettings):
    api_key: Secret | None = Field(default_factory=secret_from_env("XAI_API_KEY"))
    """The key, as `Authorization: Bearer`."""
    api_base: str | None = Field(default_factory=from_env("XAI_API_BASE", default="https://api.x.ai/v1"))
    """The API's address; another one gets no key from the environment."""
    retry_queue_full: float = 60.0
    """Seconds in which a create that was refused with 429 is tried again (a team may create one batch a second); 0: never."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""
