"""Accounts by name, each one provider made on first use; and the ad-hoc ones of calls that bring their own key."""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from .config import Settings, nearest, validated
from .errors import UnknownAccountError, UsageError
from .providers import AccountSettings, Provider, ProviderFactory

if TYPE_CHECKING:
    from .plugins import Plugins

SPELLINGS = {
    "vertex_project": "project",
    "vertex_location": "location",
    "vertex_credentials": "credentials",
    "base_url": "api_base",
    "azure_ad_token": "ad_token",
    "azure_ad_token_provider": "ad_token_provider",
    "azure_endpoint": "endpoint",
    "client": "http_client",
}
"""LiteLLM's names for what a provider's settings call otherwise."""


class Accounts:
    """The accounts of one client."""

    def __init__(self, settings: Settings, plugins: "Plugins") -> None:
        self._settings = settings
        self._plugins = plugins
        self._made: dict[str, Provider] = {}

    @property
    def default(self) -> str:
        return self._settings.default_account

    def names(self) -> list[str]:
        """Configured ones, every provider's default account, and those made or added in this process."""
        made = (provider.account for provider in self._made.values())
        return sorted({*self._settings.accounts, *self._plugins.providers, *made})

    def add(self, provider: Provider) -> None:
        """Use a provider that was made elsewhere (tests, embedding) under its own account name."""
        self._made[provider.account] = provider

    def check(self) -> None:
        """ConfigError for a configured section that its provider would refuse; keys may still be missing."""
        for name, section in self._settings.accounts.items():
            if str(section.get("provider", name)) in self._plugins.providers:
                self._resolve(name, {})

    def get(self, name: str) -> Provider:
        """UnknownAccountError names the nearest; ConfigError when its section is wrong."""
        provider = self._made.get(name)
        if provider is None:
            factory, settings = self._resolve(name, {})
            provider = self._made[name] = factory(name, settings)
        return provider

    def resolve(self, name: str, overrides: Mapping[str, Any]) -> Provider:
        """The account, or an ad-hoc one where a call brings its own key, address or other settings.

        An ad-hoc account is named after what differs, never revealing it: `openai@localhost:8000`, `openai#1f3a9c`.
        """
        given = {SPELLINGS.get(key, key): value for key, value in overrides.items() if value is not None}
        if not given:
            return self.get(name)
        if name not in self._settings.accounts and {"api_key", "api_base"} & set(given):
            name = re.split("[@#]", name, maxsplit=1)[
                0
            ]  # an ad-hoc account of the ledger's, asked for with its own key
        factory, settings = self._resolve(name, given)
        _, plain = self._resolve(name, {})
        if settings == plain:
            return self.get(name)
        label = _label(name, plain, settings)
        key = label if label != name else f"{name} {settings.timeout} {settings.max_retries}"
        if key not in self._made:
            self._made[key] = factory(label, settings)
        return self._made[key]

    def at(self, provider: str, given: Mapping[str, Any], *, account: str | None = None) -> Provider:
        """The account that a request made elsewhere belongs to: the configured one at this address with this key.

        Else an ad-hoc one with these settings (and, of the provider's section, what says nothing of who it is), or a
        new one named `account`. A setting of None was not in the request.
        """
        factory = self._factory(provider)
        values: dict[str, Any] = {"headers": {}, **{key: value for key, value in given.items() if value is not None}}
        if account is not None:
            made = self._made[account] = factory(account, self._resolve(provider, values)[1])
            return made
        address = factory(
            "", validated(factory.Settings, {"provider": provider, **values}, "observed request")
        ).endpoint
        for name in self._like(provider):
            if self._is(name, address, given):
                return self.get(name)
        return self.resolve(provider, values)

    def in_use(self) -> list[Provider]:
        """Configured ones that can be used here, and those made or added in this process; not the mere defaults."""
        for name in self._settings.accounts:
            with suppress(UsageError):
                self.get(name)
        return list(self._made.values())

    def tags(self, name: str) -> bool:
        """Whether this account lets `batchmeter_id` be put into a batch's metadata."""
        return bool(self._settings.accounts.get(name, {}).get("tag_batches", True))

    def adopting(self) -> list[str]:
        """Accounts whose every batch is to be tracked: `adopt = true`."""
        return sorted(name for name, section in self._settings.accounts.items() if section.get("adopt"))

    def webhook_secrets(self, name: str) -> list[str]:
        """What this account's webhooks may be signed with; UnknownAccountError for no account."""
        _, settings = self._resolve(name, {})
        return [secret.get_secret_value() for secret in settings.webhook_secrets]

    async def aclose(self) -> None:
        made, self._made = self._made, {}
        for provider in made.values():
            await provider.aclose()

    def _resolve(self, name: str, overrides: Mapping[str, Any]) -> tuple[ProviderFactory, AccountSettings]:
        section = self._settings.accounts.get(name, {})
        provider = str(section.get("provider", name))
        factory = self._plugins.providers.get(provider)
        if factory is None:
            raise UnknownAccountError(self._unknown(name, provider, named=bool(section)))
        values = {**section, "provider": provider, **overrides}
        return factory, validated(factory.Settings, values, self._where(name, overrides))

    def _factory(self, provider: str) -> ProviderFactory:
        factory = self._plugins.providers.get(provider)
        if factory is None:
            raise UnknownAccountError(self._unknown(provider, provider, named=True))
        return factory

    def _like(self, provider: str) -> list[str]:
        """Names of the accounts at this provider, configured ones first."""
        named = [name for name, section in self._settings.accounts.items() if section.get("provider", name) == provider]
        return [*named, *([] if provider in named or provider in self._settings.accounts else [provider])]

    def _is(self, name: str, address: str, given: Mapping[str, Any]) -> bool:
        try:
            settings, endpoint = self._resolve(name, {})[1], self.get(name).endpoint
        except UsageError:
            return False  # it is not configured so far that it could be anybody
        who = [key for key in ("api_key", "organization", "project") if key in given]
        return endpoint == address and all(_reveal(getattr(settings, key) or "") == (given[key] or "") for key in who)

    def _unknown(self, name: str, provider: str, *, named: bool) -> str:
        if named:
            return (
                f"account {name!r}: no provider {provider!r} is installed{nearest(provider, self._plugins.providers)}"
            )
        if "@" in name or "#" in name:
            return f"account {name!r} came from a call with its own address or key and is not known in this process"
        return f"no account {name!r}: add [accounts.{name}] to batchmeter.toml{nearest(name, self.names())}"

    def _where(self, name: str, overrides: Mapping[str, Any]) -> str:
        return "arguments" if overrides else f"{self._settings.source or 'settings'}: [accounts.{name}]"


def _label(name: str, plain: AccountSettings, settings: AccountSettings) -> str:
    label = name
    if settings.api_base and settings.api_base != plain.api_base:
        label += "@" + settings.api_base.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if _identity(settings) != _identity(plain):
        label += "#" + hashlib.sha256(b"batchmeter account" + _identity(settings)).hexdigest()[:6]
    return label


def _identity(settings: AccountSettings) -> bytes:
    """Everything that makes it another account at the same address: six digits of its hash tell two keys apart."""
    values = settings.model_dump(exclude={"adopt", "api_base", "max_retries", "timeout"})
    return "\x1f".join(f"{key}={_reveal(value)}" for key, value in sorted(values.items())).encode()


def _reveal(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
