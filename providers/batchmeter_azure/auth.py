"""Which credential an account uses: what the code names, else the environment's, else the machine's own identity."""

from collections.abc import Mapping

from batchmeter.errors import ConfigError

from .settings import AzureSettings
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
            return _bearer(await self._credential.token(settings.token_scope))
        raise ConfigError(
            f"account {self._account!r} has no credentials: set AZURE_OPENAI_API_KEY or AZURE_OPENAI_AD_TOKEN (which "
            "are for AZURE_OPENAI_ENDPOINT alone), or api_key_env, api_key_file or api_key under "
            f"[accounts.{self._account}], or install batchmeter[azure] for Entra ID"
        )

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
