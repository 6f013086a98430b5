"""The OpenAI account: address, headers, key and region; the operations are `wire.py`'s."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from batchmeter.errors import ConfigError
from batchmeter.http import HttpClient
from batchmeter.providers import AccountSettings

from .settings import OpenAISettings
from .wire import OpenAIWire

_RESIDENCY = re.compile(r"^https://([a-z]{2})\.api\.openai\.com(?:[:/]|$)")


class OpenAIProvider(OpenAIWire):
    """One account at OpenAI or at a server that speaks its language."""

    name: ClassVar[str] = "openai"
    Settings: ClassVar[type[AccountSettings]] = OpenAISettings

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

    async def _auth(self) -> Mapping[str, str]:
        key = self._settings.api_key
        if key is None:
            raise ConfigError(
                f"account {self.account!r} has no API key: set OPENAI_API_KEY, or api_key under [accounts.{self.account}]"
            )
        return {"authorization": f"Bearer {key.get_secret_value().strip()}"}


def data_residency(api_base: str) -> str | None:
    """`eu` for `https://eu.api.openai.com/v1`; None where the address does not say."""
    found = _RESIDENCY.match(api_base)
    return found[1] if found else None


def _headers(settings: OpenAISettings) -> dict[str, str]:
    named = {"openai-organization": settings.organization, "openai-project": settings.project}
    return {**{name: text for name, text in named.items() if text}, **settings.headers}
