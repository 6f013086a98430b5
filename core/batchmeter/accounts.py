"""Accounts by name, each one provider made on first use; and the ad-hoc ones of calls that bring their own key."""

import asyncio
import hashlib
import logging
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from .config import Settings, filled, is_openai, nearest, settings_of_client, validated
from .errors import BatchmeterError, ConfigError, UnknownAccountError, UsageError
from .hook_calls import exceptions_only
from .input_limits import limits_for, limits_of
from .plugin_loader import reason
from .providers import AccountSettings, Provider, ProviderFactory
from .web import origin_of

if TYPE_CHECKING:
    from .plugins import Plugins

log = logging.getLogger("batchmeter")

SPELLINGS = {"base_url": "api_base", "client": "http_client", "num_retries": "max_retries"}
"""LiteLLM's names for settings of every account; a provider's own `Settings.spellings` are added."""
ARGUMENTS = [
    "after",
    "attribution",
    "completion_window",
    "custom_llm_provider",
    "endpoint",
    "expires_after",
    "extra_body",
    "extra_headers",
    "extra_query",
    "idempotency_key",
    "input_file_id",
    "limit",
    "metadata",
    "model",
    "order",
    "output_expires_after",
    "purpose",
    "traceparent",
    "wait_for_room",
]
"""Arguments of calls, for the hint when one of them is misspelt: any other name is a setting of the account."""
_HOW = frozenset({"max_retries", "timeout"})
"""Settings of how it is asked, not of who it is."""
_NOT_WHO = {"adopt", "api_base", "endpoint", "spool", *_HOW}
_API_PATHS = ("", "v1", "openai", "openai/v1")
MOST_PASSING = 32
"""Providers kept for calls whose token, timeout or the like is not the account's own; the least recently used go."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A provider, and what it was made from; None for one that was made elsewhere."""

    provider: Provider
    settings: AccountSettings | None = None


