"""Accounts by name, each one provider made on first use; and which credentials their batches are followed with."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config import Settings, filled, nearest, validated
from .errors import BatchmeterError, ConfigError, UnknownAccountError, UsageError
from .hook_calls import exceptions_only
from .input_limits import limits_for, limits_of
from .plugin_loader import reason
from .providers import AccountSettings, Provider, ProviderFactory

if TYPE_CHECKING:
    from .plugins import Plugins

log = logging.getLogger("batchmeter")

MOST_PASSING = 32
"""Providers kept for calls whose token, timeout or the like is not the account's own; the least recently used go."""


@dataclass(frozen=True, slots=True)
class Made:
    """A provider, and what it was made from; None for one that was made elsewhere."""

    provider: Provider
    settings: AccountSettings | None = None


class Accounts:
    """The accounts of one client."""

    def __init__(self, settings: Settings, plugins: "Plugins") -> None:
        self._settings = settings
        self.plugins = plugins
        self._made: dict[str, Made] = {}
        """By account: what its batches are followed with."""
        self._passing: list[Made] = []
        """Providers made for single calls; the last used one is last."""
        self._retired: list[Provider] = []

    @property
    def default(self) -> str:
        return self._settings.default_account

    def names(self) -> list[str]:
        """Configured ones, every provider's default account, and those made or added in this process."""
        return sorted({*self._settings.accounts, *self.plugins.providers, *self._made})

    def add(self, provider: Provider) -> None:
        """Use a provider that was made elsewhere (tests, embedding) under its own account name."""
        self._made[provider.account] = Made(provider)

    def check(self) -> None:
        """ConfigError for a configured section that its provider would refuse; keys may still be missing."""
        for name in self._settings.accounts:
            if self._provider_of(name) in self.plugins.providers:
                self._resolve(name, keys_exist=False)

    def settings(self, name: str, *, keys_exist: bool = False) -> AccountSettings:
        """As the provider of this account gets them; keys may still be missing, unless they have to exist."""
        return self._resolve(name, keys_exist=keys_exist)[1]

    def get(self, name: str) -> Provider:
        """UnknownAccountError names the nearest; ConfigError when its section is wrong."""
        made = self._made.get(name)
        if made is None:
            factory, settings = self._resolve(name)
            made = self._made[name] = Made(make_provider(factory, name, settings), settings)
        return made.provider

    def renew(self, account: str, provider: Provider, *, refused: bool = False) -> None:
        """`provider` was shown a batch that is tracked under `account`: its newer credentials follow it from now on.

        Where the account is a call's own and is not known here, where both are tokens (the newest lives longest), and
        where the key that it has was `refused`. Else keys stay apart: who sees one batch need not see the others.
        """
        given = self._made_from(provider)
        if not self._is_call_s_own(account):
            with suppress(UsageError):
                self.get(account)
        known = self._made.get(account)
        if given is None or given is known:
            return
        if self._is_call_s_own(account) if known is None else self._outlives(given, known, refused=refused):
            self._made[account] = self._as(account, given)
            if known is not None:
                self._pass(known)

    def at_address_of(self, account: str, provider: Provider) -> bool:
        """Whether this account, which may be a call's own in a finished process, is where `provider` is."""
        try:
            return self.get(account).endpoint == provider.endpoint
        except UnknownAccountError:
            base, _, host = account.partition("#")[0].partition("@")
        except UsageError:
            return False
        if host:
            return host == host_of(provider.endpoint)
        try:
            return base != account and self.get(base).endpoint == provider.endpoint
        except UsageError:
            return False

    def tags(self, name: str) -> bool:
        """Whether this account lets `batchmeter_id` be put into a batch's metadata."""
        made = self._made.get(name)
        try:
            settings = (made and made.settings) or self.settings(name)
        except UsageError:  # a call's own, in a finished process
            return True
        return settings.tag_batches

    def adopting(self) -> list[str]:
        """Accounts whose every batch is to be tracked: `adopt = true`."""
        named = sorted(name for name, section in self._settings.accounts.items() if "adopt" in section)
        return [one for one in named if self._provider_of(one) in self.plugins.providers and self.settings(one).adopt]

    async def tidy(self) -> None:
        """Close what is no longer used; calls under way there come to their end."""
        retired, self._retired = self._retired, []
        closed = await asyncio.gather(*(provider.aclose() for provider in retired), return_exceptions=True)
        for provider, error in zip(retired, closed, strict=True):
            if isinstance(error, Exception):
                log.warning("account %s: its provider could not be closed: %s", provider.account, error)

    async def aclose(self) -> None:
        made, self._made = [*self._made.values(), *self._passing], {}
        self._passing = []
        self._retired += [one.provider for one in made]
        await self.tidy()

    def _pass(self, made: Made) -> None:
        self._passing.append(made)
        if len(self._passing) > MOST_PASSING:
            self._retired.append(self._passing.pop(0).provider)

    def _made_from(self, provider: Provider) -> Made | None:
        known = [*self._made.values(), *self._passing]
        return next((one for one in known if one.provider is provider and one.settings is not None), None)

    def _as(self, account: str, given: Made) -> Made:
        """The same credentials under this name."""
        if given.provider.account == account and given in self._passing:
            self._passing.remove(given)
            return given
        assert given.settings is not None
        factory = self.plugins.providers[given.provider.name]
        return Made(make_provider(factory, account, given.settings), given.settings)

    def _outlives(self, given: Made, known: Made, *, refused: bool) -> bool:
        account = known.provider.account
        if known.settings is None or credentials_of(given.settings) == credentials_of(known.settings):
            return False
        if given.provider.account != account:
            return refused and self._is_call_s_own(account)
        return self._is_call_s_own(account) or not (
            known.settings.api_key or getattr(known.settings, "credentials", None)
        )

    def _is_call_s_own(self, account: str) -> bool:
        """Named after a call that brought its own key, token or address."""
        return account not in self._settings.accounts and account not in self.plugins.providers

    def _provider_of(self, account: str) -> str:
        return str(self._settings.accounts.get(account, {}).get("provider", account))

    def _resolve(self, name: str, *, keys_exist: bool = True) -> tuple[ProviderFactory, AccountSettings]:
        factory, values = self._section(name, keys_exist=keys_exist)
        return factory, validated(factory.Settings, values, self._where(name))

    def _section(self, name: str, *, keys_exist: bool = True) -> tuple[ProviderFactory, dict[str, Any]]:
        """The account's provider class, and the settings that its section gives.

        A key that they take from a variable or file must exist, unless told otherwise.
        """
        section = self._settings.accounts.get(name, {})
        provider = self._provider_of(name)
        factory = self.plugins.providers.get(provider)
        if factory is None:
            raise UnknownAccountError(self._unknown(name, provider, named=bool(section)))
        if getattr(factory, "invented", False) and not self._is_named(name):
            raise UnknownAccountError(
                f"no account {name!r}: its answers would be made up; add [accounts.{name}] to batchmeter.toml to use it"
            )
        own = filled(factory.Settings, section, self._where(name), must_exist=keys_exist)
        spool = {"spool": self._settings.spool_folder} if "spool" in factory.Settings.model_fields else {}
        return factory, {**spool, **own, "provider": provider}

    def _is_named(self, name: str) -> bool:
        """Whether the settings speak of this account."""
        known = self._settings
        return name in known.accounts or name == known.default_account or name in known.models.values()

    def _unknown(self, name: str, provider: str, *, named: bool) -> str:
        if named:
            known = nearest(provider, self.plugins.providers)
            return f"account {name!r}: no provider {provider!r} is installed{known}"
        if "@" in name or "#" in name:
            return f"account {name!r} came from a call with its own address or key and is not known in this process"
        return f"no account {name!r}: add [accounts.{name}] to batchmeter.toml{nearest(name, self.names())}"

    def _where(self, name: str) -> str:
        return f"{self._settings.source or 'settings'}: [accounts.{name}]"


def make_provider(factory: ProviderFactory, account: str, settings: AccountSettings) -> Provider:
    """The provider of one account, with the input rules that its settings give. ConfigError where it cannot be made."""
    try:
        with exceptions_only():
            made = factory(account, settings)
    except BatchmeterError:
        raise
    except Exception as error:
        raise ConfigError(f"account {account!r}: its provider cannot be made: {reason(error)}") from error
    if settings.limits.enqueued_tokens:
        made.enqueued_tokens = settings.limits.enqueued_tokens  # type: ignore[attr-defined]  # as the next
    own = limits_of(made)
    if (limits := limits_for(own, settings.input_limits, checked=settings.check_inputs)) is not own:
        made.input_limits = limits  # type: ignore[attr-defined]  # any provider may have them
    return made


def host_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[0].rpartition("@")[2]


def credential_names(settings: AccountSettings) -> set[str]:
    return {"api_key", "credentials", *settings.renewed}


def credentials_of(settings: AccountSettings | None) -> dict[str, object]:
    return {} if settings is None else {name: getattr(settings, name, None) for name in credential_names(settings)}
