"""The credential that an account uses: the code's own, else the environment's, else the machine's own identity."""

import os
from collections.abc import Mapping

from batchmeter.errors import ConfigError
from batchmeter.http import redact_url

from .settings import KEYS, TOKENS, AzureSettings
from .tokens import STORAGE_SCOPE, Credential, ask, identity_installed


class Auth:
    """The headers that open an account's API and its storage."""

    def __init__(self, account: str, settings: AzureSettings) -> None:
        self._account = account
        self._settings = settings
        self._kind = _kind(settings)
        self._credential = Credential(account, settings.credential)

    async def api(self) -> Mapping[str, str]:
        settings = self._settings
        if self._kind == "api_key" and settings.api_key is not None:
            return {"api-key": settings.api_key.get_secret_value().strip()}
        if self._kind == "ad_token" and settings.ad_token is not None:
            return _bearer(settings.ad_token.get_secret_value())
        if self._kind == "ad_token_provider":
            return _bearer(await ask(self._account, settings.ad_token_provider))
        if self._kind == "credential":
            return _bearer(await self._entra(settings))
        raise ConfigError(f"account {self._account!r} has no credentials: {self._remedy()}")

    async def _entra(self, settings: AzureSettings) -> str:
        try:
            return await self._credential.token(settings.token_scope)
        except ConfigError as error:
            if settings.credential is not None or not self._withheld():
                raise
            raise ConfigError(f"{error}; {self._remedy()}") from error

    def _remedy(self) -> str:
        section, given = f"[accounts.{self._account}]", self._withheld()
        if given:
            field = "ad_token" if "TOKEN" in given else "api_key"
            return (
                f"{given} is taken for the host of AZURE_OPENAI_ENDPOINT (or AZURE_API_BASE) alone, which is not "
                f'{redact_url(self._settings.address() or "")}: say {field}_env = "{given}" under {section} to use it '
                "here, or give this account a key of its own"
            )
        return (
            "set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN (which are for AZURE_OPENAI_ENDPOINT alone), or "
            f"api_key_env, api_key_file or api_key under {section}, or install batchmeter[azure] for Entra ID"
        )

    def _withheld(self) -> str | None:
        """The variable that holds a credential which this account, at another host, does not get."""
        address = self._settings.address()
        if address is None or self._settings.is_usual(address):
            return None
        return next((name for name in (*KEYS, *TOKENS) if os.environ.get(name, "").strip()), None)

    async def storage(self) -> Mapping[str, str]:
        """For blobs without a SAS. A key or a token for the API opens no storage; an Entra credential does."""
        if self._settings.credential is None and not identity_installed():
            raise ConfigError(
                f"account {self._account!r} cannot read its own storage: set storage_sas under "
                f"[accounts.{self._account}], or install batchmeter[azure] for Entra ID"
            )
        return _bearer(await self._credential.token(STORAGE_SCOPE))

    async def aclose(self) -> None:
        await self._credential.aclose()


_ORDER = ("ad_token_provider", "credential", "ad_token", "api_key")


def _kind(settings: AzureSettings) -> str | None:
    """Named in code or file beats environment; within each, a token beats the key."""
    present = [name for name in _ORDER if getattr(settings, name) is not None]
    named = [name for name in present if name in settings.model_fields_set]
    if named or present:
        return (named or present)[0]
    return "credential" if identity_installed() else None


def _bearer(token: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {token.strip()}"}
