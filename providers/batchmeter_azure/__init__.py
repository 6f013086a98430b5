"""Azure OpenAI (Microsoft Foundry): files, batches, and batches that read and write your own storage."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batchmeter.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from batchmeter.providers import ProviderFactory

    from .provider import AzureProvider
    from .queue import queue_full
    from .settings import AzureSettings

__all__ = ["AzureProvider", "AzureSettings", "queue_full", "register_providers"]

providers = ("azure",)
"""Providers that it brings; the rest is imported when one of these is first used."""
_HOMES = {
    "AzureProvider": "provider",
    "AzureSettings": "settings",
    "queue_full": "queue",
}


@hookimpl
def register_providers(register: "Callable[[ProviderFactory], None]") -> None:
    from .provider import AzureProvider  # noqa: PLC0415 - every start of batchmeter loads this module

    register(AzureProvider)


def __getattr__(name: str) -> Any:
    """The names above, imported when first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
