"""Azure OpenAI (Microsoft Foundry): files, batches, and batches that read and write your own storage."""

from typing import TYPE_CHECKING

from batchmeter.hookspecs import hookimpl
from batchmeter.lazy import lazy_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.events import BatchFailed
    from batchmeter.host import PluginHost
    from batchmeter.providers import ProviderFactory

    from .provider import AzureProvider
    from .queue import queue_full
    from .settings import AzureSettings

__all__ = ["AzureProvider", "AzureSettings", "batch_failure", "queue_full", "register_providers"]

providers = ("azure",)
"""Providers that it brings; the rest is imported when one of these is first used."""
scoped = True
"""Failures are owed to it of batches that processes with an Azure account submitted or settled."""


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .provider import AzureProvider  # noqa: PLC0415 - every start of batchmeter loads this module

    register(AzureProvider)


@hookimpl
async def batch_failure(event: "BatchFailed", host: "PluginHost") -> None:
    """A batch that failed because the deployment's queue was full is submitted again, where its account says so."""
    from .queue import submit_again  # noqa: PLC0415 - as above

    await submit_again(event, host)


__getattr__ = lazy_names(
    __name__,
    {
        "provider": "AzureProvider",
        "settings": "AzureSettings",
        "queue": "queue_full",
    },
)