class Accounts:
    """The accounts of one client."""

    def __init__(self, settings: Settings, plugins: "Plugins") -> None:
        self._settings = settings
        self.plugins = plugins
        self._made: dict[str, _Made] = {}
        """By account: what its batches are followed with."""
        self._passing: list[_Made] = []
        """For calls, the last used last."""
        self._retired: list[Provider] = []

    @property
    def default(self) -> str:
        return self._settings.default_account

    def names(self) -> list[str]:
        """Configured ones, every provider's default account, and those made or added in this process."""
        return sorted({*self._settings.accounts, *self.plugins.providers, *self._made})

    def routed(self, model: str) -> tuple[str | None, str | None]:
        """The account that LiteLLM's spelling of a model names (`openai/gpt-5-mini`, `openai`), and the model without it."""
        head, slash, rest = model.partition("/")
        if head not in self.names():
            return None, model
        return head, rest if slash else None

    def add(self, provider: Provider) -> None:
        """Use a provider that was made elsewhere (tests, embedding) under its own account name."""
        self._made[provider.account] = _Made(provider)

    def check(self) -> None:
        """ConfigError for a configured section that its provider would refuse; keys may still be missing."""
        for name in self._settings.accounts:
            if self._provider_of(name) in self.plugins.providers:
                self._resolve(name, {}, keys_exist=False)

    def settings(self, name: str, *, keys_exist: bool = False) -> AccountSettings:
        """As the provider of this account gets them; keys may still be missing, unless they have to exist."""
        return self._resolve(name, {}, keys_exist=keys_exist)[1]

    def get(self, name: str) -> Provider:
        """UnknownAccountError names the nearest; ConfigError when its section is wrong."""
        made = self._made.get(name)
        if made is None:
            factory, settings = self._resolve(name, {})
            made = self._made[name] = _Made(_provider(factory, name, settings), settings)
        return made.provider

    def resolve(self, name: str, overrides: Mapping[str, Any]) -> Provider:
        """The account, or an ad-hoc one where a call brings its own key, address or other settings.

        An ad-hoc account is named after what differs, never revealing it: `openai@localhost:8000`, `openai#1f3a9c`.
        """
        name = self._known_as(name)
        given = self._spelled(name, overrides)
        if not given:
            return self.get(name)
        if self._is_call_s_own(name) and (name in self._made or set(given) - _HOW):
            given = {**self._known_of(name, given), **given}
            name = re.split("[@#]", name, maxsplit=1)[0]
        factory, settings = self._resolve(name, given)
        _, plain = self._resolve(name, {})
        if settings == plain:
            return self.get(name)
        return self._with(_label_of(name, plain, settings), factory, settings, own=name)

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
            return host == _host_of(provider.endpoint)
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
        return [
            name for name in named if self._provider_of(name) in self.plugins.providers and self.settings(name).adopt
        ]

    def webhook_secrets(self, name: str) -> list[str]:
        """Secrets that this account's webhooks may be signed with; UnknownAccountError for no account."""
        settings = self.settings(name, keys_exist=True)
        return [secret.get_secret_value() for secret in settings.webhook_secrets]

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

    def _with(self, account: str, factory: ProviderFactory, settings: AccountSettings, *, own: str) -> Provider:
        """The account's own provider where it has these settings, else one for such calls."""
        known = self._made.get(account)
        if known is not None and known.settings == settings:
            return known.provider
        if known is None and account != own:
            known = self._made[account] = _Made(_provider(factory, account, settings), settings)
            return known.provider
        for made in self._passing:
            if made.provider.account == account and made.settings == settings:
                self._passing.remove(made)
                break
        else:
            made = _Made(_provider(factory, account, settings), settings)
        self._pass(made)
        return made.provider

    def _pass(self, made: _Made) -> None:
        self._passing.append(made)
        if len(self._passing) > MOST_PASSING:
            self._retired.append(self._passing.pop(0).provider)

    def _made_from(self, provider: Provider) -> _Made | None:
        known = [*self._made.values(), *self._passing]
        return next((one for one in known if one.provider is provider and one.settings is not None), None)

    def _as(self, account: str, given: _Made) -> _Made:
        """The same credentials under this name."""
        if given.provider.account == account and given in self._passing:
            self._passing.remove(given)
            return given
        assert given.settings is not None
        factory = self.plugins.providers[given.provider.name]
        return _Made(_provider(factory, account, given.settings), given.settings)

    def _outlives(self, given: _Made, known: _Made, *, refused: bool) -> bool:
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

    def _known_of(self, account: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that an earlier call gave it; credentials only where this one brings none."""
        made = self._made.get(account)
        if made is None or made.settings is None:
            return {}
        names = _credential_names(made.settings) | made.settings.of_the_host | {"headers"}
        elsewhere = _is_elsewhere(made.settings, given)
        without = names if elsewhere or _credential_names(made.settings) & set(given) else set[str]()
        return {name: getattr(made.settings, name) for name in made.settings.model_fields_set - without}

    def _known_as(self, name: str) -> str:
        """The provider that goes by this other name too, where no account has it."""
        if name in self._settings.accounts or name in self.plugins.providers or "@" in name or "#" in name:
            return name
        providers = self.plugins.providers
        return next((one for one in providers if name in getattr(providers[one], "also_known_as", ())), name)

    def _spelled(self, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Under the names of the provider's own settings; an OpenAI client stands for its address and credentials."""
        given = {key: value for key, value in overrides.items() if value is not None}
        if not given:
            return given
        account = re.split("[@#]", name, maxsplit=1)[0]
        factory = self.plugins.providers.get(self._provider_of(account))
        settings = AccountSettings if factory is None else factory.Settings
        if is_openai(given.get("client")):
            client = given.pop("client")
            given = {**settings_of_client(client, settings.client_members), **given}
        spellings = {**SPELLINGS, **settings.spellings}
        return {spellings.get(key, key): value for key, value in given.items()}

    def _provider_of(self, account: str) -> str:
        return str(self._settings.accounts.get(account, {}).get("provider", account))

    def _resolve(
        self, name: str, overrides: Mapping[str, Any], *, keys_exist: bool = True
    ) -> tuple[ProviderFactory, AccountSettings]:
        """A key that settings take from a variable or file must exist, unless told otherwise."""
        section = self._settings.accounts.get(name, {})
        provider = self._provider_of(name)
        factory = self.plugins.providers.get(provider)
        if factory is None:
            raise UnknownAccountError(self._unknown(name, provider, named=bool(section)))
        if getattr(factory, "invented", False) and not self._is_named(name):
            raise UnknownAccountError(
                f"no account {name!r}: its answers would be made up; add [accounts.{name}] to batchmeter.toml to use it"
            )
        own = filled(factory.Settings, section, self._where(name, {}), must_exist=keys_exist)
        if set(overrides) & set(factory.Settings.addresses):
            plain = validated(factory.Settings, {**own, "provider": provider}, self._where(name, {}))
            if _is_elsewhere(plain, overrides):
                own = {key: value for key, value in own.items() if key not in {*plain.of_the_host, "headers"}}
        spool = {"spool": self._settings.spool_folder} if "spool" in factory.Settings.model_fields else {}
        values = {**spool, **own, "provider": provider, **overrides}
        also = ARGUMENTS if overrides else ()
        return factory, validated(factory.Settings, values, self._where(name, overrides), also)

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

    def _where(self, name: str, overrides: Mapping[str, Any]) -> str:
        return "arguments" if overrides else f"{self._settings.source or 'settings'}: [accounts.{name}]"


def _is_elsewhere(settings: AccountSettings, given: Mapping[str, Any]) -> bool:
    """Whether a call names another host than these settings: their credentials do not go there."""
    named = [str(given[name]) for name in settings.addresses if given.get(name)]
    mine = settings.address()
    return bool(named) and (mine is None or origin_of(named[0]) != origin_of(mine))


def _provider(factory: ProviderFactory, account: str, settings: AccountSettings) -> Provider:
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


def _label_of(name: str, plain: AccountSettings, settings: AccountSettings) -> str:
    label, address = name, _address(settings)
    if address and address != _address(plain):
        label += "@" + _host_of(address)
    # Elsewhere, an account's own credentials are left out, which makes it nobody else.
    unset = {field for field in (*settings.of_the_host, "headers") if not getattr(settings, field)}
    if _identity(settings, unset) != _identity(plain, unset):
        label += "#" + hashlib.sha256(b"batchmeter account" + _identity(settings)).hexdigest()[:6]
    return label


def _host_of(address: str) -> str:
    return address.partition("://")[2].partition("/")[0].rpartition("@")[2]


def _credential_names(settings: AccountSettings) -> set[str]:
    return {"api_key", "credentials", *settings.renewed}


def credentials_of(settings: AccountSettings | None) -> dict[str, object]:
    return {} if settings is None else {name: getattr(settings, name, None) for name in _credential_names(settings)}


def _identity(settings: AccountSettings, unset: Collection[str] = ()) -> bytes:
    """Everything that makes it another account at the same host: six digits of its hash tell two keys apart.

    Of a token only that there is one: the next hour's is the same account.
    """
    values: dict[str, object] = settings.model_dump(exclude={*_NOT_WHO, *settings.renewed, *unset})
    if any(isinstance(getattr(settings, name), SecretStr) for name in settings.renewed):
        values["token"] = True
    path = urlsplit(_address(settings)).path.strip("/")
    if path not in _API_PATHS:
        values["path"] = path
    plain = {key: one.get_secret_value() if isinstance(one, SecretStr) else one for key, one in values.items()}
    return "\x1f".join(f"{key}={value}" for key, value in sorted(plain.items())).encode()


def _address(settings: AccountSettings) -> str:
    return settings.api_base or str(getattr(settings, "endpoint", None) or "")
