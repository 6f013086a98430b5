"""Azure OpenAI (Microsoft Foundry): files, batches, and batches that read and write your own storage."""

from collections.abc import Callable

from batchmeter.hookspecs import hookimpl
from batchmeter.providers import ProviderFactory

from .provider import AzureProvider
from .queue import queue_full
from .settings import AzureSettings

__all__ = ["AzureProvider", "AzureSettings", "queue_full", "register_providers"]


@hookimpl
def register_providers(register: Callable[[ProviderFactory], None]) -> None:
    register(AzureProvider)
