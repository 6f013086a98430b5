"""Entra ID tokens, from whatever the account has: a string, a callable, or an azure-identity credential."""

import asyncio
import importlib
import importlib.util
import inspect
import time
from dataclasses import dataclass, field
from typing import Any

from batchmeter.errors import APIConnectionError, ConfigError

STORAGE_SCOPE = "https://storage.azure.com/.default"
_EARLY = 300.0
"""Seconds before its end at which a token is replaced."""


@dataclass
class Credential:
    """An azure-identity credential (sync or async), its tokens kept until shortly before they end."""

    account: str
    source: Any = None
    """None: `DefaultAzureCredential`, made when first asked."""
    _own: Any = field(default=None, init=False)
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]], init=False, repr=False)

    async def token(self, scope: str) -> str:
        text, ends = self._tokens.get(scope, ("", 0.0))
        if time.time() > ends - _EARLY:
            got = await ask(self.account, self._get_token, scope)
            text, ends = self._tokens[scope] = got.token, float(got.expires_on)
        return text

    async def aclose(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            await asyncio.to_thread(own.close)

    def _get_token(self, scope: str) -> Any:
        """Runs in a thread: azure-identity blocks."""
        if self.source is None and self._own is None:
            self._own = importlib.import_module("azure.identity").DefaultAzureCredential()
        return (self.source or self._own).get_token(scope)


async def ask(account: str, source: Any, *arguments: str) -> Any:
    """A token from a sync or async source; its failures in our terms."""
    try:
        given = await asyncio.to_thread(source, *arguments)
        return await given if inspect.isawaitable(given) else given
    except Exception as error:
        reason = str(error).partition("\n")[0]
        if {cls.__name__ for cls in type(error).__mro__} & {"ServiceRequestError", "ServiceResponseError"}:
            raise APIConnectionError(
                f"account {account!r}: Entra ID did not answer: {reason}", never_sent=True
            ) from error
        raise ConfigError(f"account {account!r}: no Entra ID token: {type(error).__name__}: {reason}") from error


def identity_installed() -> bool:
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:  # not even the namespace `azure`
        return False
