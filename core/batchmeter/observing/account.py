"""Whose batch it is: the configured account that the request's address and key belong to, or an ad-hoc one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchmeter.providers import Provider

from .exchange import Caller

if TYPE_CHECKING:
    from batchmeter.client import AsyncClient

NO_KEY = "none"
"""Of a request without one: the environment's key is for somebody else."""
_tokens: dict[str, str] = {}
"""Entra ID: address -> the newest token an app has used there."""


@dataclass(frozen=True, slots=True)
class NewestToken:
    """Of an address: two of these for one are equal, so that the next hour's is no other setting."""

    api_base: str

    def __call__(self) -> str:
        return _tokens[self.api_base]


def account_of(client: "AsyncClient", caller: Caller) -> Provider:
    """ConfigError, UnknownAccountError where the settings are wrong."""
    return client.accounts.at(caller.provider, _settings(caller))


def _settings(caller: Caller) -> dict[str, Any]:
    """Those of who asked; None where the request named nothing."""
    if caller.provider == "azure":
        where = {"api_base": caller.api_base, "api_version": caller.api_version}
        if caller.bearer is None:
            return {**where, "api_key": caller.api_key or NO_KEY}
        _tokens[caller.api_base] = caller.bearer
        return {**where, "ad_token_provider": NewestToken(caller.api_base)}
    return {
        "api_base": caller.api_base,
        "api_key": caller.api_key or NO_KEY,
        "organization": caller.organization,
        "project": caller.project,
    }
