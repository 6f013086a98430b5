"""CallAccounts: accounts, and the ad-hoc ones of calls that bring their own key, address or other settings."""

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from batchmeter.accounts import Accounts, Made, credential_names, host_of, make_provider
from batchmeter.config import validated
from batchmeter.providers import AccountSettings, Provider, ProviderFactory
from batchmeter.web import origin_of

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


class CallAccounts(Accounts):
    """Accounts of a client whose calls may bring settings."""

    def routed(self, model: str) -> tuple[str | None, str | None]:
        """The account that LiteLLM's spelling of a model names (`openai/gpt-5-mini`, `openai`), and the model without it."""
        head, slash, rest = model.partition("/")
        if head not in self.names():
            return None, model
        return head, rest if slash else None

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
        factory, settings = self._resolve_with(name, given)
        _, plain = self._resolve(name)
        if settings == plain:
            return self.get(name)
        return self._with(_label_of(name, plain, settings), factory, settings, own=name)

    def _with(self, account: str, factory: ProviderFactory, settings: AccountSettings, *, own: str) -> Provider:
        """The account's own provider where it has these settings, else one for such calls."""
        known = self._made.get(account)
        if known is not None and known.settings == settings:
            return known.provider
        if known is None and account != own:
            known = self._made[account] = Made(make_provider(factory, account, settings), settings)
            return known.provider
        for made in self._passing:
            if made.provider.account == account and made.settings == settings:
                self._passing.remove(made)
                break
        else:
            made = Made(make_provider(factory, account, settings), settings)
        self._pass(made)
        return made.provider

    def _known_of(self, account: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that an earlier call gave it; credentials only where this one brings none."""
        made = self._made.get(account)
        if made is None or made.settings is None:
            return {}
        names = credential_names(made.settings) | made.settings.of_the_host | {"headers"}
        elsewhere = _is_elsewhere(made.settings, given)
        without = names if elsewhere or credential_names(made.settings) & set(given) else set[str]()
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
        if _is_openai(given.get("client")):
            client = given.pop("client")
            given = {**_settings_of_client(client, settings.client_members), **given}
        spellings = {**SPELLINGS, **settings.spellings}
        return {spellings.get(key, key): value for key, value in given.items()}

    def _resolve_with(self, name: str, given: Mapping[str, Any]) -> tuple[ProviderFactory, AccountSettings]:
        """A section with a call's settings on top; at another host, without what belongs to the section's own."""
        factory, own = self._section(name)
        if set(given) & set(factory.Settings.addresses):
            plain = validated(factory.Settings, own, self._where(name))
            if _is_elsewhere(plain, given):
                own = {key: value for key, value in own.items() if key not in {*plain.of_the_host, "headers"}}
        return factory, validated(factory.Settings, {**own, **given}, "arguments", ARGUMENTS)


def _is_openai(client: object) -> bool:
    """Whether it is a client of OpenAI's library, or of one like it."""
    return hasattr(client, "base_url") and hasattr(client, "api_key")


def _settings_of_client(client: Any, members: Mapping[str, str]) -> dict[str, Any]:
    """Address and credentials of an OpenAI client; those it reads from a function are asked for by it alone.

    `members`: a provider's other settings -> the members of its client that hold them.
    """
    key = client.api_key if isinstance(client.api_key, str) and not client.api_key.startswith("<") else None
    given = {
        "api_base": str(client.base_url),
        "api_key": key or None,
        "organization": getattr(client, "organization", None),
        "project": getattr(client, "project", None),
        **{setting: getattr(client, member, None) for setting, member in members.items()},
    }
    return {name: value for name, value in given.items() if value}


def _is_elsewhere(settings: AccountSettings, given: Mapping[str, Any]) -> bool:
    """Whether a call names another host than these settings: their credentials do not go there."""
    named = [str(given[name]) for name in settings.addresses if given.get(name)]
    mine = settings.address()
    return bool(named) and (mine is None or origin_of(named[0]) != origin_of(mine))


def _label_of(name: str, plain: AccountSettings, settings: AccountSettings) -> str:
    label, address = name, _address(settings)
    if address and address != _address(plain):
        label += "@" + host_of(address)
    # At another host an account's own credentials are left out; that alone does not make it another account.
    unset = {field for field in (*settings.of_the_host, "headers") if not getattr(settings, field)}
    if _identity(settings, unset) != _identity(plain, unset):
        label += "#" + hashlib.sha256(b"batchmeter account" + _identity(settings)).hexdigest()[:6]
    return label


def _identity(settings: AccountSettings, unset: Collection[str] = ()) -> bytes:
    """All settings that tell accounts at one host apart; six digits of their hash tell two keys apart.

    A token counts only as present: the next hour's token is the same account.
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
