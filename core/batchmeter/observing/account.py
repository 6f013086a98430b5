"""Whose batch it is: the configured account that the request's address and key belong to, or an ad-hoc one."""

from typing import TYPE_CHECKING, Any

from batchmeter.errors import UnknownAccountError, UsageError
from batchmeter.providers import Provider

from .exchange import Caller

if TYPE_CHECKING:
    from batchmeter.client import AsyncClient

NO_KEY = "none"
"""Of a request without one: the environment's key is for somebody else."""
_tokens: dict[str, str] = {}
"""Entra ID: address -> the newest token an app has used there."""


def account_of(client: "AsyncClient", caller: Caller) -> Provider:
    """ConfigError, UnknownAccountError where the settings are wrong."""
    return client.accounts.at(caller.provider, _settings(caller))


async def home_of(client: "AsyncClient", caller: Caller, mine: Provider, batch_id: str) -> str | None:
    """The account under which the ledger knows a batch that `mine`, the caller's, was shown; None: not tracked."""
    ledger = (await client.ready()).ledger
    if await ledger.get_batch(batch_id, mine.account) is not None:
        return mine.account
    tracked = await ledger.get_batch(batch_id)
    if tracked is None:
        return None
    try:
        return tracked.account if client.accounts.get(tracked.account).endpoint == mine.endpoint else None
    except UnknownAccountError:
        # Ad hoc, from before a restart: whoever may see its batches at the same address has its new key.
        if not tracked.account.startswith(mine.account.partition("#")[0] + "#"):
            return None
        client.accounts.at(caller.provider, _settings(caller), account=tracked.account)
        return tracked.account
    except UsageError:
        return None


def _settings(caller: Caller) -> dict[str, Any]:
    """Those of who asked; None where the request named nothing."""
    if caller.provider == "azure":
        where = {"api_base": caller.api_base, "api_version": caller.api_version}
        if caller.bearer is None:
            return {**where, "api_key": caller.api_key or NO_KEY}
        _tokens[caller.api_base] = caller.bearer
        return {**where, "ad_token_provider": lambda: _tokens[caller.api_base]}
    return {
        "api_base": caller.api_base,
        "api_key": caller.api_key or NO_KEY,
        "organization": caller.organization,
        "project": caller.project,
    }
