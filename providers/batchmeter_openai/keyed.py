"""An account at a vendor of OpenAI's operations that takes a key as `Authorization: Bearer`."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from batchmeter.errors import ConfigError
from batchmeter.http import HttpClient
from batchmeter.providers import AccountSettings

from .wire import OpenAIWire


class KeyedSettings(AccountSettings):
    """Settings of such an account."""

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` or `httpx2.AsyncClient`; closing it stays your business."""


class KeyedWire(OpenAIWire):
    """The operations with the account's own HTTP client."""

    def __init__(self, account: str, settings: KeyedSettings, *, base: str, variable: str, **more: Any) -> None:
        """`base`: the vendor's address; `variable` of the environment has its key; `more` goes to the HttpClient."""
        self.account = account
        self._keyed = settings
        self._variable = variable
        client = HttpClient(
            settings.api_base or base,
            headers=settings.headers,
            auth=self._auth,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            client=settings.http_client,
            **more,
        )
        super().__init__(client, region=settings.region)

    async def _auth(self) -> Mapping[str, str]:
        key = self._keyed.api_key
        if key is None:
            own = f"api_key_env, api_key_file or api_key under [accounts.{self.account}]"
            usual = f"set {self._variable}, or " if self._keyed.is_usual(self.endpoint) else "set "
            raise ConfigError(f"account {self.account!r} has no API key for {self.endpoint}: {usual}{own}")
        return {"authorization": f"Bearer {key.get_secret_value()}"}
