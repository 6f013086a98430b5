"""The OpenAI account: address, headers, key and region; the operations are `wire.py`'s."""

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from batchmeter.errors import ConfigError
from batchmeter.http import HttpClient
from batchmeter.inputs import COMPATIBLE, OPENAI
from batchmeter.providers import AccountSettings

from .settings import OpenAISettings, data_residency
from .wire import OpenAIWire


class OpenAIProvider(OpenAIWire):
    """One account at OpenAI or at a server that speaks its language."""

    name: ClassVar[str] = "openai"
    Settings: ClassVar[type[AccountSettings]] = OpenAISettings
    also_known_as: ClassVar[frozenset[str]] = frozenset(
        {"custom_openai", "hosted_vllm", "litellm_proxy", "openai_like"}
    )
    """LiteLLM's names for servers that speak OpenAI's language."""

    def __init__(self, account: str, settings: OpenAISettings, *, http: Mapping[str, Any] | None = None) -> None:
        """`http`: more arguments for the HttpClient (`sleep` in tests)."""
        self.account = account
        self._settings = settings
        self._client = HttpClient(
            settings.api_base or "https://api.openai.com/v1",
            headers=_headers(settings),
            auth=self._auth,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            client=settings.http_client,
            **(http or {}),
        )
        super().__init__(self._client, region=settings.region or data_residency(self._client.base_url))
        self.input_limits = OPENAI if is_openai(self._client.base_url) else COMPATIBLE

    async def _auth(self) -> Mapping[str, str]:
        key = self._settings.api_key
        if key is None:
            raise ConfigError(f"account {self.account!r} has no API key: {self._remedy()}")
        return {"authorization": f"Bearer {key.get_secret_value()}"}

    def _remedy(self) -> str:
        own = f"api_key_env, api_key_file or api_key under [accounts.{self.account}]"
        if self._settings.is_usual(self.endpoint):
            return f"set OPENAI_API_KEY, or {own}"
        return (
            f"{self.endpoint} is an address of its own, which gets no other account's key: set {own}, or pass api_key="
        )


def is_openai(api_base: str) -> bool:
    """Whether OpenAI's own rules hold there; a server that only speaks its language has others."""
    host = urlsplit(api_base).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def _headers(settings: OpenAISettings) -> dict[str, str]:
    named = {"openai-organization": settings.organization, "openai-project": settings.project}
    return {**{name: text for name, text in named.items() if text}, **settings.headers}
